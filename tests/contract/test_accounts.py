"""Accounts: registering, confirming, finding and checking."""

import asyncio
import json
from datetime import timedelta

import pytest

from nomadcrew.adapters.machine.passwords import Argon2Passwords
from nomadcrew.adapters.postgres.accounts import PostgresAccounts
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.core.auth.errors import ConfirmationUsed, InvalidConfirmation, InvalidRefreshToken
from nomadcrew.core.auth.model import Session
from nomadcrew.core.auth.ports import NewAccount, RegistrationId
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import EventId, SessionId, UserId, uuid7
from nomadcrew.core.users.errors import EmailTaken, UsernameTaken
from tests.contract.people import NOON, PASSWORD, People, a_new, cheap_passwords

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def request(people: People, new: NewAccount, password: str = PASSWORD, now: object = NOON) -> RegistrationId:
    id_ = RegistrationId(uuid7())
    await people.accounts.request(new, password, id_, EventId(uuid7()), now=now)  # type: ignore[arg-type]
    return id_


async def confirm(people: People, id_: RegistrationId, now: object = NOON) -> str:
    account = await people.accounts.confirm(id_, "0badcafe", now=now)  # type: ignore[arg-type]
    return account.profile.username


async def opens(people: People, login: str, password: str) -> bool:
    return await people.accounts.check(await people.accounts.find(login, now=NOON), password)


async def test_registering_makes_account_and_profile(people: People) -> None:
    account = await people.account("ana")
    stored = await people.profiles.get(account.user_id, account.user_id)
    assert (stored.email, stored.username, stored.first_name) == ("ana@example.org", "ana", "Ana")
    assert account.profile == stored
    assert account.confirmed
    assert not account.is_admin


async def test_an_account_whose_address_nobody_proved_says_so(people: People) -> None:
    account = await people.accounts.register(a_new("ana"), PASSWORD, confirmed=False, now=NOON)
    assert not account.confirmed


async def test_the_same_registration_again_is_the_same_account(people: People) -> None:
    first = await people.account("ana")
    assert await people.account("ana") == first


async def test_an_address_is_taken_whatever_its_case_and_with_another_password(people: People) -> None:
    await people.account("ana")
    with pytest.raises(EmailTaken):
        await people.accounts.register(
            a_new("other", email="ANA@example.org"), "Other1pass!", confirmed=True, now=NOON
        )


async def test_an_address_of_somebody_who_signs_in_elsewhere_is_taken(people: People) -> None:
    await people.profile("ana")
    with pytest.raises(EmailTaken):
        await people.account("ana")


async def test_a_username_is_taken_whatever_its_case(people: People) -> None:
    await people.account("ana")
    with pytest.raises(UsernameTaken):
        await people.accounts.register(a_new("x", "ANA", email="x@example.org"), PASSWORD, confirmed=True, now=NOON)


async def test_the_first_free_of_several_usernames_is_taken(people: People) -> None:
    await people.account("ana")
    other = a_new("x", "Ana", "ana1234", "ana9999", email="ana@example.net")
    account = await people.accounts.register(other, PASSWORD, confirmed=True, now=NOON)
    assert account.profile.username == "ana1234"


async def test_one_registration_sent_many_times_at_once_makes_one_account(people: People) -> None:
    made = await asyncio.gather(*(people.account("ana") for _ in range(8)))
    assert len({account.user_id for account in made}) == 1


async def test_two_people_who_want_one_name_at_once_do_not_both_get_it(people: People) -> None:
    wanted = [a_new("x", "ana", email=f"{n}@example.org") for n in range(6)]
    results = await asyncio.gather(
        *(people.accounts.register(new, PASSWORD, confirmed=True, now=NOON) for new in wanted),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(result, UsernameTaken) for result in results if isinstance(result, Exception))


async def test_address_and_username_open_with_the_password_only(people: People) -> None:
    await people.account("ana")
    assert await opens(people, "Ana@Example.org", PASSWORD)
    assert await opens(people, "ANA", PASSWORD)
    assert not await opens(people, "ana", PASSWORD.lower())
    assert not await opens(people, "nobody", PASSWORD)
    assert not await opens(people, "", "")


async def test_a_hash_made_with_older_parameters_is_replaced_at_the_next_sign_in(pool: Database) -> None:
    weaker = PostgresAccounts(pool, cheap_passwords())
    await weaker.register(a_new("ana"), PASSWORD, confirmed=True, now=NOON)
    stronger = PostgresAccounts(pool, Argon2Passwords(time_cost=2, memory_kib=128))
    before = await stronger.find("ana", now=NOON)
    assert await stronger.check(before, PASSWORD)
    after = await stronger.find("ana", now=NOON)
    assert before is not None
    assert after is not None
    assert before.password_hash != after.password_hash
    assert "m=128,t=2" in after.password_hash
    assert await stronger.check(after, PASSWORD)


async def test_a_request_waits_for_its_confirmation_and_blocks_nobody(people: People) -> None:
    await request(people, a_new("ana"))
    found = await people.accounts.find("ana@example.org", now=NOON)
    assert found is not None
    assert found.account is None
    assert found.registration_id is not None
    assert await people.accounts.check(found, PASSWORD)
    assert (await people.profile("ana")).username == "ana"


async def test_the_event_of_a_request_carries_no_secret_and_no_address(people: People) -> None:
    id_ = await request(people, a_new("ana"))
    [(kind, audience, payload)] = await people.events()
    assert (kind, audience) == ("account.confirmation_requested", "internal")
    assert json.loads(payload) == {"registration_id": str(id_)}


async def test_a_confirmation_works_once(people: People) -> None:
    id_ = await request(people, a_new("ana"))
    assert await confirm(people, id_) == "ana"
    with pytest.raises(ConfirmationUsed):
        await confirm(people, id_)
    assert await opens(people, "ana", PASSWORD)


async def test_an_account_keeps_the_id_of_its_registration(people: People) -> None:
    id_ = await request(people, a_new("ana"))
    await confirm(people, id_)
    account = await people.accounts.get_account(UserId(id_))
    assert account is not None
    assert account.profile.username == "ana"


async def test_a_confirmation_pressed_many_times_at_once_makes_one_account(people: People) -> None:
    id_ = await request(people, a_new("ana"))
    results = await asyncio.gather(*(confirm(people, id_) for _ in range(6)), return_exceptions=True)
    assert results.count("ana") == 1
    assert sum(isinstance(result, ConfirmationUsed) for result in results) == 5


async def test_a_confirmation_expires_after_a_day(people: People) -> None:
    id_ = await request(people, a_new("ana"))
    assert await people.accounts.get_pending(id_, now=NOON + DAY - MINUTE) is not None
    assert await people.accounts.get_pending(id_, now=NOON + DAY) is None
    with pytest.raises(InvalidConfirmation):
        await confirm(people, id_, NOON + DAY)
    with pytest.raises(InvalidConfirmation):
        await confirm(people, RegistrationId(uuid7()))


async def test_the_link_of_a_mail_confirms_the_password_of_that_registration(people: People) -> None:
    """Whoever registers with somebody else's address gains nothing from the owner's own confirmation."""
    await request(people, a_new("ana"), "Intruder1!first")
    owners = await request(people, a_new("ana"), PASSWORD, NOON + 2 * MINUTE)
    await request(people, a_new("ana"), "Intruder1!again", NOON + 4 * MINUTE)
    await confirm(people, owners, NOON + 5 * MINUTE)
    assert await opens(people, "ana", PASSWORD)
    assert not await opens(people, "ana", "Intruder1!first")
    assert not await opens(people, "ana", "Intruder1!again")


async def test_other_registrations_of_an_address_are_worth_nothing_once_it_is_confirmed(people: People) -> None:
    first = await request(people, a_new("ana"), "Intruder1!first")
    owners = await request(people, a_new("ana"), PASSWORD, NOON + 2 * MINUTE)
    await confirm(people, owners, NOON + 3 * MINUTE)
    with pytest.raises(ConfirmationUsed):
        await confirm(people, first, NOON + 4 * MINUTE)
    assert await people.accounts.get_pending(first, now=NOON + 4 * MINUTE) is None


async def test_whoever_confirms_second_gets_a_variant_of_the_username(people: People) -> None:
    first = await request(people, a_new("x", "ana", email="ana@example.org"))
    second = await request(people, a_new("y", "ana", email="ana@example.net"))
    assert await confirm(people, first) == "ana"
    assert await confirm(people, second) == "ana0badcafe"


async def test_a_repeated_request_mails_once(people: People) -> None:
    await request(people, a_new("ana"))
    await request(people, a_new("ana"), now=NOON + timedelta(seconds=20))
    assert len(await people.events()) == 1


async def test_another_password_a_moment_later_gets_a_mail_of_its_own(people: People) -> None:
    await request(people, a_new("ana"), "Mistyped1!one")
    second = await request(people, a_new("ana"), now=NOON + timedelta(seconds=20))
    assert len(await people.events()) == 2
    await confirm(people, second)
    assert await opens(people, "ana", PASSWORD)


async def test_an_address_gets_at_most_five_mails_an_hour(people: People) -> None:
    for n in range(9):
        await request(people, a_new("ana"), f"Different{n}!pw", NOON + n * MINUTE)
    assert len(await people.events()) == 5
    await request(people, a_new("ana"), "Different9!pw", NOON + 70 * MINUTE)
    assert len(await people.events()) == 6


async def test_the_owner_of_an_account_is_told_of_attempts_once_an_hour(people: People) -> None:
    account = await people.account("ana")
    for n in (0, 2, 50, 61):
        await request(people, a_new("x", email="ana@example.org"), "Intruder1!x", NOON + n * MINUTE)
    told = [json.loads(payload) for _, _, payload in await people.events()]
    assert told == [{"user_id": str(account.user_id)}] * 2
    assert await opens(people, "ana", PASSWORD)


async def test_a_request_for_a_taken_username_is_refused_and_mails_nobody(people: People) -> None:
    await people.account("ana")
    for email in ("new@example.org", "ana@example.org"):
        with pytest.raises(UsernameTaken):
            await request(people, a_new("x", "Ana", email=email))
    assert await people.events() == []


async def test_a_reminder_is_mailed_every_five_minutes_at_most(people: People) -> None:
    id_ = await request(people, a_new("ana"))
    for n in (1, 4, 5, 6, 11):
        await people.accounts.remind(id_, EventId(uuid7()), now=NOON + n * MINUTE)
    assert len(await people.events()) == 3
    assert await people.accounts.get_pending(id_, now=NOON + DAY + 10 * MINUTE) is not None


async def test_an_account_comes_before_a_registration_with_its_name(people: People) -> None:
    await request(people, a_new("x", "ana", email="intruder@example.org"), "Intruder1!x")
    await people.account("ana")
    assert await opens(people, "ana", PASSWORD)
    assert not await opens(people, "ana", "Intruder1!x")


async def test_a_new_password_ends_every_session(people: People) -> None:
    account = await people.account("ana")
    session = Session(SessionId(uuid7()), account, NOON + DAY)
    await people.sessions.open(session, b"a" * 32, now=NOON)
    await people.accounts.set_password(account.user_id, "Another2pass!", now=NOON)
    assert await opens(people, "ana", "Another2pass!")
    assert not await opens(people, "ana", PASSWORD)
    with pytest.raises(InvalidRefreshToken):
        await people.sessions.rotate(b"a" * 32, b"b" * 32, now=NOON, expires_at=NOON + DAY)


async def test_administrators_are_made_and_unmade(people: People) -> None:
    account = await people.account("ana")
    await people.accounts.grant_admin(account.user_id, granted=True, now=NOON)
    found = await people.accounts.get_account(account.user_id)
    assert found is not None
    assert found.is_admin
    await people.accounts.grant_admin(account.user_id, granted=False, now=NOON)
    assert await people.accounts.get_account(account.user_id) == account


async def test_what_is_done_to_nobodys_account_is_not_found(people: People) -> None:
    nobody = UserId(uuid7())
    assert await people.accounts.get_account(nobody) is None
    with pytest.raises(NotFound):
        await people.accounts.grant_admin(nobody, granted=True, now=NOON)
    with pytest.raises(NotFound):
        await people.accounts.set_password(nobody, PASSWORD, now=NOON)


async def test_accounts_are_listed_newest_first_without_those_who_sign_in_elsewhere(people: People) -> None:
    assert (await people.accounts.page(limit=10, offset=0)).total == 0
    for n, name in enumerate(("ana", "ben", "cem")):
        await people.account(name, now=NOON + n * MINUTE)
    await people.profile("dee")
    page = await people.accounts.page(limit=2, offset=1)
    assert page.total == 3
    assert [account.profile.username for account in page.items] == ["ben", "ana"]
    assert (await people.accounts.page(limit=2, offset=9)).total == 3


async def test_registrations_are_forgotten_a_week_after_they_expired(people: People) -> None:
    await request(people, a_new("ana"))
    assert await people.abandoned.delete_expired(now=NOON + 8 * DAY) == 0
    assert await people.abandoned.delete_expired(now=NOON + 8 * DAY + MINUTE) == 1
