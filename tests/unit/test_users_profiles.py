"""The profile of a token's user."""

import unicodedata
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from nomadcrew.core.auth.errors import InvalidConfirmation
from nomadcrew.core.auth.ports import Codes
from nomadcrew.core.chat.model import mentioned
from nomadcrew.core.claims import Claims
from nomadcrew.core.errors import Invalid
from nomadcrew.core.text import comparison_key, composed
from nomadcrew.core.users import profiles
from nomadcrew.core.users.errors import InvalidUsername, UsernameTaken
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import Profiles
from nomadcrew.core.users.rules import parse_name, parse_username, usernames_for
from tests.fakes import ANA, NOON


class StoredAsGiven:
    async def onboard(self, profile: Profile, *, rename: bool) -> Profile:
        return profile


USERNAMES = [
    "ana", "น้ำฝน", "a+b", "zo\u00eb", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "علی\u200cرضا", "o'brien",
    "x" * 30, "ana!",
]  # fmt: skip


@pytest.mark.parametrize("username", USERNAMES)
def test_a_username_may_have_any_visible_character(username: str) -> None:
    assert parse_username(f" {username}\u200b") == username
    assert parse_username(unicodedata.normalize("NFD", username)) == username
    assert mentioned(f"hi @{username} there")[0][0] == comparison_key(username)


@pytest.mark.parametrize("username", [
    "", " ", "a b", "a@b", "x" * 31, "\u3164", "\u2800", "\ufe0f", "a\u202eb", "a\u2066b", "a\u200bb", "a\u3164b",
    "a\u00a0b",
    "a\x00b", "ad\u200dmin", "\u0301", "a\u2028b", "a\ue000",
])  # fmt: skip
def test_a_username_has_no_hidden_character(username: str) -> None:
    with pytest.raises(InvalidUsername):
        parse_username(username)


@pytest.mark.parametrize("name", ["\u3164", "\u2800", "\ufe0f", "Ana\u202eanA", "\u2067Ana", "\x07Ana", "x" * 51])
def test_a_name_shows_something_and_turns_no_text(name: str) -> None:
    with pytest.raises(Invalid):
        parse_name("firstName", name)


@pytest.mark.parametrize(
    "name", ["", "Ana", "Ana Lu", "עדי\u200f", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "علی\u200cرضا"]
)
def test_a_name_keeps_what_its_script_needs(name: str) -> None:
    assert parse_name("firstName", name) == composed(name)


@pytest.mark.parametrize(("email", "first"), [
    ("ana+tag@x.de", "ana"), ("น้ำฝน@x.de", "น้ำฝน"), ("zoe\u0308@x.de", "zo\u00eb"), ("o'brien@x.de", "o'brien"),
    ("a\u200bb@x.de", "ab"), ("\u3164@x.de", "traveller"), ("+x@x.de", "traveller"), ("x" * 40 + "@x.de", "x" * 30),
    ("x" * 28 + "\U0001f468\u200d\U0001f469@x.de", "x" * 28 + "\U0001f468"),
])  # fmt: skip
def test_usernames_from_an_address_are_usernames(email: str, first: str) -> None:
    candidates = usernames_for(email, UUID(int=7))
    assert candidates[0] == first
    assert len(candidates) == len(set(candidates)) == 3
    for candidate in candidates:
        assert parse_username(candidate) == candidate


async def test_the_address_of_a_token_is_stored_in_the_form_that_is_shown() -> None:
    claims = Claims(ANA, NOON + timedelta(minutes=15), email="B@xn--mnchen-3ya.de", username="b")
    stored = await profiles.onboard(claims, None, profiles=cast(Profiles, StoredAsGiven()), now=NOON)
    assert stored.email == "b@m\u00fcnchen.de"
    claims = Claims(ANA, NOON + timedelta(minutes=15), email="no address", username="b")
    assert (await profiles.onboard(claims, None, profiles=cast(Profiles, StoredAsGiven()), now=NOON)).email == ""


@pytest.mark.parametrize(
    "text", [None, "", "a", "é", "e\u0301", "\u3164\u3164", "\u0301\u0302", "x" * 201, "a\x00b"]
)
async def test_a_search_has_two_to_200_characters(text: str | None) -> None:
    with pytest.raises(Invalid, match="2 to 200 characters"):
        await profiles.search_users(text, ANA, trip_id=None, limit=5, profiles=cast(Profiles, StoredAsGiven()))


@pytest.mark.parametrize(
    ("metadata", "first_name", "last_name"),
    [
        ({"firstName": "Ana", "lastName": "Sousa"}, "Ana", "Sousa"),
        ({"full_name": "Ana Maria Sousa"}, "Ana", "Maria Sousa"),
        ({"firstName": "Ana\x00", "lastName": "Sousa"}, "", "Sousa"),
        ({}, "", ""),
    ],
)
async def test_names_come_from_the_identity_provider_if_they_are_well_formed(
    metadata: dict[str, Any], first_name: str, last_name: str
) -> None:
    claims = Claims(ANA, NOON + timedelta(minutes=15), email="ana@example.org", username="ana", metadata=metadata)
    stored = await profiles.onboard(claims, None, profiles=cast(Profiles, StoredAsGiven()), now=NOON)
    assert (stored.first_name, stored.last_name) == (first_name, last_name)


class Crowded:
    """Profiles in which every name without a random suffix is taken, and no contact address waits."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    async def onboard(self, profile: Profile, *, rename: bool) -> Profile:
        self.tried.append(profile.username)
        if len(self.tried) < 3:
            raise UsernameTaken
        return profile

    async def get_unconfirmed_contact_email(self, code_id: UUID) -> None:
        return None

    async def confirm_contact_email(self, code_id: UUID, *, now: datetime) -> None:
        return None


async def test_a_user_whose_near_names_are_all_taken_gets_one_with_a_random_suffix() -> None:
    crowded = Crowded()
    claims = Claims(ANA, NOON + timedelta(minutes=5), email="ana@example.org", username="ana")
    made = await profiles.onboard(claims, "ana", profiles=cast("Profiles", crowded), now=NOON)
    assert made.username == f"ana{ANA.hex[-8:]}"
    assert crowded.tried[:2] == ["ana", f"ana{ANA.int % 10_000:04d}"]


async def test_the_code_of_a_replaced_contact_address_is_refused() -> None:
    crowded, codes = cast("Profiles", Crowded()), cast("Codes", CodesOfAna())
    with pytest.raises(InvalidConfirmation):
        await profiles.unconfirmed_contact_email("code", profiles=crowded, codes=codes)
    with pytest.raises(InvalidConfirmation):
        await profiles.confirm_contact_email("code", profiles=crowded, codes=codes, now=NOON)


class CodesOfAna:
    def read_confirmation_code(self, code: str) -> UUID:
        return ANA
