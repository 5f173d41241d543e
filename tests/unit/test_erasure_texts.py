"""Texts and JSON without a user who is erased."""

from uuid import UUID

import pytest

from nomadcrew.core.erasure.model import FormerMembership, Person
from nomadcrew.core.erasure.texts import impersonal, stand_in_of, unmentioned
from nomadcrew.core.ids import TripId, UserId
from tests.fakes import ANA

TRIPS = [FormerMembership(TripId(UUID(int=n)), UserId(UUID(int=n + 10)), is_over=False) for n in (1, 2)]
PERSON = Person(
    ANA, "ana@example.org", "josé.9", ["José Ñu", "josé.9", "ana@example.org"], ["ana@example.org"], TRIPS
)
STAND_IN = TRIPS[0].stand_in_id


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("hey @josé.9!", "hey @former-member!"),
        ("@JOSÉ.9, @jose\u0301.9", "@former-member, @former-member"),
        ("@josé.99 and josé.9@example.org", "@josé.99 and josé.9@example.org"),
        ("@josé", "@josé"),
        ("nine", "nine"),
    ],
)
def test_mentions_of_the_user_are_replaced_in_any_spelling(text: str, left: str) -> None:
    assert unmentioned(text, PERSON) == left


def test_a_user_without_a_profile_is_mentioned_nowhere() -> None:
    gone = Person(ANA, "ana@example.org", "", [], [], [])
    assert unmentioned("@former @", gone) == "@former @"


def test_names_addresses_and_ids_are_replaced_in_json() -> None:
    event = {
        "userId": str(ANA),
        "user": {"id": str(ANA), "name": "José Ñu", "email": "ana@example.org"},
        "mentions": [str(ANA), "other"],
        "content": "@josé.9 says José Ñu",
        "count": 3,
        "deletedAt": None,
    }
    assert impersonal(event, PERSON, STAND_IN) == {
        "userId": str(STAND_IN),
        "user": {"id": str(STAND_IN), "name": "Former member", "email": "Former member"},
        "mentions": [str(STAND_IN), "other"],
        "content": "@former-member says José Ñu",
        "count": 3,
        "deletedAt": None,
    }


def test_a_word_that_is_also_a_username_stays_where_it_is_no_name() -> None:
    person = Person(ANA, "a@example.org", "TRIP", ["TRIP"], [], TRIPS)
    assert impersonal({"type": "TRIP", "inviterName": "TRIP"}, person, STAND_IN) == {
        "type": "TRIP",
        "inviterName": "Former member",
    }


def test_the_former_member_is_the_one_of_the_trip_that_is_named() -> None:
    for trip in TRIPS:
        assert stand_in_of({"trip": {"id": str(trip.trip_id)}, "n": 1}, PERSON) == trip.stand_in_id
    assert stand_in_of({}, PERSON) == TRIPS[0].stand_in_id
