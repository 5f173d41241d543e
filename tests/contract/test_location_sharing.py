"""What surrounds positions: settings, who looked, where to meet, who arrived, and what schedules do."""

from datetime import datetime, timedelta

import pytest

from nomadcrew.adapters.postgres.locations import (
    PostgresMeetingPoints,
    PostgresPositionViews,
)
from nomadcrew.adapters.postgres.positions import PostgresPositions
from nomadcrew.adapters.postgres.retention import DAYS_AHEAD, PostgresRetention
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Conflict, NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.locations.arrival import Change, Destination
from nomadcrew.core.locations.model import MeetingPoint, OwnSettings, Privacy, Sharing, TripSharing
from nomadcrew.core.permissions import MEMBER
from tests.contract.crew import Crew
from tests.contract.test_positions import MINUTE, Stage, pair
from tests.fakes import NOON

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def stage(crew: Crew) -> Stage:
    return Stage(crew, PostgresPositions(crew.pool))


async def change(
    stage: Stage,
    trip: TripId,
    user: UserId,
    *,
    is_enabled: bool | None = None,
    lasts_s: int | None = None,
    minute: float = 0,
    **privacy: str | None,
) -> None:
    now = NOON + MINUTE * minute
    await stage.sharing.change_sharing(
        Command(trip, user, MEMBER, EventId(uuid7()), now),
        is_enabled=is_enabled,
        expires_at=None if lasts_s is None else now + timedelta(seconds=lasts_s),
        privacy=privacy.get("privacy"),
        keep_privacy=not privacy,
    )


async def test_settings_are_kept_one_by_one_and_told_when_they_matter(stage: Stage) -> None:
    trip, ana, _ = await pair(stage)
    await change(stage, trip, ana, privacy="approximate")
    assert (await stage.owner(trip, ana)).sharing == Sharing(False, Privacy.APPROXIMATE)
    await change(stage, trip, ana, is_enabled=True)
    await change(stage, trip, ana, is_enabled=True, lasts_s=600)
    sharing = Sharing(True, Privacy.APPROXIMATE, NOON + 10 * MINUTE)
    assert (await stage.owner(trip, ana)).sharing == sharing
    assert await stage.told() == [(ana, True)]
    await change(stage, trip, ana, privacy="hidden")
    await change(stage, trip, ana, is_enabled=False)
    await change(stage, trip, ana, is_enabled=True)
    await change(stage, trip, ana, privacy=None)
    assert (await stage.owner(trip, ana)).sharing == Sharing(True, None)
    assert await stage.told() == [(ana, True), (ana, False), (ana, True)]


async def test_nothing_is_told_of_somebody_in_ghost_mode(stage: Stage) -> None:
    trip, ana, _ = await pair(stage)
    await stage.prefer(ana, ghost=True)
    await change(stage, trip, ana, is_enabled=True)
    await stage.send(trip, ana)
    await change(stage, trip, ana, is_enabled=False)
    await change(stage, trip, ana, is_enabled=True, lasts_s=60)
    assert await PostgresRetention(stage.crew.pool).end_expired_sharing(NOON + HOUR) == 1
    assert await stage.told() == []


async def test_own_settings_are_of_every_trip_that_goes_on(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    over = await stage.crew.trip(ana)
    await stage.end_trip(over, ana)
    await stage.prefer(ana, location_privacy_preference="approximate")
    await change(stage, trip, ana, is_enabled=True)
    assert await stage.sharing.own_settings(ana) == OwnSettings(
        Privacy.APPROXIMATE, False, [TripSharing(trip, "Porto", Sharing(True))]
    )
    assert (await stage.sharing.own_settings(ben)).trips == [TripSharing(trip, "Porto", None)]
    nobody = await stage.crew.person("nobody")
    assert await stage.sharing.own_settings(nobody) == OwnSettings(None, False, [])
    with pytest.raises(NotOnboarded):
        await stage.sharing.own_settings(UserId(uuid7()))


async def test_nothing_is_shared_on_a_trip_that_is_over_or_anothers(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    eve = await stage.crew.person("eve")
    await stage.crew.leave(trip, ben, ana)
    for stranger in (eve, ben):
        with pytest.raises(NotTripMember):
            await change(stage, trip, stranger, is_enabled=True)
    await stage.end_trip(trip, ana)
    with pytest.raises(Conflict, match="ended"):
        await change(stage, trip, ana, is_enabled=True)


async def test_shared_trips_are_those_where_somebody_shares_now(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    others = [await stage.crew.trip(ana) for _ in range(4)]
    await stage.send(trip, ana)
    await stage.send(others[0], ana, lasts_s=60)
    await stage.send(others[1], ana, is_enabled=False)
    await stage.send(others[2], ana)
    await stage.end_trip(others[2], ana)
    assert set(await stage.sharing.shared_trips(ana, now=NOON)) == {trip, others[0]}
    assert await stage.sharing.shared_trips(ana, now=NOON + MINUTE) == [trip]
    assert await stage.sharing.shared_trips(ben, now=NOON) == []


async def test_sharing_that_is_over_is_switched_off_once_and_told(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    upkeep = PostgresRetention(stage.crew.pool)
    await stage.send(trip, ana, lasts_s=600)
    await stage.send(trip, ben)
    assert await upkeep.end_expired_sharing(NOON + 9 * MINUTE) == 0
    assert await upkeep.end_expired_sharing(NOON + 10 * MINUTE) == 1
    assert await upkeep.end_expired_sharing(NOON + 10 * MINUTE) == 0
    assert await stage.told() == [(ana, True), (ben, True), (ana, False)]
    assert (await stage.owner(trip, ana)).sharing == Sharing(False, None, NOON + 10 * MINUTE)


async def test_an_arrival_is_told_once_until_somebody_left(stage: Stage) -> None:
    trip, ana, _ = await pair(stage)
    for is_there in (True, True, False, False, True):
        await stage.sharing.record_arrival(
            trip, ana, Change(Destination.DESTINATION, is_there), EventId(uuid7()), name="Ana", now=NOON
        )
    events = [event for event in await stage.crew.events() if event["type"] == "MEMBER_ARRIVED"]
    assert len(events) == 2
    assert events[0]["actor"] == ana
    assert events[0]["payload"] == {"userId": str(ana), "name": "Ana", "place": "destination"}
    places = (await stage.send(trip, ana)).arrival_state
    assert (places.is_at_destination, places.is_at_meeting_point) == (True, False)


async def test_who_looked_is_listed_by_the_hour_to_whom_it_concerns(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    eve = await stage.crew.person("eve")
    await stage.crew.join(trip, eve, ana)
    views = PostgresPositionViews(stage.crew.pool)
    for minute in (0, 5, 59, 61):
        await views.record(trip, [ben], [ana, eve], now=NOON + MINUTE * minute)
    await PostgresPositionViews(stage.crew.pool).record(trip, [ben], [ana], now=NOON)
    await views.record(trip, [eve], [ana], now=NOON)
    await views.record(trip, [eve], [], now=NOON)
    found = await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, offset=0)
    assert [(view.viewer_name, view.hour) for view in found] == [
        ("ben", NOON + HOUR), *sorted([("ben", NOON), ("eve", NOON)], key=lambda one: [ben, eve][one[0] == "eve"])
    ]  # fmt: skip
    assert await views.list_for_owner(Access(trip, ana, MEMBER), limit=1, offset=2) == found[2:]
    assert await views.list_for_owner(Access(trip, ben, MEMBER), limit=10, offset=0) == []
    with pytest.raises(NotTripMember):
        await views.list_for_owner(Access(trip, await stage.crew.person("mallory"), MEMBER), limit=10, offset=0)


async def test_views_of_many_are_noted_at_once_but_nobodys_own_and_not_of_who_is_gone(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    eve = await stage.crew.person("eve")
    await stage.crew.join(trip, eve, ana)
    views = PostgresPositionViews(stage.crew.pool)
    everybody = [ana, ben, eve]
    await views.record(trip, [*everybody, UserId(uuid7())], [*everybody, UserId(uuid7())], now=NOON)
    await views.record(TripId(uuid7()), [ben], [ana], now=NOON)
    for owner in everybody:
        found = await views.list_for_owner(Access(trip, owner, MEMBER), limit=10, offset=0)
        assert [view.viewer_id for view in found] == sorted(set(everybody) - {owner})


async def test_a_meeting_point_is_set_moved_and_cleared(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    points = PostgresMeetingPoints(stage.crew.pool)
    with pytest.raises(NotFound) as missing:
        await points.get(Access(trip, ana, MEMBER))
    assert missing.value.code == "meeting_point_not_found"
    point = MeetingPoint(41.14, -8.61, "the bridge", 100.0, ben, NOON)
    for _ in range(2):
        await points.put(Access(trip, ben, MEMBER), point, EventId(uuid7()))
    assert await points.get(Access(trip, ana, MEMBER)) == point
    assert (await stage.send(trip, ana)).arrival_state.meeting_point == (41.14, -8.61, 100.0)
    await stage.sharing.record_arrival(
        trip, ana, Change(Destination.MEETING_POINT, True), EventId(uuid7()), name="", now=NOON
    )
    assert (await stage.send(trip, ana, minute=1)).arrival_state.is_at_meeting_point
    moved = MeetingPoint(41.15, -8.61, "the station", 150.0, ana, NOON + MINUTE)
    await points.put(Access(trip, ana, MEMBER), moved, EventId(uuid7()))
    assert not (await stage.send(trip, ana, minute=2)).arrival_state.is_at_meeting_point
    for _ in range(2):
        await points.clear(Command(trip, ana, MEMBER, EventId(uuid7()), NOON))
    with pytest.raises(NotFound):
        await points.get(Access(trip, ana, MEMBER))
    told = [event["payload"] for event in await stage.crew.events() if event["type"] == "MEETING_POINT_CHANGED"]
    assert told == [
        {"latitude": 41.14, "longitude": -8.61, "name": "the bridge", "radius": 100.0},
        {"latitude": 41.15, "longitude": -8.61, "name": "the station", "radius": 150.0},
        {},
    ]
    eve = await stage.crew.person("eve")
    for refused in (
        points.get(Access(trip, eve, MEMBER)),
        points.put(Access(trip, eve, MEMBER), point, EventId(uuid7())),
        points.clear(Command(trip, eve, MEMBER, EventId(uuid7()), NOON)),
    ):
        with pytest.raises(NotTripMember):
            await refused


async def test_days_are_made_ahead_for_late_points_too_and_dropped_with_what_they_hold(stage: Stage) -> None:
    trip, ana, _ = await pair(stage)
    minutes = [day * 1440 for day in (-29, -3, 0, 2)]
    for minute in minutes:
        await stage.send(trip, ana, minute=minute, received=max(minute, 0))
    # Today and the days ahead, and those of the two late points.
    days = await kept_days(stage, NOON)
    assert {day(n) for n in (-29, -3, *range(DAYS_AHEAD + 1))} <= days
    assert await stage.minutes(trip, ana) == minutes
    assert await waiting(stage) == 0
    assert await kept_days(stage, NOON) == days
    await stage.send(trip, ana, minute=-5 * 1440, received=2 * 1440)
    assert await stage.minutes(trip, ana) == sorted([*minutes, -5 * 1440])
    days = await kept_days(stage, NOON + 5 * DAY)
    assert {day(n) for n in (-5, -3, *range(DAYS_AHEAD + 6))} <= days
    assert day(-29) not in days
    assert await stage.minutes(trip, ana) == [-5 * 1440, *minutes[1:]]


async def test_points_and_views_leave_after_thirty_days(stage: Stage) -> None:
    trip, ana, ben = await pair(stage)
    upkeep = PostgresRetention(stage.crew.pool)
    views = PostgresPositionViews(stage.crew.pool)
    await stage.send(trip, ana)
    await views.record(trip, [ben], [ana], now=NOON)
    await views.record(trip, [ben], [ana], now=NOON + HOUR)
    await upkeep.delete_positions(NOON + 30 * DAY)
    assert await stage.minutes(trip, ana) == [0]
    assert len(await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, offset=0)) == 2
    await upkeep.delete_positions(NOON + 30 * DAY + MINUTE)
    assert [view.hour for view in await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, offset=0)] == [
        NOON + HOUR
    ]
    await upkeep.delete_positions(NOON + 31 * DAY)
    assert await stage.minutes(trip, ana) == []


def day(number: int) -> str:
    return f"{NOON + number * DAY:%Y%m%d}"


async def kept_days(stage: Stage, now: datetime) -> set[str]:
    """The days there are once the schedule has run, which says how many it made and dropped.

    Migrating has made those from the day on which this runs, so none can be taken for granted, nor to be missing.
    """
    before = await days_of(stage)
    changed = await PostgresRetention(stage.crew.pool).delete_positions(now)
    after = await days_of(stage)
    assert changed == len(before ^ after)
    return after


async def days_of(stage: Stage) -> set[str]:
    return {row["day"] for row in await stage.crew.pool.fetch(_DAYS)}


async def waiting(stage: Stage) -> int:
    [row] = await stage.crew.pool.fetch(_WAITING)
    return int(row["count"])


_DAYS = compile_statement(
    "days",
    """SELECT right(c.relname, 8) AS day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
       WHERE i.inhparent = 'location_history'::regclass AND c.relname ~ '_[0-9]{8}$'""",
)
_WAITING = compile_statement("waiting", "SELECT count(*) AS count FROM location_history_other")
