"""`Accounts`: registration, confirmation, lookup and passwords."""

import asyncio
import json
from datetime import datetime, timedelta

import pytest

from nomadcrew.adapters.machine.passwords import Argon2Passwords
from nomadcrew.adapters.postgres.accounts import PostgresAccounts
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.core.auth.errors import ConfirmationUsed, InvalidConfirmation, InvalidRefreshToken, InvalidReset
from nomadcrew.core.auth.model import Session
from nomadcrew.core.auth.ports import NewAccount, PasswordReset, PasswordResetId, RegistrationId
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import EventId, SessionId, UserId, uuid7
from nomadcrew.core.users.errors import EmailTaken, UsernameTaken
from tests.contract.auth_ports import NOON, PASSWORD, AuthPorts, cheap_passwords, new_account

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def request(auth: AuthPorts, new: NewAccount, password: str = PASSWORD, now: object = NOON) -> RegistrationId:
    id_ = RegistrationId(uuid7())
    await auth.accounts.request(new, password, id_, EventId(uuid7()), now=now)  # type: ignore[arg-type]
    return id_


async def confirm(auth: AuthPorts, id_: RegistrationId, now: object = NOON) -> str:
    account = await auth.accounts.confirm(id_, "0badcafe", now=now)  # type: ignore[arg-type]
    return account.profile.username


async def signs_in(auth: AuthPorts, login: str, password: str) -> bool:
    return await auth.accounts.check(await auth.accounts.find(login, now=NOON), password)


async def test_registration_creates_account_and_profile(auth: AuthPorts) -> None:
    account = await auth.account("ana")
    stored = await auth.profiles.get(account.user_id, account.user_id)
    assert (stored.email, stored.username, stored.first_name) == ("ana@example.org", "ana", "Ana")
    assert account.profile == stored
    assert account.confirmed
    assert not account.is_admin


async def test_an_account_with_an_unproved_address_is_unconfirmed(auth: AuthPorts) -> None:
    account = await auth.accounts.register(new_account("ana"), PASSWORD, confirmed=False, now=NOON)
    assert not account.confirmed


async def test_a_repeated_registration_returns_the_same_account(auth: AuthPorts) -> None:
    first = await auth.account("ana")
    assert await auth.account("ana") == first


async def test_an_address_is_unique_regardless_of_case_and_password(auth: AuthPorts) -> None:
    await auth.account("ana")
    with pytest.raises(EmailTaken):
        await auth.accounts.register(
            new_account("other", email="ANA@example.org"), "Other1pass!", confirmed=True, now=NOON
        )


async def test_the_address_of_a_user_with_another_issuer_is_taken(auth: AuthPorts) -> None:
    await auth.profile("ana")
    with pytest.raises(EmailTaken):
        await auth.account("ana")


async def test_a_username_is_unique_regardless_of_case(auth: AuthPorts) -> None:
    await auth.account("ana")
    with pytest.raises(UsernameTaken):
        await auth.accounts.register(
            new_account("x", "ANA", email="x@example.org"), PASSWORD, confirmed=True, now=NOON
        )


async def test_registration_takes_the_first_free_username(auth: AuthPorts) -> None:
    await auth.account("ana")
    other = new_account("x", "Ana", "ana1234", "ana9999", email="ana@example.net")
    account = await auth.accounts.register(other, PASSWORD, confirmed=True, now=NOON)
    assert account.profile.username == "ana1234"


async def test_concurrent_repeats_of_a_registration_create_one_account(auth: AuthPorts) -> None:
    made = await asyncio.gather(*(auth.account("ana") for _ in range(8)))
    assert len({account.user_id for account in made}) == 1


async def test_one_of_concurrent_registrations_gets_the_username(auth: AuthPorts) -> None:
    wanted = [new_account("x", "ana", email=f"{n}@example.org") for n in range(6)]
    results = await asyncio.gather(
        *(auth.accounts.register(new, PASSWORD, confirmed=True, now=NOON) for new in wanted),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(result, UsernameTaken) for result in results if isinstance(result, Exception))


async def test_address_and_username_sign_in_with_the_password_only(auth: AuthPorts) -> None:
    await auth.account("ana")
    assert await signs_in(auth, "Ana@Example.org", PASSWORD)
    assert await signs_in(auth, "ANA", PASSWORD)
    assert not await signs_in(auth, "ana", PASSWORD.lower())
    assert not await signs_in(auth, "nobody", PASSWORD)
    assert not await signs_in(auth, "", "")


SPELLINGS = [
    ("zo\u00eb@example.com", "zoe\u0308@example.com"), ("b@m\u00fcnchen.de", "b@xn--mnchen-3ya.de"),
    ("straße@example.org", "STRASSE@example.org"), ("o'brien@example.com", "O'Brien@EXAMPLE.com"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [*SPELLINGS, *((other, one) for one, other in SPELLINGS)])
async def test_spellings_of_one_address_are_one_account(auth: AuthPorts, one: str, other: str) -> None:
    account = await auth.accounts.register(new_account("ana", email=one), PASSWORD, confirmed=True, now=NOON)
    assert await signs_in(auth, other, PASSWORD)
    again = await auth.accounts.register(new_account("x", email=other), PASSWORD, confirmed=True, now=NOON)
    assert again.user_id == account.user_id
    with pytest.raises(EmailTaken):
        await auth.accounts.register(new_account("y", email=other), "Other1pass!", confirmed=True, now=NOON)
    stranger = await auth.profile("ben")
    found = await auth.profiles.search(other, stranger.id, trip_id=None, limit=5)
    assert [user.id for user in found] == [account.user_id]


@pytest.mark.parametrize(("one", "other"), [
    ("ΝΙΚΟΣ", "νικος"), ("νικος", "ΝΙΚΟΣ"), ("straße", "STRASSE"), ("STRASSE", "straße"), ("zo\u00eb", "ZOE\u0308"),
    ("น้ำฝน", "น้ำฝน"), ("\u2764\ufe0f", "\u2764"), ("a+b", "A+B"),
])  # fmt: skip
async def test_spellings_of_one_username_are_one_user(auth: AuthPorts, one: str, other: str) -> None:
    account = await auth.accounts.register(
        new_account("x", one, email="x@example.org"), PASSWORD, confirmed=True, now=NOON
    )
    assert account.profile.username == one
    assert await signs_in(auth, other, PASSWORD)
    with pytest.raises(UsernameTaken):
        await auth.accounts.register(
            new_account("y", other, email="y@example.org"), PASSWORD, confirmed=True, now=NOON
        )
    with pytest.raises(UsernameTaken):
        await auth.profile("z", username=other)


async def test_a_registration_whose_name_was_taken_in_another_spelling_gets_a_suffix(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("x", "straße", email="x@example.org"))
    await auth.profile("y", username="STRASSE")
    account = await auth.accounts.confirm(id_, "0123abcd", now=NOON)
    assert account.profile.username == "straße0123abcd"
    assert await signs_in(auth, "STRASSE0123ABCD", PASSWORD)


async def test_a_hash_with_older_parameters_is_replaced_at_the_next_sign_in(pool: Database) -> None:
    weaker = PostgresAccounts(pool, cheap_passwords())
    await weaker.register(new_account("ana"), PASSWORD, confirmed=True, now=NOON)
    stronger = PostgresAccounts(pool, Argon2Passwords(time_cost=2, memory_kib=128))
    before = await stronger.find("ana", now=NOON)
    assert await stronger.check(before, PASSWORD)
    after = await stronger.find("ana", now=NOON)
    assert before is not None
    assert after is not None
    assert before.password_hash != after.password_hash
    assert "m=128,t=2" in after.password_hash
    assert await stronger.check(after, PASSWORD)


async def test_a_pending_registration_reserves_nothing(auth: AuthPorts) -> None:
    await request(auth, new_account("ana"))
    found = await auth.accounts.find("ana@example.org", now=NOON)
    assert found is not None
    assert found.account is None
    assert found.registration_id is not None
    assert await auth.accounts.check(found, PASSWORD)
    assert (await auth.profile("ana")).username == "ana"


async def test_the_event_of_a_registration_holds_no_secret_and_no_address(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    [(kind, audience, payload)] = await auth.events()
    assert (kind, audience) == ("account.confirmation_requested", "internal")
    assert json.loads(payload) == {"registration_id": str(id_)}


async def test_a_confirmation_works_once(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    assert await confirm(auth, id_) == "ana"
    with pytest.raises(ConfirmationUsed):
        await confirm(auth, id_)
    assert await signs_in(auth, "ana", PASSWORD)


async def test_an_account_has_the_id_of_its_registration(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    await confirm(auth, id_)
    account = await auth.accounts.get_account(UserId(id_))
    assert account is not None
    assert account.profile.username == "ana"


async def test_concurrent_confirmations_create_one_account(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    results = await asyncio.gather(*(confirm(auth, id_) for _ in range(6)), return_exceptions=True)
    assert results.count("ana") == 1
    assert sum(isinstance(result, ConfirmationUsed) for result in results) == 5


async def test_a_confirmation_expires_after_a_day(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    assert await auth.accounts.get_pending(id_, now=NOON + DAY - MINUTE) is not None
    assert await auth.accounts.get_pending(id_, now=NOON + DAY) is None
    with pytest.raises(InvalidConfirmation):
        await confirm(auth, id_, NOON + DAY)
    with pytest.raises(InvalidConfirmation):
        await confirm(auth, RegistrationId(uuid7()))


async def test_a_confirmation_link_activates_the_password_of_its_own_registration(auth: AuthPorts) -> None:
    """An intruder who registers a foreign address gains nothing when its owner confirms."""
    await request(auth, new_account("ana"), "Intruder1!first")
    owner_registration = await request(auth, new_account("ana"), PASSWORD, NOON + 2 * MINUTE)
    await request(auth, new_account("ana"), "Intruder1!again", NOON + 4 * MINUTE)
    await confirm(auth, owner_registration, NOON + 5 * MINUTE)
    assert await signs_in(auth, "ana", PASSWORD)
    assert not await signs_in(auth, "ana", "Intruder1!first")
    assert not await signs_in(auth, "ana", "Intruder1!again")


async def test_a_confirmation_invalidates_other_registrations_of_the_address(auth: AuthPorts) -> None:
    first = await request(auth, new_account("ana"), "Intruder1!first")
    owner_registration = await request(auth, new_account("ana"), PASSWORD, NOON + 2 * MINUTE)
    await confirm(auth, owner_registration, NOON + 3 * MINUTE)
    with pytest.raises(ConfirmationUsed):
        await confirm(auth, first, NOON + 4 * MINUTE)
    assert await auth.accounts.get_pending(first, now=NOON + 4 * MINUTE) is None


async def test_the_second_confirmation_of_a_username_gets_a_variant(auth: AuthPorts) -> None:
    first = await request(auth, new_account("x", "ana", email="ana@example.org"))
    second = await request(auth, new_account("y", "ana", email="ana@example.net"))
    assert await confirm(auth, first) == "ana"
    assert await confirm(auth, second) == "ana0badcafe"


async def test_a_repeated_registration_request_sends_one_mail(auth: AuthPorts) -> None:
    await request(auth, new_account("ana"))
    await request(auth, new_account("ana"), now=NOON + timedelta(seconds=20))
    assert len(await auth.events()) == 1


async def test_a_registration_with_another_password_sends_a_new_mail(auth: AuthPorts) -> None:
    await request(auth, new_account("ana"), "Mistyped1!one")
    second = await request(auth, new_account("ana"), now=NOON + timedelta(seconds=20))
    assert len(await auth.events()) == 2
    await confirm(auth, second)
    assert await signs_in(auth, "ana", PASSWORD)


async def test_an_address_gets_at_most_five_mails_per_hour(auth: AuthPorts) -> None:
    for n in range(9):
        await request(auth, new_account("ana"), f"Different{n}!pw", NOON + n * MINUTE)
    assert len(await auth.events()) == 5
    await request(auth, new_account("ana"), "Different9!pw", NOON + 70 * MINUTE)
    assert len(await auth.events()) == 6


async def test_an_account_owner_is_notified_of_attempts_once_per_hour(auth: AuthPorts) -> None:
    account = await auth.account("ana")
    for n in (0, 2, 50, 61):
        await request(auth, new_account("x", email="ana@example.org"), "Intruder1!x", NOON + n * MINUTE)
    payloads = [json.loads(payload) for _, _, payload in await auth.events()]
    assert payloads == [{"user_id": str(account.user_id)}] * 2
    assert await signs_in(auth, "ana", PASSWORD)


async def test_a_request_for_a_taken_username_is_refused_without_mail(auth: AuthPorts) -> None:
    await auth.account("ana")
    for email in ("new@example.org", "ana@example.org"):
        with pytest.raises(UsernameTaken):
            await request(auth, new_account("x", "Ana", email=email))
    assert await auth.events() == []


async def test_a_reminder_is_sent_at_most_every_five_minutes(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    for n in (1, 4, 5, 6, 11):
        await auth.accounts.remind(id_, EventId(uuid7()), now=NOON + n * MINUTE)
    assert len(await auth.events()) == 3
    assert await auth.accounts.get_pending(id_, now=NOON + DAY + 10 * MINUTE) is not None


async def test_an_account_takes_precedence_over_a_registration_with_its_username(auth: AuthPorts) -> None:
    await request(auth, new_account("x", "ana", email="intruder@example.org"), "Intruder1!x")
    await auth.account("ana")
    assert await signs_in(auth, "ana", PASSWORD)
    assert not await signs_in(auth, "ana", "Intruder1!x")


async def test_a_new_password_ends_every_session(auth: AuthPorts) -> None:
    account = await auth.account("ana")
    session = Session(SessionId(uuid7()), account, NOON + DAY)
    await auth.sessions.open(session, b"a" * 32, now=NOON)
    await auth.accounts.set_password(account.user_id, "Another2pass!", now=NOON)
    assert await signs_in(auth, "ana", "Another2pass!")
    assert not await signs_in(auth, "ana", PASSWORD)
    with pytest.raises(InvalidRefreshToken):
        await auth.sessions.rotate(b"a" * 32, b"b" * 32, now=NOON, expires_at=NOON + DAY)


async def test_admin_rights_are_granted_and_revoked(auth: AuthPorts) -> None:
    account = await auth.account("ana")
    await auth.accounts.grant_admin(account.user_id, granted=True, now=NOON)
    found = await auth.accounts.get_account(account.user_id)
    assert found is not None
    assert found.is_admin
    await auth.accounts.grant_admin(account.user_id, granted=False, now=NOON)
    assert await auth.accounts.get_account(account.user_id) == account


async def test_an_unknown_account_is_not_found(auth: AuthPorts) -> None:
    unknown = UserId(uuid7())
    assert await auth.accounts.get_account(unknown) is None
    with pytest.raises(NotFound):
        await auth.accounts.grant_admin(unknown, granted=True, now=NOON)
    with pytest.raises(NotFound):
        await auth.accounts.set_password(unknown, PASSWORD, now=NOON)


async def test_accounts_are_listed_newest_first_without_users_of_other_issuers(auth: AuthPorts) -> None:
    assert (await auth.accounts.page(limit=10, offset=0)).total == 0
    for n, name in enumerate(("ana", "ben", "cem")):
        await auth.account(name, now=NOON + n * MINUTE)
    await auth.profile("dee")
    page = await auth.accounts.page(limit=2, offset=1)
    assert page.total == 3
    assert [account.profile.username for account in page.items] == ["ben", "ana"]
    assert (await auth.accounts.page(limit=2, offset=9)).total == 3


async def test_expired_registrations_are_deleted_after_a_week(auth: AuthPorts) -> None:
    await request(auth, new_account("ana"))
    assert await auth.abandoned.delete_expired(now=NOON + 8 * DAY) == 0
    assert await auth.abandoned.delete_expired(now=NOON + 8 * DAY + MINUTE) == 1


async def asks_for_reset(auth: AuthPorts, email: str = "ana@example.org", now: datetime = NOON) -> PasswordResetId:
    id_ = PasswordResetId(uuid7())
    await auth.accounts.request_reset(email, id_, EventId(uuid7()), now=now)
    return id_


async def found_reset(auth: AuthPorts, id_: PasswordResetId, now: datetime = NOON) -> PasswordReset:
    reset = await auth.accounts.get_reset(id_, now=now)
    assert reset is not None
    return reset


async def test_a_reset_replaces_the_password_once_and_confirms_the_address(auth: AuthPorts) -> None:
    await auth.accounts.register(new_account("ana"), PASSWORD, confirmed=False, now=NOON)
    reset = await found_reset(auth, await asks_for_reset(auth, "ANA@example.org"))
    assert (reset.account.profile.username, reset.expires_at) == ("ana", NOON + 30 * MINUTE)
    await auth.accounts.reset_password(reset, "Other1pass!", now=NOON + MINUTE)
    assert await signs_in(auth, "ana", "Other1pass!")
    assert not await signs_in(auth, "ana", PASSWORD)
    account = await auth.accounts.get_account(reset.account.user_id)
    assert account is not None
    assert account.confirmed
    assert await auth.accounts.get_reset(reset.id, now=NOON + MINUTE) is None
    with pytest.raises(InvalidReset):
        await auth.accounts.reset_password(reset, "Third1pass!", now=NOON + MINUTE)


async def test_a_reset_ends_all_sessions(auth: AuthPorts) -> None:
    account = await auth.account("ana")
    await auth.sessions.open(Session(SessionId(uuid7()), account, NOON + DAY), b"a" * 32, now=NOON)
    reset = await found_reset(auth, await asks_for_reset(auth))
    await auth.accounts.reset_password(reset, "Other1pass!", now=NOON)
    assert await auth.sessions.list_open(account.user_id, now=NOON) == []


async def test_a_reset_is_for_an_account_only_and_its_event_holds_no_secret(auth: AuthPorts) -> None:
    await auth.account("ana")
    await auth.profile("ben")
    for email in ("ben@example.org", "unknown@example.org"):
        assert await auth.accounts.get_reset(await asks_for_reset(auth, email), now=NOON) is None
    assert await auth.events() == []
    id_ = await asks_for_reset(auth)
    [(kind, audience, payload)] = await auth.events()
    assert (kind, audience) == ("account.password_reset_requested", "internal")
    assert json.loads(payload) == {"reset_id": str(id_)}


async def test_a_reset_expires(auth: AuthPorts) -> None:
    await auth.account("ana")
    id_ = await asks_for_reset(auth)
    assert await auth.accounts.get_reset(id_, now=NOON + 29 * MINUTE) is not None
    assert await auth.accounts.get_reset(id_, now=NOON + 30 * MINUTE) is None


async def test_requests_of_others_do_not_break_a_mailed_link(auth: AuthPorts) -> None:
    await auth.account("ana")
    first = await asks_for_reset(auth)
    await asks_for_reset(auth, now=NOON + MINUTE)
    assert len(await auth.events()) == 1
    await asks_for_reset(auth, now=NOON + 10 * MINUTE)
    assert len(await auth.events()) == 2
    assert (await found_reset(auth, first, NOON + 35 * MINUTE)).expires_at == NOON + 40 * MINUTE
    later = await asks_for_reset(auth, now=NOON + HOUR)
    assert await auth.accounts.get_reset(first, now=NOON + HOUR) is None
    await found_reset(auth, later, NOON + HOUR)


async def test_a_used_reset_is_replaced_by_a_new_one(auth: AuthPorts) -> None:
    await auth.account("ana")
    reset = await found_reset(auth, await asks_for_reset(auth))
    await auth.accounts.reset_password(reset, "Other1pass!", now=NOON)
    again = await asks_for_reset(auth, now=NOON + 6 * MINUTE)
    assert await auth.accounts.get_reset(reset.id, now=NOON + 6 * MINUTE) is None
    await found_reset(auth, again, NOON + 6 * MINUTE)


async def test_the_mail_of_a_pending_registration_is_sent_again_by_its_address(auth: AuthPorts) -> None:
    id_ = await request(auth, new_account("ana"))
    for now in (NOON + MINUTE, NOON + 6 * MINUTE, NOON + 7 * MINUTE):
        await auth.accounts.remind_address("Ana@example.org", EventId(uuid7()), now=now)
    await auth.accounts.remind_address("unknown@example.org", EventId(uuid7()), now=NOON + HOUR)
    assert [json.loads(payload) for _, _, payload in await auth.events()] == [{"registration_id": str(id_)}] * 2


async def test_credentials_are_found_by_id(auth: AuthPorts) -> None:
    account = await auth.account("ana")
    found = await auth.accounts.get_credentials(account.user_id)
    assert found is not None
    assert found.account == account
    assert await auth.accounts.check(found, PASSWORD)
    ben = await auth.profile("ben")
    assert await auth.accounts.get_credentials(ben.id) is None
