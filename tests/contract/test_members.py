"""`Members` over every driver."""

import asyncio
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Conflict, DomainError, Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, InvitationId, MembershipId, TripId, UserId, uuid7
from nomadcrew.core.members.model import LastOwner, Membership, OwnerImmutable
from nomadcrew.core.permissions import ADMIN, MEMBER, OWNER, Role, Rule
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


@pytest.fixture
def members(db: TripDb) -> PostgresMembers:
    return PostgresMembers(db.pool)


async def change_role_of(members: PostgresMembers, trip: TripId, to: UserId, role: Role, by: UserId) -> Membership:
    return await members.change_role(
        Access(trip, by, ADMIN), to, role, event_ids=(EventId(uuid7()), EventId(uuid7())), now=NOON
    )


async def remove(members: PostgresMembers, trip: TripId, user: UserId, by: UserId) -> None:
    rule: Rule = MEMBER if user == by else ADMIN
    await members.remove(Command(trip, by, rule, EventId(uuid7()), NOON), user)


async def roles(members: PostgresMembers, trip: TripId, caller: UserId) -> dict[UserId, str]:
    return {m.user_id: m.role for m in await members.list_for_trip(Access(trip, caller, MEMBER))}


@pytest.mark.contract("rest-core.add-member", "permissions.re-add")
async def test_a_join_is_counted_and_published_once(db: TripDb, members: PostgresMembers) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await db.join(trip, ben, ana, Role.ADMIN)
    assert await roles(members, trip, ben) == {ana: "OWNER", ben: "MEMBER"}
    assert await db.member_count(trip) == 2
    assert await db.types() == ["TRIP_CREATED", "MEMBER_ADDED"]
    assert (await db.events())[-1]["payload"] == {"userId": str(ben), "role": "member", "addedBy": str(ana)}


@pytest.mark.contract("rest-core.add-member.again")
async def test_a_leave_is_also_published_to_the_leaver_and_a_return_has_the_new_role(
    db: TripDb, members: PostgresMembers
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await remove(members, trip, ben, ben)
    event = (await db.events())[-1]
    assert (event["type"], event["actor"], event["recipient"], event["audience"]) == (
        "MEMBER_REMOVED",
        ben,
        ben,
        "trip",
    )
    assert await db.member_count(trip) == 1
    with pytest.raises(NotTripMember):
        await remove(members, trip, ben, ben)
    await db.join(trip, ben, ana, Role.ADMIN)
    assert await roles(members, trip, ana) == {ana: "OWNER", ben: "ADMIN"}
    assert await db.member_count(trip) == 2


async def add(members: PostgresMembers, trip: TripId, user: UserId, by: UserId) -> Membership | None:
    return await members.add(
        Command(trip, by, OWNER, EventId(uuid7()), NOON), user, Role.MEMBER, membership_id=MembershipId(uuid7())
    )


async def test_a_user_is_added_directly_by_those_they_travelled_with_only(
    db: TripDb, members: PostgresMembers
) -> None:
    ana, ben, eve = [await db.user(name) for name in ("ana", "ben", "eve")]
    trip, other = await db.trip(ana), await db.trip(eve)
    assert await add(members, trip, ben, ana) is None
    assert await db.member_count(trip) == 1
    await db.join(trip, ben, ana)
    second = await db.trip(ana)
    added = await add(members, second, ben, ana)
    assert added is not None
    assert added.status == "ACTIVE"
    assert await add(members, other, ben, eve) is None
    await remove(members, trip, ben, ana)
    await remove(members, second, ben, ana)
    assert await add(members, second, ben, ana) is not None  # they once shared a trip


async def test_a_user_who_left_or_declined_is_not_added_again_without_consent(
    db: TripDb, members: PostgresMembers
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip, other = await db.trip(ana), await db.trip(ana)
    await db.join(trip, ben, ana)
    invitations = PostgresInvitations(db.pool)
    invitation = await invitations.invite(
        Command(other, ana, ADMIN, EventId(uuid7()), NOON),
        "ben@example.org",
        Role.MEMBER,
        invitation_id=InvitationId(uuid7()),
    )
    await invitations.decline(invitation.id, ben, event_id=EventId(uuid7()), now=NOON)
    assert await add(members, other, ben, ana) is None
    await remove(members, trip, ben, ben)
    assert await add(members, trip, ben, ana) is None
    assert await db.member_count(trip) == 1


@pytest.mark.contract("rest-core.remove-member", "permissions.member.remove")
async def test_admins_remove_members_and_only_owners_remove_admins(db: TripDb, members: PostgresMembers) -> None:
    ana, ben, cleo, dev = [await db.user(name) for name in ("ana", "ben", "cleo", "dev")]
    trip = await db.trip(ana)
    for admin in (ben, cleo):
        await db.join(trip, admin, ana, Role.ADMIN)
    await db.join(trip, dev, ana)
    for target in (ana, cleo):
        with pytest.raises(Forbidden):
            await remove(members, trip, target, ben)
    with pytest.raises(Forbidden):
        await remove(members, trip, ben, dev)
    await remove(members, trip, dev, ben)
    await remove(members, trip, cleo, ana)
    with pytest.raises(NotFound):
        await remove(members, trip, cleo, ana)
    with pytest.raises(LastOwner):
        await remove(members, trip, ana, ana)


@pytest.mark.contract("permissions.last-owner")
async def test_one_of_two_owners_who_leave_at_once_stays(db: TripDb, members: PostgresMembers) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    # Only imported data has two owners.
    await db.run("UPDATE trip_memberships SET role = 'OWNER' WHERE user_id = :id::uuid", id=ben)
    results = await asyncio.gather(
        remove(members, trip, ana, ana), remove(members, trip, ben, ben), return_exceptions=True
    )
    assert sorted(type(r).__name__ for r in results) == ["LastOwner", "NoneType"]
    assert await db.member_count(trip) == 1


@pytest.mark.contract(
    "rest-core.role.client-event",
    "rest-core.role.client-owner",
    "permissions.created-by",
    "permissions.e4",
)
async def test_an_owner_transfers_the_trip_in_one_step(db: TripDb, members: PostgresMembers) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    transferred = await change_role_of(members, trip, ben, Role.OWNER, ana)
    assert (transferred.role, transferred.status, transferred.trip_id) == ("OWNER", "ACTIVE", trip)
    assert await roles(members, trip, ana) == {ana: "ADMIN", ben: "OWNER"}
    payloads = [e["payload"] for e in await db.events() if e["type"] == "MEMBER_ROLE_UPDATED"]
    assert {(p["userId"], p["previousRole"], p["old_role"], p["role"], p["new_role"]) for p in payloads} == {
        (str(ben), "member", "MEMBER", "owner", "OWNER"),
        (str(ana), "owner", "OWNER", "admin", "ADMIN"),
    }
    # The app takes the creator of a trip for its owner.
    [stored] = await db.rows("SELECT created_by FROM trips WHERE id = :id::uuid", id=trip)
    assert stored["created_by"] == ben


async def test_a_repeated_transfer_changes_nothing(db: TripDb, members: PostgresMembers) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await change_role_of(members, trip, ben, Role.OWNER, ana)
    before = len(await db.events())
    assert (await change_role_of(members, trip, ben, Role.OWNER, ana)).role == "OWNER"
    assert len(await db.events()) == before


async def test_concurrent_mutual_demotions_leave_a_consistent_trip(db: TripDb, members: PostgresMembers) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    for admin in (ben, cleo):
        await db.join(trip, admin, ana, Role.ADMIN)
    results = await asyncio.gather(
        change_role_of(members, trip, cleo, Role.MEMBER, ben),
        change_role_of(members, trip, ben, Role.MEMBER, cleo),
        return_exceptions=True,
    )
    assert sum(isinstance(r, Membership) for r in results) == 1
    assert all(isinstance(r, Membership | DomainError) for r in results)


@pytest.mark.contract("permissions.member.change-role", "permissions.owner-immutable", "permissions.self-demotion")
async def test_roles_change_below_the_owner_only(db: TripDb, members: PostgresMembers) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana, Role.ADMIN)
    await db.join(trip, cleo, ana)
    assert (await change_role_of(members, trip, cleo, Role.ADMIN, ben)).role == "ADMIN"
    assert (await change_role_of(members, trip, ben, Role.MEMBER, ben)).role == "MEMBER"
    for target, role, by in ((ana, Role.MEMBER, cleo), (ben, Role.OWNER, cleo), (ana, Role.ADMIN, ana)):
        with pytest.raises(OwnerImmutable):
            await change_role_of(members, trip, target, role, by)
    with pytest.raises(Forbidden):
        await change_role_of(members, trip, cleo, Role.MEMBER, ben)
    with pytest.raises(NotFound):
        await change_role_of(members, trip, UserId(uuid4()), Role.ADMIN, ana)


async def test_members_per_trip_and_trips_per_user_are_limited(db: TripDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomadcrew.adapters.postgres.members.MAX_MEMBERS", 3)
    monkeypatch.setattr("nomadcrew.adapters.postgres.members.MAX_TRIPS_PER_USER", 1)
    ana, ben = await db.user("ana"), await db.user("ben")
    users = [await db.user(f"p{n}") for n in range(5)]
    trip = await db.trip(ana)
    joined = await asyncio.gather(*(db.join(trip, person, ana) for person in users), return_exceptions=True)
    assert await db.member_count(trip) == 3
    assert sorted(r.code for r in joined if isinstance(r, Conflict)) == ["trip_full"] * 3
    with pytest.raises(Conflict) as refusal:
        await db.join(await db.trip(ben), ana, ben)
    assert refusal.value.code == "too_many_trips"


async def test_an_unknown_user_cannot_be_added(db: TripDb) -> None:
    ana = await db.user("ana")
    with pytest.raises(NotFound):
        await db.join(await db.trip(ana), UserId(uuid4()), ana)


async def test_active_trips_omit_deleted_and_left_trips(db: TripDb, members: PostgresMembers) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    current, left = await db.trip(ana), await db.trip(ben)
    await db.join(left, ana, ben)
    await remove(members, left, ana, ana)
    assert await members.list_active_trips(ana) == [current]
    assert await members.is_active(current, ana)
    assert not await members.is_active(left, ana)
