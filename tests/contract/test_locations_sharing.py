"""Around positions: sharing settings, viewers, meeting points, arrivals and retention."""

import asyncio
from datetime import date, datetime, timedelta

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
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import MEMBER
from tests.contract.test_locations_positions import MINUTE, Scenario, two_members
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def scenario(db: TripDb) -> Scenario:
    return Scenario(db, PostgresPositions(db.pool))


async def change(
    scenario: Scenario,
    trip: TripId,
    user: UserId,
    *,
    is_enabled: bool | None = None,
    lasts_s: int | None = None,
    minute: float = 0,
    **privacy: str | None,
) -> None:
    now = NOON + MINUTE * minute
    await scenario.sharing.change_sharing(
        Command(trip, user, MEMBER, EventId(uuid7()), now),
        is_enabled=is_enabled,
        expires_at=None if lasts_s is None else now + timedelta(seconds=lasts_s),
        privacy=privacy.get("privacy"),
        keep_privacy=not privacy,
    )


async def test_sharing_ends_a_day_after_the_trip_wherever_it_is(scenario: Scenario) -> None:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip = await scenario.db.trip(ana, start_date=NOON.date(), end_date=NOON.date())
    await scenario.db.join(trip, ben, ana)
    # The last day ends twelve hours later in the west of the earth: NOON is twelve, UTC.
    end = 48 * 60
    assert (await scenario.send(trip, ana)).stored_under == [Privacy.PRECISE]
    assert (await scenario.send(trip, ana, minute=end - 1)).stored_under == [Privacy.PRECISE]
    over = await scenario.send(trip, ana, minute=end)
    assert over.stored_under == [Privacy.HIDDEN]
    assert await scenario.sharing.shared_trips(ana, now=NOON + MINUTE * (end - 1)) == [trip]
    assert await scenario.sharing.shared_trips(ana, now=NOON + MINUTE * end) == []
    # A first report after the end turns nothing on.
    assert (await scenario.send(trip, ben, minute=end)).stored_under == [Privacy.HIDDEN]


@pytest.mark.parametrize(("day", "shared_as"), [(date.min, Privacy.HIDDEN), (date.max, Privacy.PRECISE)])
async def test_a_trip_may_end_at_the_ends_of_the_calendar(
    scenario: Scenario, day: date, shared_as: Privacy
) -> None:
    ana = await scenario.db.user("ana")
    trip = await scenario.db.trip(ana, start_date=day, end_date=day)
    assert (await scenario.send(trip, ana)).stored_under == [shared_as]
    assert len((await scenario.sharing.own_settings(ana)).trips) == 1


@pytest.mark.parametrize("how", ["report", "settings", "duration"])
async def test_a_member_extends_sharing_beyond_the_trip_by_a_day_at_a_time(scenario: Scenario, how: str) -> None:
    ana = await scenario.db.user("ana")
    trip = await scenario.db.trip(ana, start_date=NOON.date(), end_date=NOON.date())
    await scenario.send(trip, ana)
    after = 72 * 60
    if how == "settings":
        await change(scenario, trip, ana, is_enabled=True, minute=after)
    else:
        lasts_s = 86_400 if how == "duration" else None
        await scenario.send(trip, ana, minute=after, is_enabled=how == "report" or None, lasts_s=lasts_s)
    sharing = (await scenario.owner(trip, ana)).sharing
    assert sharing is not None
    assert sharing.until == NOON + MINUTE * after + DAY
    assert (await scenario.send(trip, ana, minute=after + 60)).stored_under == [Privacy.PRECISE]
    assert (await scenario.send(trip, ana, minute=after + 24 * 60)).stored_under == [Privacy.HIDDEN]


async def test_the_end_with_the_trip_is_told_once_and_follows_its_last_day(db: TripDb, scenario: Scenario) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana, start_date=NOON.date(), end_date=NOON.date())
    await scenario.send(trip, ana)
    retention = PostgresRetention(db.pool)
    await retention.end_expired_sharing(NOON + 2 * DAY - MINUTE)
    await db.run("UPDATE trips SET end_date = end_date + 1 WHERE id = :id::uuid", id=trip)
    await retention.end_expired_sharing(NOON + 2 * DAY)
    assert await scenario.sharing_events() == [(ana, True)]
    for _ in range(2):
        await retention.end_expired_sharing(NOON + 3 * DAY)
    assert await scenario.sharing_events() == [(ana, True), (ana, False)]


async def test_choices_at_the_same_moment_are_all_kept(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    for minute in range(15):
        await change(scenario, trip, ana, is_enabled=False, minute=minute, privacy="precise")
        await asyncio.gather(
            change(scenario, trip, ana, is_enabled=True, minute=minute + 0.5),
            change(scenario, trip, ana, minute=minute + 0.5, privacy="hidden"),
        )
        assert (await scenario.owner(trip, ana)).sharing == Sharing(True, Privacy.HIDDEN)


async def test_a_first_report_beside_switching_off_turns_nothing_on(scenario: Scenario) -> None:
    for number in range(15):
        ana = await scenario.db.user(f"ana{number}")
        trip = await scenario.db.trip(ana)
        await asyncio.gather(scenario.send(trip, ana), change(scenario, trip, ana, is_enabled=False))
        assert (await scenario.owner(trip, ana)).sharing == Sharing(False)


async def test_sharing_stored_beside_a_leave_does_not_come_back_with_the_membership(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    for _ in range(15):
        await scenario.send(trip, ben)
        await asyncio.gather(scenario.send(trip, ben), scenario.db.leave(trip, ben, ben), return_exceptions=True)
        await scenario.db.join(trip, ben, ana)
        assert (await scenario.owner(trip, ben)).sharing is None
        assert (await scenario.last(trip, ben)) is None


async def test_settings_change_one_by_one_and_are_published_when_visibility_changes(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await change(scenario, trip, ana, privacy="approximate")
    assert (await scenario.owner(trip, ana)).sharing == Sharing(False, Privacy.APPROXIMATE)
    await change(scenario, trip, ana, is_enabled=True)
    await change(scenario, trip, ana, is_enabled=True, lasts_s=600)
    sharing = Sharing(True, Privacy.APPROXIMATE, NOON + 10 * MINUTE)
    assert (await scenario.owner(trip, ana)).sharing == sharing
    assert await scenario.sharing_events() == [(ana, True)]
    await change(scenario, trip, ana, privacy="hidden")
    await change(scenario, trip, ana, is_enabled=False)
    await change(scenario, trip, ana, is_enabled=True)
    await change(scenario, trip, ana, privacy=None)
    assert (await scenario.owner(trip, ana)).sharing == Sharing(True, None)
    assert await scenario.sharing_events() == [(ana, True), (ana, False), (ana, True)]


async def test_sharing_of_a_ghost_publishes_nothing(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.prefer(ana, ghost=True)
    await change(scenario, trip, ana, is_enabled=True)
    await scenario.send(trip, ana)
    await change(scenario, trip, ana, is_enabled=False)
    await change(scenario, trip, ana, is_enabled=True, lasts_s=60)
    assert await PostgresRetention(scenario.db.pool).end_expired_sharing(NOON + HOUR) == 1
    assert await scenario.sharing_events() == []


async def test_own_settings_cover_all_current_trips(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    past = await scenario.db.trip(ana)
    await scenario.end_trip(past, ana)
    await scenario.prefer(ana, location_privacy_preference="approximate")
    await change(scenario, trip, ana, is_enabled=True)
    assert await scenario.sharing.own_settings(ana) == OwnSettings(
        Privacy.APPROXIMATE, False, [TripSharing(trip, "Porto", Sharing(True))]
    )
    assert (await scenario.sharing.own_settings(ben)).trips == [TripSharing(trip, "Porto", None)]
    without_trips = await scenario.db.user("nobody")
    assert await scenario.sharing.own_settings(without_trips) == OwnSettings(None, False, [])
    with pytest.raises(NotOnboarded):
        await scenario.sharing.own_settings(UserId(uuid7()))


async def test_sharing_on_a_past_or_foreign_trip_is_refused(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    eve = await scenario.db.user("eve")
    await scenario.db.leave(trip, ben, ana)
    for outsider in (eve, ben):
        with pytest.raises(NotTripMember):
            await change(scenario, trip, outsider, is_enabled=True)
    await scenario.end_trip(trip, ana)
    with pytest.raises(Conflict, match="ended"):
        await change(scenario, trip, ana, is_enabled=True)


async def test_shared_trips_are_those_with_active_sharing(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    others = [await scenario.db.trip(ana) for _ in range(4)]
    await scenario.send(trip, ana)
    await scenario.send(others[0], ana, lasts_s=60)
    await scenario.send(others[1], ana, is_enabled=False)
    await scenario.send(others[2], ana)
    await scenario.end_trip(others[2], ana)
    assert set(await scenario.sharing.shared_trips(ana, now=NOON)) == {trip, others[0]}
    assert await scenario.sharing.shared_trips(ana, now=NOON + MINUTE) == [trip]
    assert await scenario.sharing.shared_trips(ben, now=NOON) == []


@pytest.mark.contract("jobs.sharing")
async def test_expired_sharing_is_switched_off_and_published_once(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    retention = PostgresRetention(scenario.db.pool)
    await scenario.send(trip, ana, lasts_s=600)
    await scenario.send(trip, ben)
    assert await retention.end_expired_sharing(NOON + 9 * MINUTE) == 0
    assert await retention.end_expired_sharing(NOON + 10 * MINUTE) == 1
    assert await retention.end_expired_sharing(NOON + 10 * MINUTE) == 0
    assert await scenario.sharing_events() == [(ana, True), (ben, True), (ana, False)]
    assert (await scenario.owner(trip, ana)).sharing == Sharing(False, None, NOON + 10 * MINUTE)


async def test_an_arrival_is_published_once_until_the_member_leaves(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    for is_there in (True, True, False, False, True):
        await scenario.sharing.record_arrival(
            trip, ana, Change(Destination.DESTINATION, is_there), EventId(uuid7()), name="Ana", now=NOON
        )
    events = [event for event in await scenario.db.events() if event["type"] == "MEMBER_ARRIVED"]
    assert len(events) == 2
    assert events[0]["actor"] == ana
    assert events[0]["payload"] == {"userId": str(ana), "name": "Ana", "place": "destination"}
    places = (await scenario.send(trip, ana)).arrival_state
    assert (places.is_at_destination, places.is_at_meeting_point) == (True, False)


async def test_views_are_listed_by_hour_to_the_viewed_member(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    eve = await scenario.db.user("eve")
    await scenario.db.join(trip, eve, ana)
    views = PostgresPositionViews(scenario.db.pool)
    for minute in (0, 5, 59, 61):
        await views.record(trip, [ben], [ana, eve], now=NOON + MINUTE * minute)
    await PostgresPositionViews(scenario.db.pool).record(trip, [ben], [ana], now=NOON)
    await views.record(trip, [eve], [ana], now=NOON)
    await views.record(trip, [eve], [], now=NOON)
    found = await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, offset=0)
    assert [(view.viewer_name, view.hour) for view in found] == [
        ("ben", NOON + HOUR), *sorted([("ben", NOON), ("eve", NOON)], key=lambda one: [ben, eve][one[0] == "eve"],
                                      reverse=True)
    ]  # fmt: skip
    assert await views.list_for_owner(Access(trip, ana, MEMBER), limit=1, offset=2) == found[2:]
    for number, view in enumerate(found, 1):
        after = After(view.hour, view.viewer_id)
        assert await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, after=after) == found[number:]
    assert await views.list_for_owner(Access(trip, ben, MEMBER), limit=10, offset=0) == []
    with pytest.raises(NotTripMember):
        await views.list_for_owner(Access(trip, await scenario.db.user("mallory"), MEMBER), limit=10, offset=0)


async def test_views_are_recorded_for_members_except_their_own(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    eve = await scenario.db.user("eve")
    await scenario.db.join(trip, eve, ana)
    views = PostgresPositionViews(scenario.db.pool)
    members = [ana, ben, eve]
    await views.record(trip, [*members, UserId(uuid7())], [*members, UserId(uuid7())], now=NOON)
    await views.record(TripId(uuid7()), [ben], [ana], now=NOON)
    for owner in members:
        found = await views.list_for_owner(Access(trip, owner, MEMBER), limit=10, offset=0)
        assert [view.viewer_id for view in found] == sorted(set(members) - {owner}, reverse=True)


async def test_a_meeting_point_is_set_moved_and_removed(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    points = PostgresMeetingPoints(scenario.db.pool)
    with pytest.raises(NotFound) as missing:
        await points.get(Access(trip, ana, MEMBER))
    assert missing.value.code == "meeting_point_not_found"
    point = MeetingPoint(41.14, -8.61, "the bridge", 100.0, ben, NOON)
    for _ in range(2):
        await points.put(Access(trip, ben, MEMBER), point, EventId(uuid7()))
    assert await points.get(Access(trip, ana, MEMBER)) == point
    assert (await scenario.send(trip, ana)).arrival_state.meeting_point == (41.14, -8.61, 100.0)
    await scenario.sharing.record_arrival(
        trip, ana, Change(Destination.MEETING_POINT, True), EventId(uuid7()), name="", now=NOON
    )
    assert (await scenario.send(trip, ana, minute=1)).arrival_state.is_at_meeting_point
    moved = MeetingPoint(41.15, -8.61, "the station", 150.0, ana, NOON + MINUTE)
    await points.put(Access(trip, ana, MEMBER), moved, EventId(uuid7()))
    assert not (await scenario.send(trip, ana, minute=2)).arrival_state.is_at_meeting_point
    for _ in range(2):
        await points.clear(Command(trip, ana, MEMBER, EventId(uuid7()), NOON))
    with pytest.raises(NotFound):
        await points.get(Access(trip, ana, MEMBER))
    sharing_events = [
        event["payload"] for event in await scenario.db.events() if event["type"] == "MEETING_POINT_CHANGED"
    ]
    assert sharing_events == [
        {"latitude": 41.14, "longitude": -8.61, "name": "the bridge", "radius": 100.0},
        {"latitude": 41.15, "longitude": -8.61, "name": "the station", "radius": 150.0},
        {},
    ]
    eve = await scenario.db.user("eve")
    for refused in (
        points.get(Access(trip, eve, MEMBER)),
        points.put(Access(trip, eve, MEMBER), point, EventId(uuid7())),
        points.clear(Command(trip, eve, MEMBER, EventId(uuid7()), NOON)),
    ):
        with pytest.raises(NotTripMember):
            await refused


async def test_daily_partitions_are_created_ahead_and_for_late_points_and_dropped(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    minutes = [day * 1440 for day in (-29, -3, 0, 2)]
    for minute in minutes:
        await scenario.send(trip, ana, minute=minute, received=max(minute, 0))
    # Today, the days ahead and the days of the two late points.
    days = await partitions_after_retention(scenario, NOON)
    assert {day(n) for n in (-29, -3, *range(DAYS_AHEAD + 1))} <= days
    assert await scenario.minutes(trip, ana) == minutes
    assert await unassigned(scenario) == 0
    assert await partitions_after_retention(scenario, NOON) == days
    await scenario.send(trip, ana, minute=-5 * 1440, received=2 * 1440)
    assert await scenario.minutes(trip, ana) == sorted([*minutes, -5 * 1440])
    days = await partitions_after_retention(scenario, NOON + 5 * DAY)
    assert {day(n) for n in (-5, -3, *range(DAYS_AHEAD + 6))} <= days
    assert day(-29) not in days
    assert await scenario.minutes(trip, ana) == [-5 * 1440, *minutes[1:]]


async def test_points_and_views_are_deleted_after_thirty_days(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    retention = PostgresRetention(scenario.db.pool)
    views = PostgresPositionViews(scenario.db.pool)
    await scenario.send(trip, ana)
    await views.record(trip, [ben], [ana], now=NOON)
    await views.record(trip, [ben], [ana], now=NOON + HOUR)
    await retention.delete_positions(NOON + 30 * DAY)
    assert await scenario.minutes(trip, ana) == [0]
    assert len(await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, offset=0)) == 2
    await retention.delete_positions(NOON + 30 * DAY + MINUTE)
    assert [view.hour for view in await views.list_for_owner(Access(trip, ana, MEMBER), limit=10, offset=0)] == [
        NOON + HOUR
    ]
    await retention.delete_positions(NOON + 31 * DAY)
    assert await scenario.minutes(trip, ana) == []


def day(number: int) -> str:
    return f"{NOON + number * DAY:%Y%m%d}"


async def partitions_after_retention(scenario: Scenario, now: datetime) -> set[str]:
    """The partitions after the schedule has run, which returns the number of created and dropped ones.

    Migrations create partitions from the current date on, so no partition may be assumed present or missing.
    """
    before = await partitions(scenario)
    changed = await PostgresRetention(scenario.db.pool).delete_positions(now)
    after = await partitions(scenario)
    assert changed == len(before ^ after)
    return after


async def partitions(scenario: Scenario) -> set[str]:
    return {row["day"] for row in await scenario.db.pool.fetch(_DAYS)}


async def unassigned(scenario: Scenario) -> int:
    [row] = await scenario.db.pool.fetch(_UNASSIGNED)
    return int(row["count"])


_DAYS = compile_statement(
    "days",
    """SELECT right(c.relname, 8) AS day FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
       WHERE i.inhparent = 'location_history'::regclass AND c.relname ~ '_[0-9]{8}$'""",
)
_UNASSIGNED = compile_statement("waiting", "SELECT count(*) AS count FROM location_history_other")
