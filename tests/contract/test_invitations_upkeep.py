"""Reminders and the expiry of invitations, over every driver."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, TripId, UserId, uuid7
from nomadcrew.core.invitations.errors import Expired
from nomadcrew.core.invitations.model import LIFETIME, REMINDED_BEFORE, Invitation
from nomadcrew.core.invitations.upkeep import BATCH, expire, remind
from nomadcrew.core.mail import MAX_MAILS
from nomadcrew.core.permissions import ADMIN, Role
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

DUE = NOON + LIFETIME - REMINDED_BEFORE


class Here:
    """A trip of ana."""

    def __init__(self, db: TripDb, trip: TripId, ana: UserId) -> None:
        self.db, self.trip, self.ana = db, trip, ana
        self.invitations = PostgresInvitations(db.pool)

    async def invite(
        self, email: str, *, at: datetime = NOON, is_sent: bool = True, by: UserId | None = None
    ) -> Invitation:
        """Invite an address, and send the mail."""
        event_id = EventId(uuid7())
        command = Command(self.trip, by or self.ana, ADMIN, event_id, at)
        invitation = await self.invitations.invite(command, email, Role.MEMBER, invitation_id=InvitationId(uuid7()))
        if is_sent:
            await self.invitations.mail_sent(invitation.id, event_id, now=at)
        return invitation

    async def remind(self, at: datetime = DUE) -> int:
        return await remind(invitations=self.invitations, now=at)

    async def expire(self, at: datetime) -> int:
        return await expire(invitations=self.invitations, now=at)

    async def reminders(self) -> list[Any]:
        return [event for event in await self.db.events() if event["type"] == "invitation.reminder"]


@pytest.fixture
async def here(db: TripDb) -> Here:
    ana = await db.user("ana")
    return Here(db, await db.trip(ana), ana)


async def test_a_pending_invitation_is_reminded_of_once_two_days_before_it_expires(here: Here) -> None:
    invitation = await here.invite("new@example.org")
    assert await here.remind(DUE - timedelta(seconds=1)) == 0
    assert [await here.remind(), await here.remind(), await here.remind(DUE + timedelta(days=1))] == [1, 0, 0]
    [event] = await here.reminders()
    assert (event["actor"], event["audience"]) == (here.ana, "internal")
    assert event["payload"] == {
        "invitation_id": str(invitation.id), "role": "MEMBER", "is_mailed": True,
        "expires_at": "2026-07-08T12:00:00.000000Z",
    }  # fmt: skip


async def test_concurrent_jobs_remind_once(here: Here) -> None:
    for n in range(5):
        await here.invite(f"new{n}@example.org")
    assert sum(await asyncio.gather(*(here.remind() for _ in range(4)))) == 5
    assert len(await here.reminders()) == 5


async def test_more_invitations_than_a_batch_are_all_reminded_of(here: Here) -> None:
    await here.db.run(
        """INSERT INTO trip_invitations (id, trip_id, inviter_id, invitee_email, role, status, expires_at,
                                         mailed_at, mail_event_id, mail_sent_at, created_at, updated_at)
           SELECT gen_random_uuid(), :trip::uuid, :ana::uuid, n || '@example.org', 'MEMBER', 'PENDING',
                  :expires_at::timestamptz, :now::timestamptz, gen_random_uuid(), :now::timestamptz,
                  :now::timestamptz, :now::timestamptz
           FROM generate_series(1, :count::int) AS n""",
        trip=here.trip, ana=here.ana, now=NOON, expires_at=NOON + LIFETIME, count=BATCH + 1,
    )  # fmt: skip
    assert await here.remind() == BATCH + 1
    assert await here.expire(NOON + LIFETIME) == BATCH + 1


async def test_an_invitation_whose_mail_was_not_sent_is_not_reminded_of(here: Here) -> None:
    first = await here.invite("new@example.org", is_sent=False)
    await here.invitations.mail_sent(first.id, EventId(uuid7()), now=NOON)  # of another mail
    assert await here.remind() == 0


async def test_a_renewal_is_reminded_of_again_and_only_if_its_own_mail_was_sent(here: Here) -> None:
    await here.invite("new@example.org")
    assert await here.remind() == 1
    later = DUE + timedelta(hours=1)
    await here.invite("new@example.org", at=later, is_sent=False)
    assert await here.remind(later + LIFETIME - REMINDED_BEFORE) == 0
    await here.invite("new@example.org", at=later + timedelta(hours=1))
    assert await here.remind(later + timedelta(hours=1) + LIFETIME - REMINDED_BEFORE) == 1


async def test_a_repeat_of_the_request_within_the_pause_keeps_the_record_of_the_mail(here: Here) -> None:
    await here.invite("new@example.org")
    at = NOON + timedelta(seconds=10)
    await here.invite("new@example.org", at=at, is_sent=False)
    assert await here.remind(at + LIFETIME - REMINDED_BEFORE) == 1


async def test_answered_revoked_and_expired_invitations_are_not_reminded_of(here: Here) -> None:
    ben, eve = await here.db.user("ben"), await here.db.user("eve")
    accepted, declined = await here.invite("ben@example.org"), await here.invite("eve@example.org")
    revoked = await here.invite("new@example.org")
    await here.invitations.accept(
        accepted.id, ben, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=NOON
    )
    await here.invitations.decline(declined.id, eve, event_id=EventId(uuid7()), now=NOON)
    await here.invitations.revoke(Access(here.trip, here.ana, ADMIN), revoked.id, now=NOON)
    await here.invite("late@example.org")
    assert await here.remind(NOON + LIFETIME) == 0


async def test_an_invitation_that_could_not_be_accepted_is_not_reminded_of(here: Here) -> None:
    ben, eve = await here.db.user("ben"), await here.db.user("eve")
    await here.db.join(here.trip, ben, here.ana, Role.ADMIN)
    await here.invite("eve@example.org")
    await here.invite("new@example.org", by=ben)
    await here.db.join(here.trip, eve, here.ana)  # without the invitation
    await here.db.leave(here.trip, ben, here.ana)
    assert await here.remind() == 0
    await here.invite("other@example.org")
    await here.db.run("UPDATE trips SET deleted_at = now() WHERE id = :id::uuid", id=here.trip)
    assert await here.remind() == 0


async def test_reminders_count_as_mails_to_the_address_and_beyond_the_limit_only_notify(here: Here) -> None:
    for n in range(MAX_MAILS + 1):
        await here.invite(f"victim+{n}@example.net", at=NOON + timedelta(hours=12 * n))
    late = DUE + timedelta(hours=12 * MAX_MAILS)
    await here.db.run("UPDATE trip_invitations SET expires_at = :at::timestamptz", at=late + timedelta(hours=1))
    assert await here.remind(late) == MAX_MAILS + 1
    mailed = [event["payload"]["is_mailed"] for event in await here.reminders()]
    assert mailed == [True] * MAX_MAILS + [False]
    [row] = await here.db.rows("SELECT count(*) AS count FROM mails_sent WHERE sent_at = :at::timestamptz", at=late)
    assert row["count"] == MAX_MAILS


async def notify(here: Here, user: UserId, invitation: Invitation) -> None:
    await here.db.run(
        """INSERT INTO notifications (id, user_id, type, metadata, created_at, updated_at)
           VALUES (gen_random_uuid(), :user::uuid, 'TRIP_INVITATION_RECEIVED',
                   jsonb_build_object('invitationID', :invitation::uuid), now(), now())""",
        user=user,
        invitation=invitation.id,
    )


@pytest.mark.contract("jobs.invitation-expiry.sweep")
async def test_an_expired_invitation_loses_its_notification_and_stays_pending(here: Here) -> None:
    ben = await here.db.user("ben")
    elsewhere = Here(here.db, await here.db.trip(here.ana), here.ana)
    expired = await here.invite("ben@example.org")
    for invitation in (expired, await elsewhere.invite("ben@example.org", at=NOON + timedelta(days=1))):
        await notify(here, ben, invitation)
    assert await here.expire(NOON + LIFETIME - timedelta(seconds=1)) == 0
    assert [await here.expire(NOON + LIFETIME), await here.expire(NOON + LIFETIME)] == [1, 0]
    rows = await here.db.rows("SELECT metadata ->> 'invitationID' AS id FROM notifications")
    assert str(expired.id) not in [row["id"] for row in rows]
    assert len(rows) == 1
    [listed] = await here.invitations.list_for_trip(Access(here.trip, here.ana, ADMIN))
    assert (listed.status, listed.expires_at) == ("PENDING", NOON + LIFETIME)
    with pytest.raises(Expired):
        await here.invitations.decline(expired.id, ben, event_id=EventId(uuid7()), now=NOON + LIFETIME)


async def test_a_renewed_invitation_is_valid_and_expires_again(here: Here) -> None:
    ben = await here.db.user("ben")
    await here.invite("ben@example.org")
    at = NOON + LIFETIME
    assert await here.expire(at) == 1
    renewed = await here.invite("ben@example.org", at=at)
    assert await here.expire(at) == 0
    assert [await here.expire(at + LIFETIME), await here.remind(at + LIFETIME)] == [1, 0]
    again = await here.invite("ben@example.org", at=at + LIFETIME)
    assert again.id == renewed.id
    joined = await here.invitations.accept(
        again.id, ben, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=at + LIFETIME
    )
    assert joined.status == "ACTIVE"
