"""`Invitations` over every driver."""

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Conflict, Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, TripId, UserId, uuid7
from nomadcrew.core.invitations.errors import EmailMismatch, Expired, InviterNotAllowed, NotPending
from nomadcrew.core.invitations.model import Invitation, email_of_user
from nomadcrew.core.mail import MAX_MAILS
from nomadcrew.core.members.model import Membership
from nomadcrew.core.permissions import ADMIN, MEMBER, OWNER, Role
from nomadcrew.core.text import email_key
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


@pytest.fixture
def invitations(db: TripDb) -> PostgresInvitations:
    return PostgresInvitations(db.pool)


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


@pytest.mark.contract("rest-core.invite", "rest-core.events.fix-address")
async def test_the_event_of_an_invitation_holds_no_address(db: TripDb, invitations: PostgresInvitations) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    made = await invite(invitations, trip, "new@example.org", ana)
    assert (made.status, made.invitee_id, made.expires_at) == ("PENDING", None, NOON + timedelta(days=7))
    event = (await db.events())[-1]
    assert event["type"] == "TRIP_INVITATION_CREATED"
    assert "new@example.org" not in str(event)


@pytest.mark.contract("rest-core.invite.fix-renew")
async def test_a_repeated_invitation_renews_the_first_and_mails_after_a_pause(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    first = await invite(invitations, trip, "new@example.org", ana)
    at_once = await invite(invitations, trip, "new@example.org", ana)
    later = await invite(invitations, trip, "new@example.org", ana, Role.ADMIN, NOON + timedelta(minutes=1))
    assert at_once.id == later.id == first.id
    assert (later.role, later.expires_at) == ("ADMIN", NOON + timedelta(days=7, minutes=1))
    assert (await db.types())[1:] == ["TRIP_INVITATION_CREATED", "invitation.renewed"]


async def test_concurrent_invitations_of_one_address_are_one(db: TripDb, invitations: PostgresInvitations) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    made = await asyncio.gather(*(invite(invitations, trip, "new@example.org", ana) for _ in range(6)))
    assert len({invitation.id for invitation in made}) == 1
    assert len(await db.types()) == 2


@pytest.mark.contract("rest-core.invite.fix-409", "permissions.fix-invitation-role")
async def test_a_member_cannot_be_invited_and_a_role_above_ones_own_is_refused(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    for address in ("ana@example.org", "ben@example.org"):
        with pytest.raises(Conflict):
            await invite(invitations, trip, address, ana)
    with pytest.raises(Forbidden):
        await invite(invitations, trip, "new@example.org", ben)
    with pytest.raises(NotTripMember):
        await invite(invitations, trip, "new@example.org", eve)


async def claim_contact(db: TripDb, user: UserId, email: str, *, confirmed: bool) -> None:
    await db.run(
        """UPDATE user_profiles SET contact_email = :email::text, contact_email_key = :key::text,
                  contact_email_confirmed_at = CASE WHEN :confirmed::boolean THEN :now::timestamptz END
           WHERE id = :id::uuid""",
        id=user,
        email=email,
        key=email_key(email),
        confirmed=confirmed,
        now=NOON,
    )


@pytest.mark.contract("rest-core.invite.fix-contact")
async def test_a_confirmed_contact_address_finds_its_owner_unless_it_is_an_account_address(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    await claim_contact(db, eve, "Ana2@Example.org", confirmed=True)
    await claim_contact(db, ben, "eve@example.org", confirmed=True)
    trip = await db.trip(ana)
    assert (await invite(invitations, trip, "eve@example.org", ana)).invitee_id == eve
    relayed = await invite(invitations, trip, "ana2@example.org", ana)
    assert relayed.invitee_id == eve
    # The app compares this address with that of the account that is signed in.
    assert (await invitations.details(relayed.id, eve)).email == "eve@example.org"
    assert (await invitations.details(relayed.id, None)).email == "eve@example.org"
    stored = await invitations.get_for_mail(relayed.id)
    assert stored is not None
    assert stored[0].invitee_email == "ana2@example.org"
    assert (await accept(invitations, relayed, eve)).role == "MEMBER"


async def test_an_unconfirmed_contact_address_neither_binds_nor_opens_an_invitation(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana, mallory = await db.user("ana"), await db.user("mallory")
    await claim_contact(db, mallory, "cfo@corp.example", confirmed=False)
    trip = await db.trip(ana)
    invitation = await invite(invitations, trip, "cfo@corp.example", ana, Role.ADMIN)
    assert invitation.invitee_id is None
    with pytest.raises(EmailMismatch):
        await invitations.details(invitation.id, mallory)
    for answer in (accept, decline):
        with pytest.raises(EmailMismatch):
            await answer(invitations, invitation, mallory)
    cfo = await db.user("cfo")
    await claim_contact(db, cfo, "CFO@corp.example", confirmed=True)
    assert (await accept(invitations, invitation, cfo)).role == "ADMIN"


async def test_a_user_is_invited_without_their_address(db: TripDb, invitations: PostgresInvitations) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    await db.join(trip, cleo, ana, Role.ADMIN)
    made = [
        await invitations.invite(
            Command(trip, by, ADMIN, EventId(uuid7()), NOON),
            email_of_user(ben),
            Role.MEMBER,
            invitation_id=InvitationId(uuid7()),
            user_id=ben,
        )
        for by in (ana, cleo)
    ]
    assert made[0].id == made[1].id
    assert (made[0].invitee_id, made[0].invitee_email) == (ben, email_of_user(ben))
    stored = await invitations.get_for_mail(made[0].id)
    assert stored is not None
    assert stored[0].invitee_email == "ben@example.org"
    assert (await invitations.details(made[0].id, ben)).email == "ben@example.org"
    assert (await accept(invitations, made[0], ben)).user_id == ben
    unknown = UserId(uuid7())
    with pytest.raises(NotFound):
        await invitations.invite(
            Command(trip, ana, ADMIN, EventId(uuid7()), NOON),
            email_of_user(unknown),
            Role.MEMBER,
            invitation_id=InvitationId(uuid7()),
            user_id=unknown,
        )


@pytest.mark.contract("permissions.fix-invitation-role")
@pytest.mark.parametrize("change", ["left", "demoted", "deleted"])
async def test_an_invitation_gives_no_role_that_its_sender_could_not_give_any_more(
    db: TripDb, invitations: PostgresInvitations, change: str
) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana, Role.ADMIN)
    invitation = await invite(invitations, trip, "eve@example.org", ben, Role.ADMIN)
    match change:
        case "left":
            await db.leave(trip, ben, ben)
        case "demoted":
            await db.run("UPDATE trip_memberships SET role = 'MEMBER' WHERE user_id = :id::uuid", id=ben)
        case _:
            await db.run("DELETE FROM user_profiles WHERE id = :id::uuid", id=ben)
    with pytest.raises(InviterNotAllowed):
        await accept(invitations, invitation, eve)
    renewed = await invite(invitations, trip, "eve@example.org", ana, Role.ADMIN)
    assert renewed.id == invitation.id
    assert (await accept(invitations, renewed, eve)).role == "ADMIN"


async def test_one_address_gets_a_limited_number_of_mails_a_day_over_all_trips(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")

    async def mails() -> list[bool]:
        return [event["payload"]["is_mailed"] for event in await db.events() if "is_mailed" in event["payload"]]

    trips = [await db.trip(owner) for owner in (ana, ben) for _ in range(MAX_MAILS)]
    for n, (trip, owner) in enumerate(zip(trips, [ana] * MAX_MAILS + [ben] * MAX_MAILS, strict=True)):
        await invite(invitations, trip, f"victim+{n}@example.net" if n % 2 else "victim@example.net", owner)
    assert await mails() == [True] * MAX_MAILS + [False] * MAX_MAILS
    for minute in (1, 2):  # nor by inviting to the same trip again and again
        await invite(invitations, trips[0], "victim@example.net", ana, at=NOON + timedelta(minutes=minute))
    assert (await mails())[-2:] == [False, False]
    await invite(invitations, trips[0], "other@example.net", ana)
    await invite(invitations, trips[0], "victim@example.net", ana, at=NOON + timedelta(days=1, minutes=1))
    assert (await mails())[-2:] == [True, True]
    counted = "SELECT count(*) AS count FROM mails_sent"
    assert await PostgresRetention(db.pool).delete_mails_sent(NOON + timedelta(days=1, seconds=1)) == MAX_MAILS + 1
    assert (await db.rows(counted))[0]["count"] == 1


@pytest.mark.contract("permissions.fix-decline")
async def test_spellings_of_one_mailbox_are_one_invitation(db: TripDb, invitations: PostgresInvitations) -> None:
    ana, zoe = await db.user("ana"), await db.user("zoe")
    await db.run(
        "UPDATE user_profiles SET email_key = :key::text WHERE id = :id::uuid",
        key=email_key("zo\u00eb@münchen.de"),
        id=zoe,
    )
    trip = await db.trip(ana)
    first = await invite(invitations, trip, "zo\u00eb@m\u00fcnchen.de", ana)
    again = await invite(invitations, trip, "zoe\u0308@xn--mnchen-3ya.de", ana)
    assert (first.id, first.invitee_id) == (again.id, zoe)
    assert (await accept(invitations, again, zoe)).user_id == zoe


@pytest.mark.contract("rest-core.accept", "rest-core.accept.fix-event", "rest-core.accept.fix-repeat")
async def test_accepting_joins_once_and_repeats_get_the_same_reply(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    invitation = await invite(invitations, trip, "ben@example.org", ana, Role.ADMIN)
    joined = await asyncio.gather(*(accept(invitations, invitation, ben) for _ in range(4)))
    assert len(set(joined)) == 1
    assert (joined[0].role, joined[0].status, joined[0].user_id) == ("ADMIN", "ACTIVE", ben)
    assert await db.member_count(trip) == 2
    added = [e for e in await db.events() if e["type"] == "MEMBER_ADDED"]
    assert [e["payload"] for e in added] == [
        {"userId": str(ben), "role": "admin", "addedBy": str(ana), "invitationId": str(invitation.id)}
    ]


@pytest.mark.contract("rest-core.accept.refused", "rest-core.invitation")
async def test_only_the_invited_user_reads_and_answers(db: TripDb, invitations: PostgresInvitations) -> None:
    ana, _, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    invitation = await invite(invitations, await db.trip(ana), "ben@example.org", ana)
    for refused in (
        accept(invitations, invitation, eve),
        decline(invitations, invitation, eve),
        invitations.details(invitation.id, eve),
    ):
        with pytest.raises(EmailMismatch):
            await refused
    with pytest.raises(NotFound):
        await invitations.details(InvitationId(uuid4()), eve)


async def test_details_show_the_trip_and_the_inviter(db: TripDb, invitations: PostgresInvitations) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    invitation = await invite(invitations, trip, "ben@example.org", ana)
    for caller in (ben, None):
        details = await invitations.details(invitation.id, caller)
        assert (details.trip_name, details.inviter_id, details.inviter_name, details.member_count) == (
            "Porto",
            ana,
            "ana",
            1,
        )
    await db.run("UPDATE trips SET deleted_at = now() WHERE id = :id::uuid", id=trip)
    with pytest.raises(NotFound):
        await invitations.details(invitation.id, ben)
    assert await invitations.get_for_mail(invitation.id) is None
    with pytest.raises(NotFound):
        await accept(invitations, invitation, ben)


@pytest.mark.contract(
    "rest-core.invite.answered",
    "rest-core.accept.refused",
    "rest-core.decline.fix-pending",
    "jobs.invitation-expiry",
)
async def test_expired_and_answered_invitations_are_refused(db: TripDb, invitations: PostgresInvitations) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    invitation = await invite(invitations, trip, "ben@example.org", ana)
    for answer in (accept, decline):
        with pytest.raises(Expired):
            await answer(invitations, invitation, ben, NOON + timedelta(days=7))
    await decline(invitations, invitation, ben)
    await decline(invitations, invitation, ben)
    with pytest.raises(NotPending):
        await accept(invitations, invitation, ben)
    assert (await db.types())[2:] == ["invitation.declined"]
    second = await invite(invitations, trip, "ben@example.org", ana)
    assert second.id != invitation.id
    await accept(invitations, second, ben)
    with pytest.raises(NotPending):
        await decline(invitations, second, ben)


@pytest.mark.contract("rest-core.revoke.fix-trip", "permissions.fix-revoke")
async def test_an_invitation_is_revoked_on_its_own_trip_only(db: TripDb, invitations: PostgresInvitations) -> None:
    ana = await db.user("ana")
    here, there = await db.trip(ana), await db.trip(ana)
    invitation = await invite(invitations, here, "new@example.org", ana)
    with pytest.raises(NotFound):
        await invitations.revoke(Access(there, ana, ADMIN), invitation.id, now=NOON)
    await invitations.revoke(Access(here, ana, ADMIN), invitation.id, now=NOON)
    with pytest.raises(NotPending):
        await invitations.revoke(Access(here, ana, ADMIN), invitation.id, now=NOON)
    assert [i.status for i in await invitations.list_for_trip(Access(here, ana, OWNER))] == ["DECLINED"]
    assert await invitations.list_for_trip(Access(there, ana, MEMBER)) == []


@pytest.mark.contract("rest-core.accept.rejoin", "permissions.rejoin")
async def test_a_removed_member_returns_by_invitation(db: TripDb, invitations: PostgresInvitations) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    first = await invite(invitations, trip, "ben@example.org", ana)
    joined = await accept(invitations, first, ben)
    await db.leave(trip, ben, ana)
    with pytest.raises(NotPending):
        await accept(invitations, first, ben)
    again = await accept(invitations, await invite(invitations, trip, "ben@example.org", ana, Role.ADMIN), ben)
    assert (again.id, again.role, again.status) == (joined.id, "ADMIN", "ACTIVE")


async def test_answers_at_the_same_moment_all_get_the_one_membership(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana = await db.user("ana")
    for number in range(20):
        ben, trip = await db.user(f"ben{number}"), await db.trip(ana)
        invitation = await invite(invitations, trip, f"ben{number}@example.org", ana)
        joined = await asyncio.gather(*(accept(invitations, invitation, ben) for _ in range(3)))
        assert len(set(joined)) == 1
        assert await db.member_count(trip) == 2


async def test_an_acceptance_beside_an_addition_joins_once_with_the_first_role(
    db: TripDb, invitations: PostgresInvitations
) -> None:
    ana = await db.user("ana")
    for number in range(20):
        ben, trip = await db.user(f"ben{number}"), await db.trip(ana)
        invitation = await invite(invitations, trip, f"ben{number}@example.org", ana, Role.ADMIN)
        _, accepted = await asyncio.gather(db.join(trip, ben, ana), accept(invitations, invitation, ben))
        assert await db.member_count(trip) == 2
        [added] = [e["payload"] for e in await db.events() if e["payload"].get("userId") == str(ben)]
        assert accepted.role == added["role"].upper()
        [kept] = await invitations.list_for_trip(Access(trip, ana, ADMIN))
        assert kept.status == "ACCEPTED"
