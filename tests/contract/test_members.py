"""What `Members` promises."""

import asyncio
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Conflict, DomainError, Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.members.model import LastOwner, Membership, OwnerImmutable
from nomadcrew.core.permissions import ADMIN, MEMBER, Role, Rule
from tests.contract.crew import Crew
from tests.fakes import NOON


@pytest.fixture
def members(crew: Crew) -> PostgresMembers:
    return PostgresMembers(crew.pool)


async def give(members: PostgresMembers, trip: TripId, to: UserId, role: Role, by: UserId) -> Membership:
    return await members.change_role(
        Access(trip, by, ADMIN), to, role, event_ids=(EventId(uuid7()), EventId(uuid7())), now=NOON
    )


async def remove(members: PostgresMembers, trip: TripId, user: UserId, by: UserId) -> None:
    rule: Rule = MEMBER if user == by else ADMIN
    await members.remove(Command(trip, by, rule, EventId(uuid7()), NOON), user)


async def roles(members: PostgresMembers, trip: TripId, caller: UserId) -> dict[UserId, str]:
    return {m.user_id: m.role for m in await members.list_for_trip(Access(trip, caller, MEMBER))}


async def test_joining_counts_and_is_told_once(crew: Crew, members: PostgresMembers) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    await crew.join(trip, ben, ana, Role.ADMIN)
    assert await roles(members, trip, ben) == {ana: "OWNER", ben: "MEMBER"}
    assert await crew.member_count(trip) == 2
    assert await crew.types() == ["TRIP_CREATED", "MEMBER_ADDED"]
    assert (await crew.events())[-1]["payload"] == {"userId": str(ben), "role": "MEMBER", "addedBy": str(ana)}


async def test_leaving_is_told_to_who_left_too_and_coming_back_takes_the_new_role(
    crew: Crew, members: PostgresMembers
) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    await remove(members, trip, ben, ben)
    event = (await crew.events())[-1]
    assert (event["type"], event["actor"], event["recipient"], event["audience"]) == (
        "MEMBER_REMOVED",
        ben,
        ben,
        "trip",
    )
    assert await crew.member_count(trip) == 1
    with pytest.raises(NotTripMember):
        await remove(members, trip, ben, ben)
    await crew.join(trip, ben, ana, Role.ADMIN)
    assert await roles(members, trip, ana) == {ana: "OWNER", ben: "ADMIN"}
    assert await crew.member_count(trip) == 2


async def test_admins_remove_members_and_only_owners_remove_admins(crew: Crew, members: PostgresMembers) -> None:
    ana, ben, cleo, dev = [await crew.person(name) for name in ("ana", "ben", "cleo", "dev")]
    trip = await crew.trip(ana)
    for admin in (ben, cleo):
        await crew.join(trip, admin, ana, Role.ADMIN)
    await crew.join(trip, dev, ana)
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


async def test_of_two_owners_who_leave_at_once_one_stays(crew: Crew, members: PostgresMembers) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    # Two owners exist only in data brought along.
    await crew.run("UPDATE trip_memberships SET role = 'OWNER' WHERE user_id = :id::uuid", id=ben)
    results = await asyncio.gather(
        remove(members, trip, ana, ana), remove(members, trip, ben, ben), return_exceptions=True
    )
    assert sorted(type(r).__name__ for r in results) == ["LastOwner", "NoneType"]
    assert await crew.member_count(trip) == 1


async def test_an_owner_hands_the_trip_over_in_one_step(crew: Crew, members: PostgresMembers) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    given = await give(members, trip, ben, Role.OWNER, ana)
    assert (given.role, given.status, given.trip_id) == ("OWNER", "ACTIVE", trip)
    assert await roles(members, trip, ana) == {ana: "ADMIN", ben: "OWNER"}
    told = [e["payload"] for e in await crew.events() if e["type"] == "MEMBER_ROLE_UPDATED"]
    assert {(p["userId"], p["previousRole"], p["old_role"], p["role"], p["new_role"]) for p in told} == {
        (str(ben), "MEMBER", "MEMBER", "OWNER", "OWNER"),
        (str(ana), "OWNER", "OWNER", "ADMIN", "ADMIN"),
    }


async def test_a_repeated_hand_over_changes_nothing_more(crew: Crew, members: PostgresMembers) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana)
    await give(members, trip, ben, Role.OWNER, ana)
    before = len(await crew.events())
    assert (await give(members, trip, ben, Role.OWNER, ana)).role == "OWNER"
    assert len(await crew.events()) == before


async def test_two_admins_who_demote_each_other_at_once_leave_a_consistent_trip(
    crew: Crew, members: PostgresMembers
) -> None:
    ana, ben, cleo = await crew.person("ana"), await crew.person("ben"), await crew.person("cleo")
    trip = await crew.trip(ana)
    for admin in (ben, cleo):
        await crew.join(trip, admin, ana, Role.ADMIN)
    results = await asyncio.gather(
        give(members, trip, cleo, Role.MEMBER, ben),
        give(members, trip, ben, Role.MEMBER, cleo),
        return_exceptions=True,
    )
    assert sum(isinstance(r, Membership) for r in results) == 1
    assert all(isinstance(r, Membership | DomainError) for r in results)


async def test_roles_change_below_the_owner_only(crew: Crew, members: PostgresMembers) -> None:
    ana, ben, cleo = await crew.person("ana"), await crew.person("ben"), await crew.person("cleo")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana, Role.ADMIN)
    await crew.join(trip, cleo, ana)
    assert (await give(members, trip, cleo, Role.ADMIN, ben)).role == "ADMIN"
    assert (await give(members, trip, ben, Role.MEMBER, ben)).role == "MEMBER"
    for target, role, by in ((ana, Role.MEMBER, cleo), (ben, Role.OWNER, cleo), (ana, Role.ADMIN, ana)):
        with pytest.raises(OwnerImmutable):
            await give(members, trip, target, role, by)
    with pytest.raises(Forbidden):
        await give(members, trip, cleo, Role.MEMBER, ben)
    with pytest.raises(NotFound):
        await give(members, trip, UserId(uuid4()), Role.ADMIN, ana)


async def test_a_trip_and_a_person_have_limits(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nomadcrew.adapters.postgres.members.MAX_MEMBERS", 3)
    monkeypatch.setattr("nomadcrew.adapters.postgres.members.MAX_TRIPS_PER_USER", 1)
    ana, ben = await crew.person("ana"), await crew.person("ben")
    people = [await crew.person(f"p{n}") for n in range(5)]
    trip = await crew.trip(ana)
    joined = await asyncio.gather(*(crew.join(trip, person, ana) for person in people), return_exceptions=True)
    assert await crew.member_count(trip) == 3
    assert sorted(r.code for r in joined if isinstance(r, Conflict)) == ["trip_full"] * 3
    with pytest.raises(Conflict) as refusal:
        await crew.join(await crew.trip(ben), ana, ben)
    assert refusal.value.code == "too_many_trips"


async def test_nobody_unknown_is_added(crew: Crew) -> None:
    ana = await crew.person("ana")
    with pytest.raises(NotFound):
        await crew.join(await crew.trip(ana), UserId(uuid4()), ana)


async def test_active_trips_leave_out_the_deleted_and_the_left(crew: Crew, members: PostgresMembers) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    stays, goes = await crew.trip(ana), await crew.trip(ben)
    await crew.join(goes, ana, ben)
    await remove(members, goes, ana, ana)
    assert await members.list_active_trips(ana) == [stays]
    assert await members.is_active(stays, ana)
    assert not await members.is_active(goes, ana)
