"""The outbox and the stored events: positions in the order of publication, and the events each user may read."""

import asyncio
import json
from contextvars import Context
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.outbox import Lag, PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Command
from nomadcrew.core.errors import DomainError, Gone, Invalid, NotOnboarded, Unavailable
from nomadcrew.core.events import EMAIL, MIRROR, NOTIFICATIONS, PASSING, WEBHOOKS, Audience, job_id
from nomadcrew.core.ids import EventId, MembershipId, PushTokenId, TripId, UserId, derived_id, uuid7
from nomadcrew.core.notifications.push import DeviceType
from nomadcrew.core.permissions import OWNER, Role
from nomadcrew.core.retention import EVENT_RETENTION
from nomadcrew.wire.events import unpack
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

_WRITE = compile_statement(
    "tell",
    """INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
       VALUES (:id::uuid, :type::text, 'test', :trip_id::uuid, :actor_id::uuid, :recipient_id::uuid,
               :audience::text, :at::timestamptz, :payload::jsonb)""",
)
_POSITIONS = compile_statement(
    "places", "SELECT id, position FROM outbox WHERE position IS NOT NULL ORDER BY position"
)
_COUNT = compile_statement("count", "SELECT count(*) AS count FROM queue_jobs WHERE queue = 'notifications'")
_JOBS = compile_statement("jobs", "SELECT id, queue, body FROM queue_jobs ORDER BY queue")


class OutboxScenario:
    """A trip database whose events are written, published and read."""

    def __init__(self, db: TripDb) -> None:
        self.db = db
        self.pool = db.pool
        self.outbox = PostgresOutbox(db.pool)
        self.log = PostgresEventLog(db.pool)

    async def write(
        self,
        trip_id: TripId | None = None,
        *,
        to: UserId | None = None,
        type_: str = "TODO_CREATED",
        audience: Audience = Audience.TRIP,
        at: datetime = NOON,
        payload: object = None,
    ) -> EventId:
        event_id = EventId(uuid7())
        await self.pool.fetch(
            _WRITE, id=event_id, type=type_, trip_id=trip_id, actor_id=to, recipient_id=to, audience=audience,
            at=at, payload=json.dumps(payload),
        )  # fmt: skip
        return event_id

    async def publish(self, limit: int = 1_000) -> list[EventId]:
        published = await self.outbox.publish(limit=limit, now=NOON)
        return [event.id for event in published.events]

    async def read(self, reader: UserId, after: UUID | None = None, *, limit: int = 100) -> list[EventId]:
        page = await self.log.after(reader, after, now=NOON, limit=limit)
        return [event.id for event in page.events]

    async def types(self, reader: UserId) -> list[str]:
        page = await self.log.after(reader, None, now=NOON, limit=100)
        return [event.type for event in page.events]

    async def ordered(self) -> list[EventId]:
        """Published events by position."""
        return [row["id"] for row in await self.pool.fetch(_POSITIONS)]

    async def join(self, trip_id: TripId, user_id: UserId, owner: UserId, at: datetime) -> None:
        await self.db.consent(user_id, owner)
        await PostgresMembers(self.pool).add(
            Command(trip_id, owner, OWNER, EventId(uuid7()), at),
            user_id,
            Role.MEMBER,
            membership_id=MembershipId(uuid7()),
        )


@pytest.fixture
def scenario(db: TripDb) -> OutboxScenario:
    return OutboxScenario(db)


async def refusal(scenario: OutboxScenario, reader: UserId, cursor: UUID) -> DomainError:
    with pytest.raises(DomainError) as refused:
        await scenario.read(reader, cursor)
    return refused.value


async def test_an_event_is_published_as_written(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    event_id = await scenario.write(to=ana, audience=Audience.USER, payload={"a": [1, None, "é"]})
    [event] = (await scenario.outbox.publish(limit=10, now=NOON)).events
    assert (event.id, event.type, event.source, event.occurred_at) == (event_id, "TODO_CREATED", "test", NOON)
    assert (event.trip_id, event.actor_id, event.recipient_id, event.audience) == (None, ana, ana, "user")
    assert json.loads(event.payload) == {"a": [1, None, "é"]}


async def test_positions_follow_publication(scenario: OutboxScenario) -> None:
    event_ids = [await scenario.write() for _ in range(7)]
    assert await scenario.publish(limit=3) == event_ids[:3]
    assert await scenario.publish() == event_ids[3:]
    assert await scenario.publish() == []
    assert await scenario.ordered() == event_ids


async def test_an_event_committed_late_has_a_late_position(scenario: OutboxScenario) -> None:
    """Ids and insertion order precede the commit; positions are assigned after it."""
    written, go = asyncio.Event(), asyncio.Event()

    async def slow() -> EventId:
        async with scenario.pool.transaction():
            event_id = await scenario.write()
            written.set()
            await go.wait()
        return event_id

    task = asyncio.create_task(slow())
    await written.wait()
    quick = await scenario.write()
    assert await scenario.publish() == [quick]
    go.set()
    late = await task
    assert await scenario.publish() == [late]
    assert await scenario.ordered() == [quick, late]


async def test_a_publisher_waits_for_another_one_and_publishes_the_rest(scenario: OutboxScenario) -> None:
    event_ids = [await scenario.write() for _ in range(4)]
    async with scenario.pool.transaction():
        assert await scenario.publish(limit=2) == event_ids[:2]
        second = asyncio.create_task(PostgresOutbox(scenario.pool).publish(limit=2, now=NOON), context=Context())
        done, _ = await asyncio.wait({second}, timeout=0.2)
        assert not done
    assert [event.id for event in (await second).events] == event_ids[2:]
    assert await scenario.ordered() == event_ids


async def test_many_publishers_publish_every_event_once(scenario: OutboxScenario) -> None:
    event_ids = [await scenario.write(type_="MEMBER_ADDED") for _ in range(60)]

    async def publisher() -> list[EventId]:
        done: list[EventId] = []
        while batch := await scenario.publish(limit=5):
            done += batch
        return done

    shares = await asyncio.gather(*(publisher() for _ in range(4)))
    assert sorted(event_id for share in shares for event_id in share) == sorted(event_ids)
    assert sorted(await scenario.ordered()) == sorted(event_ids)
    assert len(await scenario.pool.fetch(_JOBS)) == 60


async def test_a_crashed_publisher_leaves_its_events_to_the_next(scenario: OutboxScenario) -> None:
    event_ids = [await scenario.write(type_="MEMBER_ADDED") for _ in range(3)]

    async def dies() -> None:
        async with scenario.pool.transaction():
            await scenario.publish()
            raise Unavailable

    with pytest.raises(DomainError):
        await dies()
    assert await scenario.pool.fetch(_JOBS) == []
    assert await scenario.publish() == event_ids


async def test_each_consumer_gets_one_job_per_event(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    invited = await scenario.write(
        type_="TRIP_INVITATION_CREATED", to=ana, audience=Audience.USER, payload={"text": 'é "x" 🙂'},
        at=NOON + timedelta(microseconds=1),
    )  # fmt: skip
    await scenario.write(type_="TODO_CREATED")
    published = await scenario.outbox.publish(limit=10, now=NOON)
    jobs = await scenario.pool.fetch(_JOBS)
    assert [(job["id"], job["queue"]) for job in jobs] == [
        (job_id(invited, EMAIL), EMAIL),
        (job_id(invited, NOTIFICATIONS), NOTIFICATIONS),
    ]
    assert [unpack(job["body"]) for job in jobs] == [published.events[0]] * 2
    assert set(published.queues) == {EMAIL, NOTIFICATIONS}
    assert (await scenario.outbox.publish(limit=10, now=NOON)).queues == ()


async def test_the_mirror_gets_jobs_only_on_a_site_with_one(scenario: OutboxScenario) -> None:
    await scenario.write(type_="TRIP_CREATED")
    await scenario.publish()
    assert await scenario.pool.fetch(_JOBS) == []
    await scenario.write(type_="TRIP_CREATED")
    await PostgresOutbox(scenario.pool, mirrors=True).publish(limit=10, now=NOON)
    assert [job["queue"] for job in await scenario.pool.fetch(_JOBS)] == [MIRROR]


@pytest.mark.parametrize("type_", sorted(PASSING))
async def test_a_passing_event_has_a_job_only_if_another_member_has_a_phone(
    scenario: OutboxScenario, type_: str
) -> None:
    ana, ben, eve = [await scenario.db.user(name) for name in ("ana", "ben", "eve")]
    trip_id = await scenario.db.trip(ana)
    await scenario.db.join(trip_id, ben, ana)
    await scenario.db.join(trip_id, eve, ana)
    await scenario.db.leave(trip_id, eve, eve)
    await scenario.publish()
    with_pushes, without = PostgresOutbox(scenario.pool, pushes=True), scenario.outbox

    async def has_job(outbox: PostgresOutbox) -> bool:
        [before] = await scenario.pool.fetch(_COUNT)
        event_id = EventId(uuid7())
        await scenario.pool.fetch(
            _WRITE, id=event_id, type=type_, trip_id=trip_id, actor_id=ana, recipient_id=None, audience="trip",
            at=NOON, payload="{}",
        )  # fmt: skip
        published = await outbox.publish(limit=10, now=NOON)
        [after] = await scenario.pool.fetch(_COUNT)
        assert published.passing == ({event_id} if after["count"] == before["count"] else set())
        return bool(after["count"] > before["count"])

    assert not await has_job(without)
    assert not await has_job(with_pushes)
    for user_id in (ana, eve, ben):
        await PostgresPushTokens(scenario.pool).register(
            PushTokenId(uuid7()), f"ExponentPushToken[{user_id}]", DeviceType.IOS, user_id, now=NOON
        )
        assert await has_job(with_pushes) == (user_id == ben)
        assert not await has_job(without)
    await PostgresPushTokens(scenario.pool).deactivate(None, ben, now=NOON)
    assert not await has_job(with_pushes)


async def test_members_are_read_for_the_trips_of_events_if_asked(scenario: OutboxScenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    shared, own = await scenario.db.trip(ana), await scenario.db.trip(ana)
    await scenario.db.join(shared, ben, ana)
    await scenario.publish()
    for trip_id in (shared, own, shared):
        await scenario.write(trip_id)
    await scenario.write(own, to=ben, audience=Audience.USER)
    members = (await scenario.outbox.publish(limit=10, now=NOON, with_members=True)).members
    assert members is not None
    assert {trip_id: set(user_ids) for trip_id, user_ids in members.items()} == {shared: {ana, ben}, own: {ana}}
    await scenario.write(shared)
    assert (await scenario.outbox.publish(limit=10, now=NOON)).members is None


async def test_published_events_are_found_by_position(scenario: OutboxScenario) -> None:
    assert await scenario.outbox.last_position() == 0
    event_ids = [await scenario.write(type_="MEMBER_ADDED") for _ in range(5)]
    positions = (await scenario.outbox.publish(limit=4, now=NOON)).positions
    assert await scenario.outbox.last_position() == positions[-1]
    found = await scenario.outbox.published_between(positions[0], positions[3], limit=10)
    assert ([event.id for event in found.events], found.positions) == (event_ids[1:3], positions[1:3])
    assert sorted(found.queues) == [NOTIFICATIONS, WEBHOOKS]
    rest = await scenario.outbox.published_between(positions[1], None, limit=1)
    assert [event.id for event in rest.events] == event_ids[2:3]


async def test_lag_is_the_number_and_age_of_pending_events(scenario: OutboxScenario) -> None:
    assert await scenario.outbox.lag(now=NOON) == Lag(0, 0.0)
    await scenario.write(at=NOON - timedelta(seconds=9))
    await scenario.write(at=NOON - timedelta(seconds=3))
    assert await scenario.outbox.lag(now=NOON) == Lag(2, 9.0)


async def test_recipients_are_the_active_members_of_each_trip(scenario: OutboxScenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    shared, own = await scenario.db.trip(ana), await scenario.db.trip(ana)
    await scenario.db.join(shared, ben, ana)
    members = await scenario.outbox.recipients([shared, own, shared])
    assert {trip_id: set(user_ids) for trip_id, user_ids in members.items()} == {shared: {ana, ben}, own: {ana}}
    await scenario.db.leave(shared, ben, ben)
    assert await scenario.outbox.recipients([shared]) == {shared: [ana]}
    assert await scenario.outbox.recipients([]) == {}


async def test_a_reader_continues_after_any_page(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    trip_id = await scenario.db.trip(ana)
    for _ in range(6):
        await scenario.write(trip_id)
    await scenario.write(to=ana, audience=Audience.USER)
    await scenario.publish()
    all_events = await scenario.read(ana)
    assert len(all_events) == 8
    for limit in (1, 3, 8, 100):
        seen: list[EventId] = []
        while batch := await scenario.read(ana, seen[-1] if seen else None, limit=limit):
            seen += batch
        assert seen == all_events, limit
    page = await scenario.log.after(ana, None, now=NOON, limit=7)
    assert (len(page.events), page.has_more) == (7, True)


async def test_an_unpublished_event_is_not_read(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    await scenario.write(to=ana, audience=Audience.USER)
    assert await scenario.read(ana) == []


async def test_an_unpublished_cursor_returns_no_events(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    await scenario.write(to=ana, audience=Audience.USER)
    await scenario.publish()
    unpublished = await scenario.write(to=ana, audience=Audience.USER)
    assert await scenario.read(ana, unpublished) == []


async def test_a_reader_gets_own_events_and_those_of_own_trips(scenario: OutboxScenario) -> None:
    ana, ben, eve = [await scenario.db.user(name) for name in ("ana", "ben", "eve")]
    trip_id = await scenario.db.trip(ana)
    await scenario.db.join(trip_id, ben, ana)
    await scenario.publish()
    start = (await scenario.read(ana))[-1]
    to_trip = await scenario.write(trip_id)
    to_ben = await scenario.write(trip_id, to=ben, audience=Audience.USER)
    await scenario.write(trip_id, audience=Audience.INTERNAL)
    await scenario.publish()
    assert await scenario.read(ana, start) == [to_trip]
    assert await scenario.read(ben, start) == [to_trip, to_ben]
    assert await scenario.read(eve, start) == []


async def test_a_member_gets_no_events_from_before_joining(scenario: OutboxScenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip_id = await scenario.db.trip(ana)
    await scenario.write(trip_id, at=NOON)
    await scenario.join(trip_id, ben, ana, NOON + timedelta(hours=1))
    after = await scenario.write(trip_id, at=NOON + timedelta(hours=2))
    await scenario.publish()
    assert await scenario.types(ben) == ["MEMBER_ADDED", "TODO_CREATED"]
    assert (await scenario.read(ben))[-1] == after


async def test_a_former_member_reads_the_removal_and_nothing_else(scenario: OutboxScenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip_id = await scenario.db.trip(ana)
    await scenario.db.join(trip_id, ben, ana)
    await scenario.write(trip_id)
    await scenario.db.leave(trip_id, ben, ana)
    await scenario.write(trip_id)
    await scenario.publish()
    assert await scenario.types(ben) == ["MEMBER_REMOVED"]


async def test_a_returning_member_gets_no_events_of_the_absence(scenario: OutboxScenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip_id = await scenario.db.trip(ana)
    await scenario.db.join(trip_id, ben, ana)
    await scenario.db.leave(trip_id, ben, ana)
    between = await scenario.write(trip_id, at=NOON + timedelta(minutes=30))
    await scenario.join(trip_id, ben, ana, NOON + timedelta(hours=1))
    after = await scenario.write(trip_id, at=NOON + timedelta(hours=2))
    await scenario.publish()
    assert between not in await scenario.read(ben)
    assert await scenario.types(ben) == ["MEMBER_REMOVED", "MEMBER_ADDED", "TODO_CREATED"]
    assert (await scenario.read(ben))[-1] == after


async def test_a_deleted_trip_shows_its_deletion_only(scenario: OutboxScenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip_id = await scenario.db.trip(ana)
    await scenario.db.join(trip_id, ben, ana)
    await scenario.write(trip_id)
    await PostgresTrips(scenario.pool).delete(Command(trip_id, ana, OWNER, EventId(uuid7()), NOON))
    await scenario.publish()
    assert await scenario.types(ana) == await scenario.types(ben) == ["TRIP_DELETED"]


async def test_a_user_without_a_profile_reads_nothing(scenario: OutboxScenario) -> None:
    with pytest.raises(NotOnboarded):
        await scenario.read(UserId(uuid7()))


async def test_a_cursor_older_than_the_retention_is_expired(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    old = UUID(int=int((NOON - EVENT_RETENTION).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
    for cursor in (old, derived_id(old, "an event about a notification")):
        gone = await refusal(scenario, ana, cursor)
        assert (type(gone), gone.code) == (Gone, "cursor_expired")


async def test_a_cursor_that_was_never_an_event_is_refused(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    young = UUID(int=int((NOON - timedelta(days=6)).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
    for cursor in (young, uuid4()):
        wrong = await refusal(scenario, ana, cursor)
        assert (type(wrong), wrong.code) == (Invalid, "invalid_cursor")


async def test_events_are_deleted_after_seven_days_unless_unpublished(scenario: OutboxScenario) -> None:
    ana = await scenario.db.user("ana")
    old = NOON - EVENT_RETENTION - timedelta(seconds=1)
    await scenario.write(to=ana, audience=Audience.USER, at=old)
    published = await scenario.write(to=ana, audience=Audience.USER, at=old + timedelta(seconds=2))
    await scenario.publish()
    pending = await scenario.write(to=ana, audience=Audience.USER, at=old)
    assert await PostgresRetention(scenario.pool).delete_events(NOON) == 1
    assert await scenario.read(ana) == [published]
    assert await scenario.publish() == [pending]
