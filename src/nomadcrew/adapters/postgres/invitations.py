"""Invitations on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from nomadcrew.adapters.postgres.members import membership_of
from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, gate, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.clock import midnight
from nomadcrew.core.emails import is_private
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, UserId
from nomadcrew.core.invitations.model import (
    LIFETIME,
    RESEND_PAUSE,
    Invitation,
    InvitationDetails,
    ToRemind,
)
from nomadcrew.core.mail import MAX_MAILS, recipient_key
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import Role, rule
from nomadcrew.core.retention import MAIL_COUNT_RETENTION
from nomadcrew.core.text import email_key
from nomadcrew.core.trips.model import MAX_MEMBERS, MAX_TRIPS_PER_USER

_SQL = statements("invitations")
MAX_LISTED = 500


class PostgresInvitations:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def invite(
        self,
        command: Command,
        email: str,
        role: Role,
        *,
        invitation_id: InvitationId,
        user_id: UserId | None = None,
    ) -> Invitation:
        [row] = await self._sql.fetch(
            _SQL["invite"],
            **gate(command),
            email=email,
            email_key=email_key(email),
            role=role,
            id=invitation_id,
            event_id=command.event_id,
            now=command.now,
            expires_at=command.now + LIFETIME,
            mailed_before=command.now - RESEND_PAUSE,
            user_id=user_id,
            counted_since=command.now - MAIL_COUNT_RETENTION,
            max_mails=MAX_MAILS,
            recipient=recipient_key(email),
        )
        raise_for_verdict(row["verdict"])
        return _invitation(row)

    async def list_for_trip(self, access: Access) -> Sequence[Invitation]:
        rows = await self._sql.fetch(
            _SQL["of"],
            **gate(access),
            limit=MAX_LISTED,
        )
        raise_for_verdict(rows[0]["verdict"])
        return [_invitation(row) for row in rows if row["id"] is not None]

    async def revoke(self, access: Access, invitation_id: InvitationId, *, now: datetime) -> None:
        [row] = await self._sql.fetch(
            _SQL["revoke"],
            **gate(access),
            id=invitation_id,
            now=now,
        )
        raise_for_verdict(row["verdict"])

    async def details(self, invitation_id: InvitationId, caller: UserId | None) -> InvitationDetails:
        [row] = await self._sql.fetch(_SQL["details"], id=invitation_id, caller=caller, anonymous=caller is None)
        raise_for_verdict(row["verdict"])
        return _details(row)

    async def get_for_mail(self, invitation_id: InvitationId) -> tuple[Invitation, InvitationDetails] | None:
        [row] = await self._sql.fetch(_SQL["details"], id=invitation_id, caller=None, anonymous=True)
        if row["verdict"] != "ok":
            return None
        invitation = _invitation(row)
        if is_private(invitation.invitee_email):
            invitation = replace(invitation, invitee_email=row["account_email"])
        return invitation, _details(row)

    async def mail_sent(self, invitation_id: InvitationId, event_id: EventId, *, now: datetime) -> None:
        await self._sql.fetch(_SQL["mail_sent"], id=invitation_id, event_id=event_id, now=now)

    async def list_to_remind(self, expires_until: datetime, *, now: datetime, limit: int) -> Sequence[ToRemind]:
        rows = await self._sql.fetch(
            _SQL["to_remind"],
            expires_until=expires_until,
            now=now,
            limit=limit,
            inviter_rank=rule("invitation", "create").min_rank,
        )
        return [ToRemind(row["id"], row["invitee_email"]) for row in rows]

    async def remind(self, invitation: ToRemind, *, now: datetime) -> bool:
        rows = await self._sql.fetch(
            _SQL["remind"],
            id=invitation.id,
            now=now,
            counted_since=now - MAIL_COUNT_RETENTION,
            max_mails=MAX_MAILS,
            recipient=recipient_key(invitation.invitee_email),
        )
        return bool(rows)

    async def expire(self, *, now: datetime, limit: int) -> int:
        return len(await self._sql.fetch(_SQL["expire"], now=now, limit=limit))

    async def accept(
        self,
        invitation_id: InvitationId,
        caller: UserId,
        *,
        membership_id: MembershipId,
        event_id: EventId,
        now: datetime,
    ) -> Membership:
        [row] = await self._sql.fetch(
            _SQL["accept"],
            id=invitation_id,
            caller=caller,
            membership_id=membership_id,
            event_id=event_id,
            now=now,
            max_members=MAX_MEMBERS,
            max_trips=MAX_TRIPS_PER_USER,
            inviter_rank=rule("invitation", "create").min_rank,
        )
        raise_for_verdict(row["verdict"], "unchanged", "joined")
        return membership_of(row)

    async def decline(
        self, invitation_id: InvitationId, caller: UserId, *, event_id: EventId, now: datetime
    ) -> None:
        [row] = await self._sql.fetch(_SQL["decline"], id=invitation_id, caller=caller, event_id=event_id, now=now)
        raise_for_verdict(row["verdict"], "unchanged")


def _invitation(row: Row) -> Invitation:
    return Invitation(
        row["id"],
        row["trip_id"],
        row["inviter_id"],
        row["invitee_email"],
        row["invitee_id"],
        row["role"],
        row["status"],
        row["expires_at"],
        row["created_at"],
        row["updated_at"],
    )


def _details(row: Row) -> InvitationDetails:
    return InvitationDetails(
        id=row["id"],
        trip_id=row["trip_id"],
        email=row["account_email"] or row["invitee_email"],
        status=row["status"],
        role=row["role"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        trip_name=row["trip_name"],
        trip_description=row["trip_description"],
        trip_start_date=midnight(row["trip_start_date"]),
        trip_end_date=midnight(row["trip_end_date"]),
        inviter_id=row["inviter_id"],
        inviter_username=row["inviter_username"] or "",
        inviter_first_name=row["inviter_first_name"] or "",
        inviter_last_name=row["inviter_last_name"] or "",
        inviter_avatar_url=row["inviter_avatar_url"] or "",
        member_count=row["member_count"],
    )
