"""The outbox and the record of events: places in the order of publication, and to each what is theirs to see."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.outbox import Lag, PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Command
from nomadcrew.core.errors import DomainError, Gone, Invalid, NotOnboarded, Unavailable
from nomadcrew.core.events import EMAIL, NOTIFICATIONS, Audience, Event, job_id
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId, derived_id, uuid7
from nomadcrew.core.permissions import OWNER, Role
from nomadcrew.core.retention import EVENT_RETENTION
from tests.contract.crew import Crew
from tests.fakes import NOON

_TELL = compile_statement(
    "tell",
    """INSERT INTO outbox (id, type, source, trip_id, actor_id, recipient_id, audience, occurred_at, payload)
       VALUES (:id::uuid, :type::text, 'test', :trip_id::uuid, :actor_id::uuid, :recipient_id::uuid,
               :audience::text, :at::timestamptz, :payload::jsonb)""",
)
_PLACES = compile_statement(
    "places", "SELECT id, position FROM outbox WHERE position IS NOT NULL ORDER BY position"
)
_JOBS = compile_statement("jobs", "SELECT id, queue, body FROM queue_jobs ORDER BY queue")


class Newsroom:
    """A crew whose events are told, published and read."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.pool = crew.pool
        self.outbox = PostgresOutbox(crew.pool)
        self.log = PostgresEventLog(crew.pool)

    async def tell(
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
            _TELL, id=event_id, type=type_, trip_id=trip_id, actor_id=to, recipient_id=to, audience=audience,
            at=at, payload=json.dumps(payload),
        )  # fmt: skip
        return event_id

    async def publish(self, limit: int = 1_000) -> list[EventId]:
        async with self.pool.transaction():
            events = await self.outbox.pending(limit=limit)
            await self.outbox.publish(events, [str(event.id) for event in events], now=NOON)
        return [event.id for event in events]

    async def read(self, reader: UserId, after: UUID | None = None, *, limit: int = 100) -> list[EventId]:
        page = await self.log.after(reader, after, now=NOON, limit=limit)
        return [event.id for event in page.events]

    async def types(self, reader: UserId) -> list[str]:
        page = await self.log.after(reader, None, now=NOON, limit=100)
        return [event.type for event in page.events]

    async def places(self) -> list[EventId]:
        """Published events by their place."""
        return [row["id"] for row in await self.pool.fetch(_PLACES)]

    async def join(self, trip_id: TripId, user_id: UserId, owner: UserId, at: datetime) -> None:
        await PostgresMembers(self.pool).add(
            Command(trip_id, owner, OWNER, EventId(uuid7()), at),
            user_id,
            Role.MEMBER,
            membership_id=MembershipId(uuid7()),
        )


@pytest.fixture
def room(crew: Crew) -> Newsroom:
    return Newsroom(crew)


@asynccontextmanager
async def publishing(room: Newsroom, limit: int) -> AsyncIterator[Sequence[Event]]:
    """A publisher that holds its events, in a task's transaction of its own, until the block ends."""
    held: asyncio.Future[Sequence[Event]] = asyncio.get_running_loop().create_future()
    go = asyncio.Event()

    async def publisher() -> None:
        async with room.pool.transaction():
            events = await room.outbox.pending(limit=limit)
            held.set_result(events)
            await go.wait()
            await room.outbox.publish(events, ["" for _ in events], now=NOON)

    task = asyncio.create_task(publisher())
    yield await held
    go.set()
    await task


async def refusal(room: Newsroom, reader: UserId, cursor: UUID) -> DomainError:
    with pytest.raises(DomainError) as refused:
        await room.read(reader, cursor)
    return refused.value


async def test_an_event_is_published_as_it_was_told(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    event_id = await room.tell(to=ana, audience=Audience.USER, payload={"a": [1, None, "é"]})
    async with room.pool.transaction():
        [event] = await room.outbox.pending(limit=10)
    assert (event.id, event.type, event.source, event.occurred_at) == (event_id, "TODO_CREATED", "test", NOON)
    assert (event.trip_id, event.actor_id, event.recipient_id, event.audience) == (None, ana, ana, "user")
    assert json.loads(event.payload) == {"a": [1, None, "é"]}


async def test_places_follow_publication(room: Newsroom) -> None:
    told = [await room.tell() for _ in range(7)]
    assert await room.publish(limit=3) == told[:3]
    assert await room.publish() == told[3:]
    assert await room.publish() == []
    assert await room.places() == told


async def test_what_becomes_visible_late_is_placed_late(room: Newsroom) -> None:
    """Ids and the order of insertion are given before the commit, places after it."""
    written, go = asyncio.Event(), asyncio.Event()

    async def slow() -> EventId:
        async with room.pool.transaction():
            event_id = await room.tell()
            written.set()
            await go.wait()
        return event_id

    task = asyncio.create_task(slow())
    await written.wait()
    quick = await room.tell()
    assert await room.publish() == [quick]
    go.set()
    late = await task
    assert await room.publish() == [late]
    assert await room.places() == [quick, late]


async def test_two_publishers_at_once_never_hold_one_event(room: Newsroom) -> None:
    told = [await room.tell() for _ in range(4)]
    async with publishing(room, limit=2) as first, publishing(room, limit=10) as second:
        assert [event.id for event in first] == told[:2]
        assert [event.id for event in second] == told[2:]
    assert sorted(await room.places()) == sorted(told)


async def test_many_publishers_place_every_event_once(room: Newsroom) -> None:
    told = [await room.tell(type_="MEMBER_ADDED") for _ in range(60)]

    async def publisher() -> list[EventId]:
        done: list[EventId] = []
        while batch := await room.publish(limit=5):
            done += batch
        return done

    shares = await asyncio.gather(*(publisher() for _ in range(4)))
    assert sorted(event_id for share in shares for event_id in share) == sorted(told)
    assert sorted(await room.places()) == sorted(told)
    assert len(await room.pool.fetch(_JOBS)) == 60


async def test_a_publisher_that_dies_leaves_its_events_to_the_next(room: Newsroom) -> None:
    told = [await room.tell(type_="MEMBER_ADDED") for _ in range(3)]

    async def dies() -> None:
        async with room.pool.transaction():
            events = await room.outbox.pending(limit=10)
            await room.outbox.publish(events, ["" for _ in events], now=NOON)
            raise Unavailable

    with pytest.raises(DomainError):
        await dies()
    assert await room.pool.fetch(_JOBS) == []
    assert await room.publish() == told


async def test_each_consumer_gets_each_event_it_waits_for_once(room: Newsroom) -> None:
    invited = await room.tell(type_="TRIP_INVITATION_CREATED")
    await room.tell(type_="TODO_CREATED")
    await room.publish()
    jobs = await room.pool.fetch(_JOBS)
    assert [(job["id"], job["queue"], job["body"]) for job in jobs] == [
        (job_id(invited, EMAIL), EMAIL, str(invited)),
        (job_id(invited, NOTIFICATIONS), NOTIFICATIONS, str(invited)),
    ]


async def test_an_event_that_is_published_twice_keeps_its_place_and_gives_no_second_job(room: Newsroom) -> None:
    event_id = await room.tell(type_="MEMBER_ADDED")
    async with room.pool.transaction():
        [event] = await room.outbox.pending(limit=1)
    for body in ("first", "second"):
        async with room.pool.transaction():
            await room.outbox.publish([event], [body], now=NOON)
    assert await room.places() == [event_id]
    assert [job["body"] for job in await room.pool.fetch(_JOBS)] == ["first"]


async def test_the_publisher_can_ask_what_was_kept(room: Newsroom) -> None:
    kept = await room.tell()
    await room.publish()
    waits = await room.tell()
    assert await room.outbox.published([kept, waits, EventId(uuid7())]) == {kept}


async def test_lag_is_what_waits_and_for_how_long(room: Newsroom) -> None:
    assert await room.outbox.lag(now=NOON) == Lag(0, 0.0)
    await room.tell(at=NOON - timedelta(seconds=9))
    await room.tell(at=NOON - timedelta(seconds=3))
    assert await room.outbox.lag(now=NOON) == Lag(2, 9.0)


async def test_recipients_are_the_active_members_of_each_trip(room: Newsroom) -> None:
    ana, ben = await room.crew.person("ana"), await room.crew.person("ben")
    shared, own = await room.crew.trip(ana), await room.crew.trip(ana)
    await room.crew.join(shared, ben, ana)
    members = await room.outbox.recipients([shared, own, shared])
    assert {trip_id: set(people) for trip_id, people in members.items()} == {shared: {ana, ben}, own: {ana}}
    await room.crew.leave(shared, ben, ben)
    assert await room.outbox.recipients([shared]) == {shared: [ana]}
    assert await room.outbox.recipients([]) == {}


async def test_a_reader_continues_where_they_stopped_whatever_the_page(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    trip_id = await room.crew.trip(ana)
    for _ in range(6):
        await room.tell(trip_id)
    await room.tell(to=ana, audience=Audience.USER)
    await room.publish()
    everything = await room.read(ana)
    assert len(everything) == 8
    for limit in (1, 3, 8, 100):
        seen: list[EventId] = []
        while batch := await room.read(ana, seen[-1] if seen else None, limit=limit):
            seen += batch
        assert seen == everything, limit
    page = await room.log.after(ana, None, now=NOON, limit=7)
    assert (len(page.events), page.has_more) == (7, True)


async def test_what_is_not_published_yet_is_not_in_the_record(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    await room.tell(to=ana, audience=Audience.USER)
    assert await room.read(ana) == []


async def test_nothing_follows_an_event_that_has_no_place_yet(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    await room.tell(to=ana, audience=Audience.USER)
    await room.publish()
    placeless = await room.tell(to=ana, audience=Audience.USER)
    assert await room.read(ana, placeless) == []


async def test_to_each_what_is_theirs(room: Newsroom) -> None:
    ana, ben, eve = [await room.crew.person(name) for name in ("ana", "ben", "eve")]
    trip_id = await room.crew.trip(ana)
    await room.crew.join(trip_id, ben, ana)
    await room.publish()
    start = (await room.read(ana))[-1]
    to_trip = await room.tell(trip_id)
    to_ben = await room.tell(trip_id, to=ben, audience=Audience.USER)
    await room.tell(trip_id, audience=Audience.INTERNAL)
    await room.publish()
    assert await room.read(ana, start) == [to_trip]
    assert await room.read(ben, start) == [to_trip, to_ben]
    assert await room.read(eve, start) == []


async def test_nothing_from_before_joining(room: Newsroom) -> None:
    ana, ben = await room.crew.person("ana"), await room.crew.person("ben")
    trip_id = await room.crew.trip(ana)
    await room.tell(trip_id, at=NOON)
    await room.join(trip_id, ben, ana, NOON + timedelta(hours=1))
    after = await room.tell(trip_id, at=NOON + timedelta(hours=2))
    await room.publish()
    assert await room.types(ben) == ["MEMBER_ADDED", "TODO_CREATED"]
    assert (await room.read(ben))[-1] == after


async def test_whoever_left_reads_that_and_nothing_of_the_trip(room: Newsroom) -> None:
    ana, ben = await room.crew.person("ana"), await room.crew.person("ben")
    trip_id = await room.crew.trip(ana)
    await room.crew.join(trip_id, ben, ana)
    await room.tell(trip_id)
    await room.crew.leave(trip_id, ben, ana)
    await room.tell(trip_id)
    await room.publish()
    assert await room.types(ben) == ["MEMBER_REMOVED"]


async def test_whoever_comes_back_reads_nothing_of_the_time_between(room: Newsroom) -> None:
    ana, ben = await room.crew.person("ana"), await room.crew.person("ben")
    trip_id = await room.crew.trip(ana)
    await room.crew.join(trip_id, ben, ana)
    await room.crew.leave(trip_id, ben, ana)
    between = await room.tell(trip_id, at=NOON + timedelta(minutes=30))
    await room.join(trip_id, ben, ana, NOON + timedelta(hours=1))
    after = await room.tell(trip_id, at=NOON + timedelta(hours=2))
    await room.publish()
    assert between not in await room.read(ben)
    assert await room.types(ben) == ["MEMBER_REMOVED", "MEMBER_ADDED", "TODO_CREATED"]
    assert (await room.read(ben))[-1] == after


async def test_of_a_deleted_trip_only_its_end_is_told(room: Newsroom) -> None:
    ana, ben = await room.crew.person("ana"), await room.crew.person("ben")
    trip_id = await room.crew.trip(ana)
    await room.crew.join(trip_id, ben, ana)
    await room.tell(trip_id)
    await PostgresTrips(room.pool).delete(Command(trip_id, ana, OWNER, EventId(uuid7()), NOON))
    await room.publish()
    assert await room.types(ana) == await room.types(ben) == ["TRIP_DELETED"]


async def test_whoever_has_no_profile_reads_nothing(room: Newsroom) -> None:
    with pytest.raises(NotOnboarded):
        await room.read(UserId(uuid7()))


async def test_a_cursor_that_left_the_record_is_expired(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    old = UUID(int=int((NOON - EVENT_RETENTION).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
    for cursor in (old, derived_id(old, "an event about a notification")):
        gone = await refusal(room, ana, cursor)
        assert (type(gone), gone.code) == (Gone, "cursor_expired")


async def test_a_cursor_that_never_was_an_event_is_refused(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    young = UUID(int=int((NOON - timedelta(days=6)).timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)
    for cursor in (young, uuid4()):
        wrong = await refusal(room, ana, cursor)
        assert (type(wrong), wrong.code) == (Invalid, "invalid_cursor")


async def test_the_record_is_purged_after_seven_days_but_never_of_what_waits(room: Newsroom) -> None:
    ana = await room.crew.person("ana")
    old = NOON - EVENT_RETENTION - timedelta(seconds=1)
    await room.tell(to=ana, audience=Audience.USER, at=old)
    kept = await room.tell(to=ana, audience=Audience.USER, at=old + timedelta(seconds=2))
    await room.publish()
    waits = await room.tell(to=ana, audience=Audience.USER, at=old)
    assert await PostgresRetention(room.pool).delete_events(NOON) == 1
    assert await room.read(ana) == [kept]
    assert await room.publish() == [waits]
