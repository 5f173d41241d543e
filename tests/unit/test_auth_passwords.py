"""Passwords: the rules, and the hashes."""

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
def test_the_refusal_names_each_broken_rule(password: str, problem: str) -> None:
    assert problem in refusal(password)


def test_the_refusal_names_all_broken_rules() -> None:
    text = refusal("abc")
    assert all(word in text for word in ("8 characters", "upper-case", "digit", "symbol"))


@pytest.mark.parametrize(
    "password",
    ["Password1!", "pAssWord2026!", "P@ssw0rd!", "P@$$w0rd123!", "Summer2026!", "Qwerty123!", "Liverpool1!",
     "Il0vey0u!!", "Welcome1!", "Zaq12wsx!", "Princess_99", "1Q2w3e4r5t!", "Nomadcrew1!", "Iloveyou2!"],
)  # fmt: skip
def test_a_common_password_is_refused_in_any_disguise(password: str) -> None:
    assert "too common" in refusal(password)


def test_the_list_of_common_passwords_is_long_and_normalised() -> None:
    assert len(_common()) >= 1_000
    assert all(entry == entry.casefold().strip() for entry in _common())
    assert {"password", "123456", "qwerty", "iloveyou", "dragon"} <= _common()


def test_a_password_must_not_contain_the_name_or_address() -> None:
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


async def test_composed_and_decomposed_letters_are_equal(passwords: Argon2Passwords) -> None:
    assert await passwords.matches(await passwords.hash("caf\u00e9"), "cafe\u0301")


async def test_the_password_of_an_unknown_user_is_wrong_and_takes_as_long(passwords: Argon2Passwords) -> None:
    for password in (GOOD, ""):
        assert await passwords.matches(None, password) is False
    real_parameters = extract_parameters(await passwords.hash(GOOD))
    assert extract_parameters(passwords.nobodys_hash) == real_parameters


async def test_a_hash_with_other_parameters_is_outdated(passwords: Argon2Passwords) -> None:
    today = Argon2Passwords(memory_kib=128)
    assert today.needs_rehash(await passwords.hash(GOOD))
    assert not today.needs_rehash(await today.hash(GOOD))
    today.close()


async def test_hashing_does_not_block_the_event_loop() -> None:
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


async def test_too_many_concurrent_hashes_are_an_outage(passwords: Argon2Passwords) -> None:
    results = await asyncio.gather(*(passwords.hash(GOOD) for _ in range(MAX_WAITING + 10)), return_exceptions=True)
    assert sum(isinstance(result, Unavailable) for result in results) == 10
    assert await passwords.hash(GOOD)
