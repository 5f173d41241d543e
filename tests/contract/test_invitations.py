"""What `Invitations` promises."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Conflict, Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, TripId, UserId, uuid7
from nomadcrew.core.invitations.errors import EmailMismatch, Expired, NotPending
from nomadcrew.core.invitations.model import Invitation
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import ADMIN, MEMBER, OWNER, Role
from tests.contract.crew import Crew
from tests.fakes import NOON


@pytest.fixture
def invitations(crew: Crew) -> PostgresInvitations:
    return PostgresInvitations(crew.pool)


async def invite(
    invitations: PostgresInvitations,
    trip: TripId,
    email: str,
    by: UserId,
    role: Role = Role.MEMBER,
    at: datetime = NOON,
) -> Invitation:
    return await invitations.invite(
        Command(trip, by, ADMIN, EventId(uuid7()), at), email, role, invitation_id=InvitationId(uuid7())
    )


async def accept(
    invitations: PostgresInvitations, invitation: Invitation, by: UserId, at: datetime = NOON
) -> Membership:
    return await invitations.accept(
        invitation.id, by, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()), now=at
    )


async def decline(
    invitations: PostgresInvitations, invitation: Invitation, by: UserId, at: datetime = NOON
) -> None:
    await invitations.decline(invitation.id, by, event_id=EventId(uuid7()), now=at)


async def test_an_invitation_is_told_without_the_address(crew: Crew, invitations: PostgresInvitations) -> None:
    ana = await crew.person("ana")
    trip = await crew.trip(ana)
    made = await invite(invitations, trip, "new@example.org", ana)
    assert (made.status, made.invitee_id, made.expires_at) == ("PENDING", None, NOON + timedelta(days=7))
    event = (await crew.events())[-1]
    assert event["type"] == "TRIP_INVITATION_CREATED"
    assert "new@example.org" not in str(event)


async def test_inviting_again_renews_the_one_there_is_and_mails_after_a_pause(
    crew: Crew, invitations: PostgresInvitations
) -> None:
    ana = await crew.person("ana")
    trip = await crew.trip(ana)
    first = await invite(invitations, trip, "new@example.org", ana)
    at_once = await invite(invitations, trip, "new@example.org", ana)
    later = await invite(invitations, trip, "new@example.org", ana, Role.ADMIN, NOON + timedelta(minutes=1))
    assert at_once.id == later.id == first.id
    assert (later.role, later.expires_at) == ("ADMIN", NOON + timedelta(days=7, minutes=1))
    assert (await crew.types())[1:] == ["TRIP_INVITATION_CREATED", "invitation.renewed"]


async def test_many_invitations_at_once_to_one_address_are_one(
    crew: Crew, invitations: PostgresInvitations
) -> None:
    ana = await crew.person("ana")
    trip = await crew.trip(ana)
    made = await asyncio.gather(*(invite(invitations, trip, "new@example.org", ana) for _ in range(6)))
    assert len({invitation.id for invitation in made}) == 1
    assert len(await crew.types()) == 2


async def test_members_are_not_invited_and_nobody_above_oneself(
    crew: Crew, invitations: PostgresInvitations
) -> None:
    ana, ben, eve = await crew.person("ana"), await crew.person("ben"), await crew.person("eve")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    for address in ("ana@example.org", "ben@example.org"):
        with pytest.raises(Conflict):
            await invite(invitations, trip, address, ana)
    with pytest.raises(Forbidden):
        await invite(invitations, trip, "new@example.org", ben)
    with pytest.raises(NotTripMember):
        await invite(invitations, trip, "new@example.org", eve)


async def test_a_contact_address_leads_to_its_owner_unless_it_is_somebodys_account(
    crew: Crew, invitations: PostgresInvitations
) -> None:
    ana, ben, eve = await crew.person("ana"), await crew.person("ben"), await crew.person("eve")
    for address, owner in (("Relay@Example.org", ben), ("ana2@example.org", eve), ("eve@example.org", ben)):
        await crew.run(
            "UPDATE user_profiles SET contact_email = :to::text WHERE id = :id::uuid", to=address, id=owner
        )
    trip = await crew.trip(ana)
    assert (await invite(invitations, trip, "eve@example.org", ana)).invitee_id == eve
    relayed = await invite(invitations, trip, "ana2@example.org", ana)
    assert relayed.invitee_id == eve
    assert (await accept(invitations, relayed, eve)).role == "MEMBER"


async def test_accepting_joins_once_and_answers_alike_again(crew: Crew, invitations: PostgresInvitations) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    invitation = await invite(invitations, trip, "ben@example.org", ana, Role.ADMIN)
    joined = await asyncio.gather(*(accept(invitations, invitation, ben) for _ in range(4)))
    assert len(set(joined)) == 1
    assert (joined[0].role, joined[0].status, joined[0].user_id) == ("ADMIN", "ACTIVE", ben)
    assert await crew.member_count(trip) == 2
    added = [e for e in await crew.events() if e["type"] == "MEMBER_ADDED"]
    assert [e["payload"] for e in added] == [
        {"userId": str(ben), "role": "ADMIN", "addedBy": str(ana), "invitationId": str(invitation.id)}
    ]


async def test_only_the_invited_see_and_answer(crew: Crew, invitations: PostgresInvitations) -> None:
    ana, _, eve = await crew.person("ana"), await crew.person("ben"), await crew.person("eve")
    invitation = await invite(invitations, await crew.trip(ana), "ben@example.org", ana)
    for refused in (
        accept(invitations, invitation, eve),
        decline(invitations, invitation, eve),
        invitations.details(invitation.id, eve),
    ):
        with pytest.raises(EmailMismatch):
            await refused
    with pytest.raises(NotFound):
        await invitations.details(InvitationId(uuid4()), eve)


async def test_details_show_the_trip_and_the_inviter(crew: Crew, invitations: PostgresInvitations) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    invitation = await invite(invitations, trip, "ben@example.org", ana)
    for caller in (ben, None):
        details = await invitations.details(invitation.id, caller)
        assert (details.trip_name, details.inviter_id, details.inviter_name, details.member_count) == (
            "Porto",
            ana,
            "ana",
            1,
        )
    await crew.run("UPDATE trips SET deleted_at = now() WHERE id = :id::uuid", id=trip)
    with pytest.raises(NotFound):
        await invitations.details(invitation.id, ben)
    assert await invitations.get_for_mail(invitation.id) is None
    with pytest.raises(NotFound):
        await accept(invitations, invitation, ben)


async def test_late_and_answered_invitations_are_refused(crew: Crew, invitations: PostgresInvitations) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    invitation = await invite(invitations, trip, "ben@example.org", ana)
    for answer in (accept, decline):
        with pytest.raises(Expired):
            await answer(invitations, invitation, ben, NOON + timedelta(days=7))
    await decline(invitations, invitation, ben)
    await decline(invitations, invitation, ben)
    with pytest.raises(NotPending):
        await accept(invitations, invitation, ben)
    assert (await crew.types())[2:] == ["invitation.declined"]
    second = await invite(invitations, trip, "ben@example.org", ana)
    assert second.id != invitation.id
    await accept(invitations, second, ben)
    with pytest.raises(NotPending):
        await decline(invitations, second, ben)


async def test_an_invitation_is_withdrawn_on_its_own_trip_only(
    crew: Crew, invitations: PostgresInvitations
) -> None:
    ana = await crew.person("ana")
    here, there = await crew.trip(ana), await crew.trip(ana)
    invitation = await invite(invitations, here, "new@example.org", ana)
    with pytest.raises(NotFound):
        await invitations.revoke(Access(there, ana, ADMIN), invitation.id, now=NOON)
    await invitations.revoke(Access(here, ana, ADMIN), invitation.id, now=NOON)
    with pytest.raises(NotPending):
        await invitations.revoke(Access(here, ana, ADMIN), invitation.id, now=NOON)
    assert [i.status for i in await invitations.list_for_trip(Access(here, ana, OWNER))] == ["DECLINED"]
    assert await invitations.list_for_trip(Access(there, ana, MEMBER)) == []


async def test_someone_removed_comes_back_by_invitation(crew: Crew, invitations: PostgresInvitations) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    first = await invite(invitations, trip, "ben@example.org", ana)
    joined = await accept(invitations, first, ben)
    await crew.leave(trip, ben, ana)
    with pytest.raises(NotPending):
        await accept(invitations, first, ben)
    again = await accept(invitations, await invite(invitations, trip, "ben@example.org", ana, Role.ADMIN), ben)
    assert (again.id, again.role, again.status) == (joined.id, "ADMIN", "ACTIVE")
