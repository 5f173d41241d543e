"""Authenticator apps, identities, changes of the email address, and known devices, on both hosts' adapters."""

import hashlib
import json
from datetime import timedelta

import pytest

from nomadcrew.adapters.postgres.identities import PostgresIdentities
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.totp_factors import PostgresTotpFactors
from nomadcrew.core.auth.errors import IdentityTaken, InvalidEmailChange, LastSignIn, MfaEnabled
from nomadcrew.core.auth.model import IdToken, Provider
from nomadcrew.core.auth.ports import DeviceId, EmailChange, EmailChangeId
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import EventId, UserId, uuid7
from nomadcrew.core.retention import EMAIL_CHANGE_RETENTION, KNOWN_DEVICE_RETENTION
from nomadcrew.core.users.errors import EmailTaken
from tests.contract.auth_ports import NOON, AuthPorts, new_account

pytestmark = pytest.mark.asyncio(loop_scope="session")
MINUTE = timedelta(minutes=1)
SECRET, OTHER = b"s" * 20, b"t" * 20
HASHES = [hashlib.sha256(text).digest() for text in (b"one", b"two")]
PHONE, LAPTOP = hashlib.sha256(b"phone").digest(), hashlib.sha256(b"laptop").digest()


@pytest.fixture
def factors(auth: AuthPorts) -> PostgresTotpFactors:
    return PostgresTotpFactors(auth.sql)


async def changes(auth: AuthPorts) -> list[dict[str, str]]:
    return [json.loads(payload) for type_, _, payload in await auth.events() if type_ == "account.changed"]


async def test_a_factor_counts_once_it_is_confirmed(auth: AuthPorts, factors: PostgresTotpFactors) -> None:
    ana = (await auth.account("ana")).user_id
    assert await factors.get(ana) is None
    await factors.begin(ana, OTHER, HASHES[:1])
    await factors.begin(ana, SECRET, HASHES)
    begun = await factors.get(ana)
    assert begun is not None
    assert (begun.secret, begun.is_confirmed, begun.recovery_codes_left) == (SECRET, False, 2)
    assert not await factors.confirm(ana, OTHER, 7, now=NOON)
    assert not await factors.spend_step(ana, 7)
    assert not await factors.spend_recovery_code(ana, HASHES[0])
    assert await factors.confirm(ana, SECRET, 7, now=NOON)
    assert not await factors.confirm(ana, SECRET, 8, now=NOON)
    with pytest.raises(MfaEnabled):
        await factors.begin(ana, OTHER, HASHES)
    found = await auth.accounts.find("ana", now=NOON)
    assert found is not None
    assert found.account is not None
    assert found.account.has_totp


async def test_each_code_works_once(auth: AuthPorts, factors: PostgresTotpFactors) -> None:
    ana = (await auth.account("ana")).user_id
    await factors.begin(ana, SECRET, HASHES)
    await factors.confirm(ana, SECRET, 7, now=NOON)
    assert [await factors.spend_step(ana, step) for step in (6, 7, 9, 8, 9)] == [False, False, True, False, False]
    assert [await factors.spend_recovery_code(ana, hash_) for hash_ in (HASHES[1], HASHES[1])] == [True, False]
    left = await factors.get(ana)
    assert left is not None
    assert left.recovery_codes_left == 1


async def test_a_factor_is_removed_with_its_codes(auth: AuthPorts, factors: PostgresTotpFactors) -> None:
    ana = (await auth.account("ana")).user_id
    await factors.begin(ana, SECRET, HASHES)
    await factors.confirm(ana, SECRET, 7, now=NOON)
    for _ in range(2):
        await factors.remove(ana, now=NOON + MINUTE)
    assert await factors.get(ana) is None
    assert not await factors.spend_recovery_code(ana, HASHES[0])
    assert [change["change"] for change in await changes(auth)] == ["totp_enabled", "totp_disabled"]


async def request(auth: AuthPorts, user_id: UserId, email: str) -> EmailChangeId:
    id_ = EmailChangeId(uuid7())
    await auth.accounts.request_email_change(user_id, email, id_, EventId(uuid7()), now=NOON)
    return id_


async def found(auth: AuthPorts, id_: EmailChangeId) -> EmailChange:
    change = await auth.accounts.get_email_change(id_, now=NOON)
    assert change is not None
    return change


async def test_an_address_is_changed_once_and_the_former_one_is_remembered(auth: AuthPorts) -> None:
    ana = (await auth.account("ana")).user_id
    change = await found(auth, await request(auth, ana, "ana@example.net"))
    assert (change.email, change.expires_at) == ("ana@example.net", NOON + 30 * MINUTE)
    await auth.accounts.change_email(change, now=NOON)
    account = await auth.accounts.get_account(ana)
    assert account is not None
    assert (account.profile.email, account.confirmed) == ("ana@example.net", True)
    assert await auth.accounts.get_former_email(change.id) == "ana@example.org"
    assert await auth.accounts.get_email_change(change.id, now=NOON) is None
    with pytest.raises(InvalidEmailChange):
        await auth.accounts.change_email(change, now=NOON)
    assert await changes(auth) == [{"user_id": str(ana), "change": "email", "change_id": str(change.id)}]


async def test_an_address_of_another_account_is_not_taken(auth: AuthPorts) -> None:
    ana = (await auth.account("ana")).user_id
    known = await request(auth, ana, "ana@example.org")
    assert await auth.accounts.get_email_change(known, now=NOON) is None
    change = await found(auth, await request(auth, ana, "ben@example.org"))
    await auth.account("ben")
    with pytest.raises(InvalidEmailChange):
        await auth.accounts.change_email(change, now=NOON)
    assert await auth.accounts.get_former_email(EmailChangeId(uuid7())) is None


async def test_another_address_replaces_a_request_and_the_same_one_waits(auth: AuthPorts) -> None:
    ana = (await auth.account("ana")).user_id
    first = await request(auth, ana, "typo@example.net")
    second = await request(auth, ana, "right@example.net")
    await request(auth, ana, "RIGHT@example.net")
    assert await auth.accounts.get_email_change(first, now=NOON) is None
    assert (await found(auth, second)).email == "right@example.net"
    assert await auth.accounts.get_email_change(second, now=NOON + 30 * MINUTE) is None
    kinds = [type_ for type_, _, _ in await auth.events()]
    assert kinds.count("account.email_change_requested") == 2


async def sign_in(
    auth: AuthPorts, user_id: UserId, kind: bytes, *, is_known: bool = False, days: int = 0
) -> DeviceId:
    id_ = DeviceId(uuid7())
    now = NOON + timedelta(days=days)
    await auth.accounts.note_device(user_id, kind, f"a {kind.hex()[:4]}", id_, is_known=is_known, now=now)
    return id_


async def test_a_device_is_new_if_the_account_knows_another_kind(auth: AuthPorts) -> None:
    ana = (await auth.account("ana")).user_id
    for kind in (PHONE, PHONE):
        await sign_in(auth, ana, kind)
    await sign_in(auth, ana, hashlib.sha256(b"known").digest(), is_known=True)
    laptop = await sign_in(auth, ana, LAPTOP)
    assert await changes(auth) == [{"user_id": str(ana), "change": "new_device", "device_id": str(laptop)}]
    device = await auth.accounts.get_device(laptop)
    assert device is not None
    assert (device.account.user_id, device.created_at) == (ana, NOON)
    assert await auth.accounts.get_device(DeviceId(uuid7())) is None


async def test_devices_of_an_unconfirmed_account_are_not_mailed(auth: AuthPorts) -> None:
    account = await auth.accounts.register(new_account("ana"), "Sail2Porto!", confirmed=False, now=NOON)
    for kind in (PHONE, LAPTOP):
        await sign_in(auth, account.user_id, kind)
    assert await changes(auth) == []


async def test_old_changes_and_devices_are_deleted(auth: AuthPorts) -> None:
    ana = (await auth.account("ana")).user_id
    await request(auth, ana, "ana@example.net")
    await sign_in(auth, ana, PHONE)
    await sign_in(auth, ana, LAPTOP, days=1)
    retention = PostgresRetention(auth.sql)
    ends = NOON + 30 * MINUTE + EMAIL_CHANGE_RETENTION
    assert [await retention.delete_email_changes(at) for at in (ends, ends + MINUTE)] == [0, 1]
    ends = NOON + KNOWN_DEVICE_RETENTION
    assert [await retention.delete_known_devices(at) for at in (ends, ends + MINUTE)] == [0, 1]


GOOGLE = IdToken(Provider.GOOGLE, "of-google", "ana@example.org")


async def test_an_identity_is_linked_with_its_new_account(auth: AuthPorts) -> None:
    identities = PostgresIdentities(auth.sql)
    account = await auth.accounts.register(
        new_account("ana"), "Random1pass!", confirmed=True, now=NOON, identity=GOOGLE
    )
    found = await identities.find(Provider.GOOGLE, "of-google")
    assert found == account
    assert await identities.find(Provider.APPLE, "of-google") is None
    assert [each.provider for each in await identities.list(account.user_id)] == [Provider.GOOGLE]
    with pytest.raises(EmailTaken):
        await auth.accounts.register(new_account("ana"), "Other1pass!", confirmed=True, now=NOON, identity=GOOGLE)


async def test_the_last_way_to_sign_in_stays(auth: AuthPorts) -> None:
    identities = PostgresIdentities(auth.sql)
    account = await auth.accounts.register(
        new_account("ana"), "Random1pass!", confirmed=True, now=NOON, identity=GOOGLE
    )
    ana = account.user_id
    with pytest.raises(LastSignIn):
        await identities.unlink(ana, Provider.GOOGLE, now=NOON)
    await identities.link(ana, Provider.APPLE, "of-apple", now=NOON)
    await identities.unlink(ana, Provider.GOOGLE, now=NOON)
    with pytest.raises(LastSignIn):
        await identities.unlink(ana, Provider.APPLE, now=NOON)
    await auth.accounts.set_password(ana, "Chosen1pass!", now=NOON)
    await identities.unlink(ana, Provider.APPLE, now=NOON)
    with pytest.raises(NotFound):
        await identities.unlink(ana, Provider.APPLE, now=NOON)


async def test_an_identity_belongs_to_one_account(auth: AuthPorts) -> None:
    identities = PostgresIdentities(auth.sql)
    ana, ben = (await auth.account("ana")).user_id, (await auth.account("ben")).user_id
    for _ in range(2):
        await identities.link(ana, Provider.GOOGLE, "one", now=NOON)
    for user_id, subject in ((ana, "two"), (ben, "one")):
        with pytest.raises(IdentityTaken):
            await identities.link(user_id, Provider.GOOGLE, subject, now=NOON)
    assert [change["change"] for change in await changes(auth)] == ["identity_linked"]


async def test_a_nonce_is_spent_once_and_deleted_after_its_end(auth: AuthPorts) -> None:
    identities, retention = PostgresIdentities(auth.sql), PostgresRetention(auth.sql)
    nonce_id = uuid7()
    assert [await identities.spend_nonce(nonce_id, expires_at=NOON) for _ in range(2)] == [True, False]
    assert [await retention.delete_nonces(at) for at in (NOON, NOON + MINUTE)] == [0, 1]
