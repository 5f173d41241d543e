"""What `MirrorSource` and `Mirror` promise, and what becomes of the copy when events come in any order."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import uuid4

import pytest

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
from nomadcrew.core.locations.model import Privacy
from nomadcrew.core.mirror.model import MirroredTrip, MirroredUser, MirrorRefused
from nomadcrew.core.mirror.service import mirror_event
from nomadcrew.core.permissions import MEMBER, OWNER, Role
from nomadcrew.core.users.ports import ProfileChange
from nomadcrew.wire.events import unpack
from tests.contract.crew import Crew
from tests.contract.test_positions import Stage, pair
from tests.fakes import ANA, BEN, NOON, SetClock, Told, an_event
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


def on(project: Project, trip_id: TripId) -> dict[str, str]:
    """Roles by user of those on a trip in the copy."""
    return {
        row["user_id"]: row["role"] for row in project.rows("trip_memberships") if row["trip_id"] == str(trip_id)
    }


async def test_a_trip_and_its_people_are_there_as_they_are(mirror: SupabaseMirror, project: Project) -> None:
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


async def test_who_is_no_longer_on_a_trip_is_not_in_the_copy(mirror: SupabaseMirror, project: Project) -> None:
    other = replace(PORTO, id=TripId(uuid7()))
    await mirror.put_users(USERS)
    for trip in (PORTO, other, replace(PORTO, members=[(BEN, "OWNER")])):
        await mirror.put_trip(trip)
    assert on(project, TRIP) == {str(BEN): "OWNER"}
    assert on(project, other.id) == {str(ANA): "OWNER", str(BEN): "MEMBER"}
    await mirror.put_trip(replace(PORTO, members=[]))
    assert on(project, TRIP) == {}


async def test_a_trip_that_is_dropped_takes_its_memberships_along(mirror: SupabaseMirror, project: Project) -> None:
    await mirror.put_users(USERS)
    await mirror.put_trip(PORTO)
    for _ in range(2):
        await mirror.drop_trip(TRIP)
    assert (project.rows("trips"), project.rows("trip_memberships")) == ([], [])
    assert len(project.rows("users")) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_outage_is_told_as_one(mirror: SupabaseMirror, project: Project, status: int) -> None:
    project.statuses = [status]
    with pytest.raises(Unavailable):
        await mirror.put_users(USERS)
    await mirror.put_users(USERS)


async def test_what_takes_too_long_or_is_not_there_is_an_outage(project: Project) -> None:
    project.delay_s = 0.5
    with pytest.raises(Unavailable):
        await SupabaseMirror(project.url, lambda: SERVICE_KEY, timeout_s=0.1).drop_trip(TRIP)
    with supabase() as gone:
        pass
    with pytest.raises(Unavailable):
        await SupabaseMirror(gone.url, lambda: SERVICE_KEY).drop_trip(TRIP)


async def test_after_failures_in_a_row_it_is_left_alone(project: Project) -> None:
    mirror = SupabaseMirror(project.url, lambda: SERVICE_KEY, breaker=Breaker(failures=2, rest_s=60))
    project.statuses = [500, 500]
    for _ in range(4):
        with pytest.raises(Unavailable):
            await mirror.drop_trip(TRIP)
    assert len(project.requests) == 2


@pytest.mark.parametrize("key", ["", None, "another"])
async def test_a_wrong_key_or_none_is_nothing_to_repeat(project: Project, key: str | None) -> None:
    with pytest.raises(MirrorRefused) as refused:
        await SupabaseMirror(project.url, lambda: key).put_users(USERS)
    assert "another" not in str(refused.value)


async def test_people_who_are_not_there_yet_may_come(mirror: SupabaseMirror) -> None:
    with pytest.raises(Unavailable):
        await mirror.put_trip(PORTO)
    await mirror.put_users(USERS)
    await mirror.put_trip(PORTO)


async def test_where_there_is_no_mirror_nothing_is_copied(project: Project) -> None:
    silent = NoMirror()
    await silent.put_users(USERS)
    await silent.put_trip(PORTO)
    await silent.drop_trip(TRIP)
    assert project.requests == []


def test_only_where_there_is_a_mirror_events_go_there() -> None:
    assert all(MIRROR not in queues for queues in CONSUMERS.values())
    assert {type_ for type_ in MIRRORED if MIRROR in consumers_of(type_, mirrors=False)} == set()
    assert {type_ for type_ in MIRRORED if consumers_of(type_, mirrors=True).count(MIRROR) == 1} == MIRRORED
    assert consumers_of("TODO_UPDATED", mirrors=True) == CONSUMERS["TODO_UPDATED"]


@dataclass
class Copying:
    """A crew, and the copy of it."""

    stage: Stage
    source: PostgresMirrorSource
    mirror: SupabaseMirror
    project: Project

    async def tell(
        self, type_: str, trip_id: TripId | None = None, person: UserId | None = None, *, minute: float = 0
    ) -> None:
        payload = "{}" if person is None else json.dumps({"userId": str(person)})
        event = an_event(type=type_, trip_id=trip_id, payload=payload)
        await mirror_event(
            event,
            source=self.source,
            positions=self.stage.positions,
            mirror=self.mirror,
            now=NOON + timedelta(minutes=minute),
        )

    def map(self, trip_id: TripId) -> dict[str, tuple[float, float, str]]:
        """Where people are on the map of a trip, by id: latitude, longitude, privacy."""
        return {
            row["user_id"]: (row["latitude"], row["longitude"], row["privacy"])
            for row in self.project.rows("locations")
            if row["trip_id"] == str(trip_id)
        }


@pytest.fixture
def copying(crew: Crew, source: PostgresMirrorSource, mirror: SupabaseMirror, project: Project) -> Copying:
    return Copying(Stage(crew, PostgresPositions(crew.pool)), source, mirror, project)


@pytest.fixture
def source(crew: Crew) -> PostgresMirrorSource:
    return PostgresMirrorSource(crew.pool)


async def test_the_source_tells_a_trip_with_its_creator_and_everybody_on_it(
    crew: Crew, source: PostgresMirrorSource
) -> None:
    ana, ben, cleo = await crew.person("ana"), await crew.person("ben"), await crew.person("cleo")
    trip = await crew.trip(ana)
    for person in (ben, cleo):
        await crew.join(trip, person, ana, Role.ADMIN)
    await crew.leave(trip, cleo, cleo)
    found = await source.trip(trip)
    assert found is not None
    assert (found.id, found.name, found.created_by, found.start_date) == (trip, "Porto", ana, date(2026, 12, 1))
    assert sorted(found.members) == sorted([(ana, "OWNER"), (ben, "ADMIN")])
    assert {user.username for user in found.users} == {"ana", "ben"}
    assert await source.user(ana) == MirroredUser(ana, "ana@example.org", "ana")
    assert await source.user(UserId(uuid4())) is None
    assert await source.trip(TripId(uuid4())) is None
    await PostgresTrips(crew.pool).delete(Command(trip, ana, OWNER, EventId(uuid7()), NOON))
    assert await source.trip(trip) is None


async def test_a_creator_who_left_is_still_somebody(crew: Crew, copying: Copying, project: Project) -> None:
    ana, ben = await crew.person("ana"), await crew.person("ben")
    trip = await crew.trip(ana)
    await crew.join(trip, ben, ana, Role.OWNER)
    await crew.leave(trip, ana, ana)
    await copying.tell("MEMBER_REMOVED", trip)
    assert on(project, trip) == {str(ben): "OWNER"}
    assert project.rows("trips")[0]["created_by"] == str(ana)


async def test_events_in_any_order_at_once_and_again_end_in_what_there_is(
    crew: Crew, copying: Copying, project: Project
) -> None:
    ana = await crew.person("ana")
    guests = [await crew.person(f"guest-{n}") for n in range(4)]
    trip, gone = await crew.trip(ana), await crew.trip(ana)

    async def told(type_: str, trip_id: TripId) -> None:
        """As a work queue does it: what is in the way of others comes again."""
        for _ in range(20):
            with suppress(Unavailable):
                await copying.tell(type_, trip_id)
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it never ends")

    telling = [asyncio.create_task(told("TRIP_CREATED", one)) for one in (trip, gone)]
    for guest in guests:
        await crew.join(trip, guest, ana)
        telling.append(asyncio.create_task(told("MEMBER_ADDED", trip)))
    await crew.leave(trip, guests[0], ana)
    telling += [asyncio.create_task(told(type_, trip)) for type_ in ("MEMBER_REMOVED", "MEMBER_ADDED")]
    await PostgresTrips(crew.pool).delete(Command(gone, ana, OWNER, EventId(uuid7()), NOON))
    telling.append(asyncio.create_task(told("TRIP_DELETED", gone)))
    await asyncio.gather(*telling)
    assert on(project, trip) == {str(ana): "OWNER"} | {str(guest): "MEMBER" for guest in guests[1:]}
    assert [row["id"] for row in project.rows("trips")] == [str(trip)]
    await told("TRIP_UPDATED", gone)  # late
    assert [row["id"] for row in project.rows("trips")] == [str(trip)]


async def test_a_new_name_is_copied_and_told_once(crew: Crew, copying: Copying, project: Project) -> None:
    ana = await crew.person("ana")
    profiles, before = PostgresProfiles(crew.pool), len(await crew.types())
    for change in (ProfileChange(username="anna"), ProfileChange(username="anna"), ProfileChange(first_name="A")):
        await profiles.change(ana, change, ana, is_admin=False, now=NOON)
    profile = await profiles.get(ana, ana)
    for email in ("anna@example.org", "anna@example.org", ""):
        await profiles.onboard(replace(profile, email=email))
    events = (await crew.events())[before:]
    assert [(e["type"], e["audience"], e["payload"]) for e in events] == [
        ("profile.changed", "internal", {"userId": str(ana)})
    ] * 2
    await copying.tell("profile.changed", person=ana)
    assert [(row["username"], row["email"]) for row in project.rows("users")] == [("anna", "anna@example.org")]


async def test_what_changes_all_the_time_is_tried_again_later(mirror: SupabaseMirror, copying: Copying) -> None:
    class Restless:
        """A source that never says the same twice."""

        async def trip(self, trip_id: TripId) -> MirroredTrip:
            return replace(PORTO, id=trip_id, name=str(uuid4()))

        async def user(self, user_id: UserId) -> MirroredUser:
            return MirroredUser(user_id, "ana@example.org", str(uuid4()))

    for event in (
        an_event(type="TRIP_UPDATED", trip_id=TRIP),
        an_event(type="profile.changed", payload=json.dumps({"userId": str(ANA)})),
    ):
        with pytest.raises(Unavailable):
            await mirror_event(event, source=Restless(), positions=copying.stage.positions, mirror=mirror, now=NOON)


AT = (41.14961, -8.61099)


async def test_positions_are_copied_as_everybody_may_see_them(copying: Copying) -> None:
    trip, ana, ben = await pair(copying.stage)
    await copying.tell("TRIP_CREATED", trip)
    await copying.stage.send(trip, ana, AT, accuracy_m=5.0, lasts_s=3_600)
    await copying.stage.send(trip, ben, AT, privacy=Privacy.APPROXIMATE, accuracy_m=5.0)
    for person in (ana, ben, ana):
        await copying.tell("LOCATION_UPDATED", trip, person)
    assert copying.map(trip) == {str(ana): (*AT, "precise"), str(ben): (41.15, -8.61, "approximate")}
    rows = {row["user_id"]: row for row in copying.project.rows("locations")}
    assert {name: rows[str(ana)][name] for name in ("accuracy", "timestamp", "sharing_expires_at")} == {
        "accuracy": 5.0, "timestamp": "2026-07-01T12:00:00Z", "sharing_expires_at": "2026-07-01T13:00:00Z",
    }  # fmt: skip
    assert rows[str(ben)]["accuracy"] is None
    assert all(row["is_sharing_enabled"] is True for row in rows.values())
    await copying.stage.send(trip, ana, (41.2, -8.7), minute=5)
    await copying.tell("LOCATION_UPDATED", trip, ana, minute=5)
    assert copying.map(trip)[str(ana)] == (41.2, -8.7, "precise")


@pytest.mark.parametrize("how", ["sharing off", "hidden", "ghost", "trip over", "left", "expired", "stale"])
async def test_who_shows_nothing_any_more_is_off_the_map(copying: Copying, how: str) -> None:
    stage, project = copying.stage, copying.project
    trip, ana, ben = await pair(stage)
    await copying.tell("TRIP_CREATED", trip)
    for person in (ana, ben):
        await stage.send(trip, person, AT, lasts_s=600)
        await copying.tell("LOCATION_UPDATED", trip, person)
    assert set(copying.map(trip)) == {str(ana), str(ben)}
    match how:
        case "sharing off":
            await stage.send(trip, ben, AT, minute=1, is_enabled=False)
            await copying.tell("LOCATION_SHARING_CHANGED", trip, ben, minute=1)
        case "hidden":
            await stage.prefer(ben, location_privacy_preference="hidden")
            await copying.tell("location_privacy.changed", person=ben)
        case "ghost":
            await stage.prefer(ben, ghost=True)
            await copying.tell("location_privacy.changed", person=ben)
            await copying.tell("LOCATION_UPDATED", trip, ben)  # what was under way
        case "trip over":
            await stage.end_trip(trip, ana)
            await copying.tell("TRIP_STATUS_UPDATED", trip)
            assert copying.map(trip) == {}
            return
        case "left":
            await stage.crew.leave(trip, ben, ben)
            await copying.tell("MEMBER_REMOVED", trip)
            await copying.tell("LOCATION_UPDATED", trip, ben)
        case "expired":
            await copying.tell("LOCATION_UPDATED", trip, ben, minute=10)
        case "stale":
            await stage.send(trip, ben, AT, minute=1, lasts_s=86_400)
            await copying.tell("LOCATION_UPDATED", trip, ben, minute=24 * 60 + 2)
    assert set(copying.map(trip)) == {str(ana)}
    assert len(project.rows("users")) == 2


async def test_what_changes_privacy_is_told_to_the_copy(copying: Copying) -> None:
    stage = copying.stage
    trip, ana, _ = await pair(stage)
    await stage.send(trip, ana, AT)

    async def told() -> int:
        return (await stage.crew.types()).count("location_privacy.changed")

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
            assert await told() == count
    await stage.prefer(ana, first_name="Anna")
    assert await told() == 5


async def test_positions_go_to_the_mirror_beside_the_sockets(pool: Database) -> None:
    live, queue = Told(), PostgresQueue(pool, clock=SetClock(), new_id=uuid7)
    mirrored = MirroredBroadcaster(live, queue)
    position = an_event(type="LOCATION_UPDATED", trip_id=TRIP, payload=json.dumps({"userId": str(ANA)}))
    await mirrored.broadcast(position, latest_of="one")
    await mirrored.broadcast(an_event(type="TYPING"))
    await mirrored.send_to(position, [BEN])
    assert len(live.events) == 3
    [job] = await queue.receive(MIRROR, limit=9, visibility_s=60)
    assert unpack(job.body) == position
    await pool.close()
    await MirroredBroadcaster(live, PostgresQueue(Away(), clock=SetClock(), new_id=uuid7)).broadcast(position)  # type: ignore[arg-type]
    assert len(live.events) == 4


class Away:
    """A database that is not there."""

    def in_transaction(self) -> bool:
        return False

    async def fetch(self, *_: object, **__: object) -> None:
        raise Unavailable
