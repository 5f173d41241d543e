"""Passwords: which are accepted, and how they are hashed."""

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import extract_parameters

from nomadcrew.adapters.machine.passwords import MAX_WAITING, Argon2Passwords
from nomadcrew.core.auth.errors import WeakPassword
from nomadcrew.core.auth.passwords import _common, check_password
from nomadcrew.core.errors import Unavailable

GOOD = "Sail2Porto!"


def refusal(password: str, email: str = "ana.lima@example.org", username: str | None = "analima") -> str:
    with pytest.raises(WeakPassword) as caught:
        check_password(password, email=email, username=username)
    assert password not in caught.value.text
    return caught.value.text


@pytest.mark.parametrize(
    "password", [GOOD, "Äpfel-und-7-Birnen", "aA1!aA1!", "correct Horse 9 battery_", "A1!" + "a" * 125]
)
def test_a_good_password_is_accepted(password: str) -> None:
    check_password(password, email="ana@example.org", username=None)


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("Sa2Po!x", "at least 8"),
        ("A1!" + "a" * 126, "more than 128"),
        ("SAIL2PORTO!", "lower-case"),
        ("sail2porto!", "upper-case"),
        ("SailToPorto!", "a digit"),
        ("Sail2Porto", "a symbol"),
        ("Sail2 Porto", "a symbol"),
    ],
)
def test_each_rule_is_told(password: str, problem: str) -> None:
    assert problem in refusal(password)


def test_everything_wrong_is_told_at_once() -> None:
    text = refusal("abc")
    assert all(word in text for word in ("8 characters", "upper-case", "digit", "symbol"))


@pytest.mark.parametrize(
    "password",
    ["Password1!", "pAssWord2026!", "P@ssw0rd!", "P@$$w0rd123!", "Summer2026!", "Qwerty123!", "Liverpool1!",
     "Il0vey0u!!", "Welcome1!", "Zaq12wsx!", "Princess_99", "1Q2w3e4r5t!", "Nomadcrew1!", "Iloveyou2!"],
)  # fmt: skip
def test_what_everybody_tries_first_is_refused_however_it_is_dressed(password: str) -> None:
    assert "too common" in refusal(password)


def test_the_list_of_common_passwords_is_long_and_tidy() -> None:
    assert len(_common()) >= 1_000
    assert all(entry == entry.casefold().strip() for entry in _common())
    assert {"password", "123456", "qwerty", "iloveyou", "dragon"} <= _common()


def test_a_password_does_not_contain_who_one_is() -> None:
    assert "email" in refusal("xAna.Lima7!x")
    assert "username" in refusal("7!AnaLima-Z")
    check_password("Banana7!Split", email="ana@example.org", username="ana")


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    made = Argon2Passwords(memory_kib=64)
    yield made
    made.close()


async def test_a_hash_matches_its_password_only(passwords: Argon2Passwords) -> None:
    hashed = await passwords.hash(GOOD)
    assert hashed.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert hashed != await passwords.hash(GOOD)
    assert await passwords.matches(hashed, GOOD)
    assert not await passwords.matches(hashed, GOOD + " ")
    assert not await passwords.matches("", GOOD)
    assert not await passwords.matches("no hash", GOOD)


async def test_letters_that_two_keyboards_compose_differently_are_the_same(passwords: Argon2Passwords) -> None:
    assert await passwords.matches(await passwords.hash("caf\u00e9"), "cafe\u0301")


async def test_nobodys_password_is_never_right_and_costs_as_much(passwords: Argon2Passwords) -> None:
    for password in (GOOD, ""):
        assert await passwords.matches(None, password) is False
    of_somebody = extract_parameters(await passwords.hash(GOOD))
    assert extract_parameters(passwords.nobodys_hash) == of_somebody


async def test_other_parameters_make_a_hash_outdated(passwords: Argon2Passwords) -> None:
    today = Argon2Passwords(memory_kib=128)
    assert today.needs_rehash(await passwords.hash(GOOD))
    assert not today.needs_rehash(await today.hash(GOOD))
    today.close()


async def test_hashing_leaves_the_loop_to_others() -> None:
    passwords = Argon2Passwords(memory_kib=32 * 1024, time_cost=4)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await passwords.hash(GOOD)
    ticking.cancel()
    passwords.close()
    assert ticks > 10


async def test_too_many_at_once_are_asked_to_come_back(passwords: Argon2Passwords) -> None:
    results = await asyncio.gather(*(passwords.hash(GOOD) for _ in range(MAX_WAITING + 10)), return_exceptions=True)
    assert sum(isinstance(result, Unavailable) for result in results) == 10
    assert await passwords.hash(GOOD)
