"""`MirrorSource` and `Mirror`, and the state of the copy after events in any order."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import uuid4

import pytest
from msgspec import structs

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.supabase import SupabaseMirror
from nomadcrew.adapters.mirrored_broadcaster import MirroredBroadcaster
from nomadcrew.adapters.noop import NoMirror
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.mirror import PostgresMirrorSource
from nomadcrew.adapters.postgres.positions import PostgresPositions
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.queue import PostgresQueue
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Command
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import CONSUMERS, MIRROR, MIRRORED, consumers_of
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.locations.model import STALE_AFTER, Privacy
from nomadcrew.core.locations.privacy import VisiblePosition
from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser, MirrorRefused
from nomadcrew.core.mirror.service import mirror_event
from nomadcrew.core.permissions import MEMBER, OWNER, Role
from nomadcrew.core.users.ports import ProfileChange
from nomadcrew.wire.events import unpack
from tests.contract.test_locations_positions import Scenario, two_members
from tests.contract.trip_database import TripDb
from tests.fakes import ANA, BEN, NOON, RecordingBroadcaster, SetClock, an_event
from tests.supabase import SERVICE_KEY, Project, supabase

TRIP = TripId(uuid7())
USERS = [MirroredUser(ANA, "ana@example.org", "ana"), MirroredUser(BEN, "ben@example.org", "ben")]
PORTO = MirroredTrip(
    TRIP, "Porto", ANA, date(2026, 12, 1), date(2026, 12, 9), 41.15, -8.61, [(ANA, "OWNER"), (BEN, "MEMBER")], USERS
)


@pytest.fixture
def project() -> Iterator[Project]:
    with supabase() as running:
        yield running


@pytest.fixture
def mirror(project: Project) -> SupabaseMirror:
    return SupabaseMirror(project.url, lambda: SERVICE_KEY, timeout_s=2)


def members_of(project: Project, trip_id: TripId) -> dict[str, str]:
    """The roles of a trip's members in the copy, by user id."""
    return {
        row["user_id"]: row["role"] for row in project.rows("trip_memberships") if row["trip_id"] == str(trip_id)
    }


@pytest.mark.contract("jobs.supabase-copy")
async def test_a_trip_and_its_users_are_copied(mirror: SupabaseMirror, project: Project) -> None:
    for _ in range(2):
        await mirror.put_users(USERS)
        await mirror.put_trip(PORTO)
    assert project.rows("users") == [
        {"id": str(u.id), "supabase_id": str(u.id), "email": u.email, "username": u.username} for u in USERS
    ]
    assert project.rows("trips") == [
        {
            "id": str(TRIP), "name": "Porto", "created_by": str(ANA), "start_date": "2026-12-01",
            "end_date": "2026-12-09", "destination_latitude": 41.15, "destination_longitude": -8.61,
        }
    ]  # fmt: skip
    assert project.rows("trip_memberships") == [
        {"trip_id": str(TRIP), "user_id": str(ANA), "role": "OWNER", "status": "ACTIVE"},
        {"trip_id": str(TRIP), "user_id": str(BEN), "role": "MEMBER", "status": "ACTIVE"},
    ]


async def test_a_former_member_is_removed_from_the_copy(mirror: SupabaseMirror, project: Project) -> None:
    other = replace(PORTO, id=TripId(uuid7()))
    await mirror.put_users(USERS)
    for trip in (PORTO, other, replace(PORTO, members=[(BEN, "OWNER")])):
        await mirror.put_trip(trip)
    assert members_of(project, TRIP) == {str(BEN): "OWNER"}
    assert members_of(project, other.id) == {str(ANA): "OWNER", str(BEN): "MEMBER"}
    await mirror.put_trip(replace(PORTO, members=[]))
    assert members_of(project, TRIP) == {}


async def test_dropping_a_trip_drops_its_memberships(mirror: SupabaseMirror, project: Project) -> None:
    await mirror.put_users(USERS)
    await mirror.put_trip(PORTO)
    for _ in range(2):
        await mirror.drop_trip(TRIP)
    assert (project.rows("trips"), project.rows("trip_memberships")) == ([], [])
    assert len(project.rows("users")) == 2


async def test_dropping_a_user_drops_memberships_positions_and_authorship(
    mirror: SupabaseMirror, project: Project
) -> None:
    await mirror.put_users(USERS)
    await mirror.put_trip(PORTO)
    seen = VisiblePosition(41.15, -8.61, NOON, Privacy.PRECISE)
    await mirror.put_positions(TRIP, [MirroredPosition(ANA, seen, None), MirroredPosition(BEN, seen, None)], [])
    for _ in range(2):
        await mirror.drop_user(ANA)
    assert [row["id"] for row in project.rows("users")] == [str(BEN)]
    assert members_of(project, TRIP) == {str(BEN): "MEMBER"}
    assert [row["user_id"] for row in project.rows("locations")] == [str(BEN)]
    assert [row["created_by"] for row in project.rows("trips")] == [None]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_error_is_an_outage(mirror: SupabaseMirror, project: Project, status: int) -> None:
    project.statuses = [status]
    with pytest.raises(Unavailable):
        await mirror.put_users(USERS)
    await mirror.put_users(USERS)


async def test_a_timeout_and_a_missing_server_are_outages(project: Project) -> None:
    project.delay_s = 0.5
    with pytest.raises(Unavailable):
        await SupabaseMirror(project.url, lambda: SERVICE_KEY, timeout_s=0.1).drop_trip(TRIP)
    with supabase() as stopped:
        pass
    with pytest.raises(Unavailable):
        await SupabaseMirror(stopped.url, lambda: SERVICE_KEY).drop_trip(TRIP)


async def test_repeated_failures_open_the_breaker(project: Project) -> None:
    mirror = SupabaseMirror(project.url, lambda: SERVICE_KEY, breaker=Breaker(failures=2, rest_s=60))
    project.statuses = [500, 500]
    for _ in range(4):
        with pytest.raises(Unavailable):
            await mirror.drop_trip(TRIP)
    assert len(project.requests) == 2


@pytest.mark.parametrize("key", ["", None, "another"])
async def test_a_wrong_or_missing_key_is_a_permanent_failure(project: Project, key: str | None) -> None:
    with pytest.raises(MirrorRefused) as refused:
        await SupabaseMirror(project.url, lambda: key).put_users(USERS)
    assert "another" not in str(refused.value)


async def test_a_trip_whose_users_are_missing_is_retried(mirror: SupabaseMirror) -> None:
    with pytest.raises(Unavailable):
        await mirror.put_trip(PORTO)
    await mirror.put_users(USERS)
    await mirror.put_trip(PORTO)


@pytest.mark.contract("jobs.supabase-copy")
async def test_without_a_mirror_nothing_is_copied(project: Project) -> None:
    silent = NoMirror()
    await silent.put_users(USERS)
    await silent.put_trip(PORTO)
    await silent.drop_trip(TRIP)
    assert project.requests == []


def test_events_go_to_the_mirror_only_if_there_is_one() -> None:
    assert all(MIRROR not in queues for queues in CONSUMERS.values())
    assert {type_ for type_ in MIRRORED if MIRROR in consumers_of(type_, mirrors=False)} == set()
    assert {type_ for type_ in MIRRORED if consumers_of(type_, mirrors=True).count(MIRROR) == 1} == MIRRORED
    assert MIRROR not in consumers_of("TODO_UPDATED", mirrors=True)


@dataclass
class MirrorScenario:
    """A trip database and its mirror."""

    stage: Scenario
    source: PostgresMirrorSource
    mirror: SupabaseMirror
    project: Project

    async def process(
        self, type_: str, trip_id: TripId | None = None, user_id: UserId | None = None, *, minute: float = 0
    ) -> None:
        payload = "{}" if user_id is None else json.dumps({"userId": str(user_id)})
        event = an_event(type=type_, trip_id=trip_id, payload=payload)
        await mirror_event(
            event,
            source=self.source,
            positions=self.stage.positions,
            mirror=self.mirror,
            now=NOON + timedelta(minutes=minute),
        )

    def map(self, trip_id: TripId) -> dict[str, tuple[float, float, str]]:
        """The positions on a trip's map, by user id: latitude, longitude, privacy."""
        return {
            row["user_id"]: (row["latitude"], row["longitude"], row["privacy"])
            for row in self.project.rows("locations")
            if row["trip_id"] == str(trip_id)
        }


@pytest.fixture
def scenario(db: TripDb, source: PostgresMirrorSource, mirror: SupabaseMirror, project: Project) -> MirrorScenario:
    return MirrorScenario(Scenario(db, PostgresPositions(db.pool)), source, mirror, project)


@pytest.fixture
def source(db: TripDb) -> PostgresMirrorSource:
    return PostgresMirrorSource(db.pool)


async def test_the_source_reads_a_trip_with_its_creator_and_members(
    db: TripDb, source: PostgresMirrorSource
) -> None:
    ana, ben, cleo = await db.user("ana"), await db.user("ben"), await db.user("cleo")
    trip = await db.trip(ana)
    for user_id in (ben, cleo):
        await db.join(trip, user_id, ana, Role.ADMIN)
    await db.leave(trip, cleo, cleo)
    found = await source.trip(trip)
    assert found is not None
    assert (found.id, found.name, found.created_by, found.start_date) == (trip, "Porto", ana, date(2026, 12, 1))
    assert sorted(found.members) == sorted([(ana, "OWNER"), (ben, "ADMIN")])
    assert {user.username for user in found.users} == {"ana", "ben"}
    assert await source.user(ana) == MirroredUser(ana, "ana@example.org", "ana")
    assert await source.user(UserId(uuid4())) is None
    assert await source.trip(TripId(uuid4())) is None
    await PostgresTrips(db.pool).delete(Command(trip, ana, OWNER, EventId(uuid7()), NOON))
    assert await source.trip(trip) is None


async def test_a_creator_who_left_stays_in_the_copy(db: TripDb, scenario: MirrorScenario, project: Project) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana, Role.OWNER)
    await db.leave(trip, ana, ana)
    await scenario.process("MEMBER_REMOVED", trip)
    assert members_of(project, trip) == {str(ben): "OWNER"}
    assert project.rows("trips")[0]["created_by"] == str(ana)


async def test_concurrent_duplicate_and_reordered_events_give_the_current_state(
    db: TripDb, scenario: MirrorScenario, project: Project
) -> None:
    ana = await db.user("ana")
    guests = [await db.user(f"guest-{n}") for n in range(4)]
    trip, deleted = await db.trip(ana), await db.trip(ana)

    async def process(type_: str, trip_id: TripId) -> None:
        """Retry an event like a work queue, because concurrent events may conflict."""
        for _ in range(20):
            with suppress(Unavailable):
                await scenario.process(type_, trip_id)
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the event was never processed")

    tasks = [asyncio.create_task(process("TRIP_CREATED", one)) for one in (trip, deleted)]
    for guest in guests:
        await db.join(trip, guest, ana)
        tasks.append(asyncio.create_task(process("MEMBER_ADDED", trip)))
    await db.leave(trip, guests[0], ana)
    tasks += [asyncio.create_task(process(type_, trip)) for type_ in ("MEMBER_REMOVED", "MEMBER_ADDED")]
    await PostgresTrips(db.pool).delete(Command(deleted, ana, OWNER, EventId(uuid7()), NOON))
    tasks.append(asyncio.create_task(process("TRIP_DELETED", deleted)))
    await asyncio.gather(*tasks)
    assert members_of(project, trip) == {str(ana): "OWNER"} | {str(guest): "MEMBER" for guest in guests[1:]}
    assert [row["id"] for row in project.rows("trips")] == [str(trip)]
    await process("TRIP_UPDATED", deleted)  # late
    assert [row["id"] for row in project.rows("trips")] == [str(trip)]


async def test_a_new_name_is_published_once_and_copied(
    db: TripDb, scenario: MirrorScenario, project: Project
) -> None:
    ana = await db.user("ana")
    profiles, before = PostgresProfiles(db.pool), len(await db.types())
    for change in (ProfileChange(username="anna"), ProfileChange(username="anna"), ProfileChange(first_name="A")):
        await profiles.change(ana, change, ana, is_admin=False, now=NOON)
    profile = await profiles.get(ana, ana)
    for email in ("anna@example.org", "anna@example.org", ""):
        await profiles.onboard(structs.replace(profile, email=email))
    events = (await db.events())[before:]
    assert [(e["type"], e["audience"], e["payload"]) for e in events] == [
        ("profile.changed", "internal", {"userId": str(ana)})
    ] * 2
    await scenario.process("profile.changed", user_id=ana)
    assert [(row["username"], row["email"]) for row in project.rows("users")] == [("anna", "anna@example.org")]


async def test_a_source_that_keeps_changing_is_retried_later(
    mirror: SupabaseMirror, scenario: MirrorScenario
) -> None:
    class ChangingSource:
        """A source that returns other values every time."""

        async def trip(self, trip_id: TripId) -> MirroredTrip:
            return replace(PORTO, id=trip_id, name=str(uuid4()))

        async def user(self, user_id: UserId) -> MirroredUser:
            return MirroredUser(user_id, "ana@example.org", str(uuid4()))

    for event in (
        an_event(type="TRIP_UPDATED", trip_id=TRIP),
        an_event(type="profile.changed", payload=json.dumps({"userId": str(ANA)})),
    ):
        with pytest.raises(Unavailable):
            await mirror_event(
                event, source=ChangingSource(), positions=scenario.stage.positions, mirror=mirror, now=NOON
            )


HERE = (41.14961, -8.61099)


@pytest.mark.contract("rest-activity.locations.compat-supabase", "jobs.supabase-copy")
async def test_positions_are_copied_as_every_member_may_see_them(scenario: MirrorScenario) -> None:
    trip, ana, ben = await two_members(scenario.stage)
    await scenario.process("TRIP_CREATED", trip)
    await scenario.stage.send(trip, ana, HERE, accuracy_m=5.0, lasts_s=3_600)
    await scenario.stage.send(trip, ben, HERE, privacy=Privacy.APPROXIMATE, accuracy_m=5.0)
    for user_id in (ana, ben, ana):
        await scenario.process("LOCATION_UPDATED", trip, user_id)
    assert scenario.map(trip) == {str(ana): (*HERE, "precise"), str(ben): (41.15, -8.61, "approximate")}
    rows = {row["user_id"]: row for row in scenario.project.rows("locations")}
    assert {name: rows[str(ana)][name] for name in ("accuracy", "timestamp", "sharing_expires_at")} == {
        "accuracy": 5.0, "timestamp": "2026-07-01T12:00:00Z", "sharing_expires_at": "2026-07-01T13:00:00Z",
    }  # fmt: skip
    assert rows[str(ben)]["accuracy"] is None
    assert all(row["is_sharing_enabled"] is True for row in rows.values())
    await scenario.stage.send(trip, ana, (41.2, -8.7), minute=5)
    await scenario.process("LOCATION_UPDATED", trip, ana, minute=5)
    assert scenario.map(trip)[str(ana)] == (41.2, -8.7, "precise")


@pytest.mark.parametrize("how", ["sharing off", "hidden", "ghost", "trip over", "left", "expired", "stale"])
async def test_a_hidden_member_is_removed_from_the_map(scenario: MirrorScenario, how: str) -> None:
    stage, project = scenario.stage, scenario.project
    trip, ana, ben = await two_members(stage)
    await scenario.process("TRIP_CREATED", trip)
    for user_id in (ana, ben):
        await stage.send(trip, user_id, HERE, lasts_s=600)
        await scenario.process("LOCATION_UPDATED", trip, user_id)
    assert set(scenario.map(trip)) == {str(ana), str(ben)}
    match how:
        case "sharing off":
            await stage.send(trip, ben, HERE, minute=1, is_enabled=False)
            await scenario.process("LOCATION_SHARING_CHANGED", trip, ben, minute=1)
        case "hidden":
            await stage.prefer(ben, location_privacy_preference="hidden")
            await scenario.process("location_privacy.changed", user_id=ben)
        case "ghost":
            await stage.prefer(ben, ghost=True)
            await scenario.process("location_privacy.changed", user_id=ben)
            await scenario.process("LOCATION_UPDATED", trip, ben)  # an event that was still pending
        case "trip over":
            await stage.end_trip(trip, ana)
            await scenario.process("TRIP_STATUS_UPDATED", trip)
            assert scenario.map(trip) == {}
            assert aged_before_deletion(project) == {str(ana), str(ben)}
            return
        case "left":
            await stage.db.leave(trip, ben, ben)
            await scenario.process("MEMBER_REMOVED", trip)
            await scenario.process("LOCATION_UPDATED", trip, ben)
        case "expired":
            await scenario.process("LOCATION_UPDATED", trip, ben, minute=10)
        case "stale":
            await stage.send(trip, ben, HERE, minute=1, lasts_s=86_400)
            await scenario.process("LOCATION_UPDATED", trip, ben, minute=24 * 60 + 2)
    assert set(scenario.map(trip)) == {str(ana)}
    assert aged_before_deletion(project) == {str(ben)}
    assert len(project.rows("users")) == 2


def aged_before_deletion(project: Project) -> set[str]:
    """The members whose row was made older than a day, which takes their marker off an open map."""
    aged = [row for row in project.updates if datetime.fromisoformat(row["updated_at"]) < NOON - STALE_AFTER]
    # Row-level security tells readers of a row only while it is shared.
    assert all(row["is_sharing_enabled"] for row in aged)
    return {str(row["user_id"]) for row in aged}


async def test_changes_of_privacy_are_published_to_the_mirror(scenario: MirrorScenario) -> None:
    stage = scenario.stage
    trip, ana, _ = await two_members(stage)
    await stage.send(trip, ana, HERE)

    async def change_count() -> int:
        return (await stage.db.types()).count("location_privacy.changed")

    async def share(privacy: str | None) -> None:
        await stage.sharing.change_sharing(
            Command(trip, ana, MEMBER, EventId(uuid7()), NOON),
            is_enabled=None,
            expires_at=None,
            privacy=privacy,
            keep_privacy=False,
        )

    changes: list[Callable[[], Awaitable[None]]] = [
        lambda: stage.prefer(ana, ghost=True),
        lambda: stage.prefer(ana, ghost=False),
        lambda: stage.prefer(ana, location_privacy_preference="approximate"),
        lambda: share("approximate"),
        lambda: share(None),
    ]
    for count, change in enumerate(changes, start=1):
        for _ in range(2):
            await change()
            assert await change_count() == count
    await stage.prefer(ana, first_name="Anna")
    assert await change_count() == 5


async def test_positions_are_broadcast_and_queued_for_the_mirror(pool: Database) -> None:
    live, queue = RecordingBroadcaster(listeners=False), PostgresQueue(pool, clock=SetClock(), new_id=uuid7)
    mirrored = MirroredBroadcaster(live, queue)
    assert mirrored.has_listeners()
    position = an_event(type="LOCATION_UPDATED", trip_id=TRIP, payload=json.dumps({"userId": str(ANA)}))
    await mirrored.broadcast(position, latest_of="one")
    await mirrored.broadcast(an_event(type="TYPING"))
    await mirrored.send_to(position, [BEN])
    assert len(live.events) == 3
    [job] = await queue.receive(MIRROR, limit=9, visibility_s=60)
    assert unpack(job.body) == position
    await pool.close()
    unreachable = PostgresQueue(UnreachableDatabase(), clock=SetClock(), new_id=uuid7)  # type: ignore[arg-type]
    await MirroredBroadcaster(live, unreachable).broadcast(position)
    assert len(live.events) == 4


class UnreachableDatabase:
    """An unreachable database."""

    def in_transaction(self) -> bool:
        return False

    async def fetch(self, *_: object, **__: object) -> None:
        raise Unavailable
