"""`Positions`, and the effects of sharing on it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.last_positions import DynamoLastPositions
from nomadcrew.adapters.aws.dynamodb.location_history import DynamoLocationHistory
from nomadcrew.adapters.aws.positions import DynamoPositions, DynamoStreamedPositions
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.locations import PostgresLocationSharing, PostgresPositionViews
from nomadcrew.adapters.postgres.positions import PostgresLocationHistory, PostgresPositions
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.sql import compile_statement, statements
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotFound, NotOnboarded, NotTripMember, Unavailable
from nomadcrew.core.ids import EventId, TripId, UserId, uuid7
from nomadcrew.core.locations import service
from nomadcrew.core.locations.geometry import distance_m
from nomadcrew.core.locations.model import MAX_READ, Accepted, Owner, Point, Privacy, Report, Sharing, StoredPoint
from nomadcrew.core.locations.ports import LocationHistory, Positions, StreamedPositions
from nomadcrew.core.locations.privacy import privacy_when_reported
from nomadcrew.core.locations.reports import ReportedPosition, SharingChoice, batch, single
from nomadcrew.core.permissions import MEMBER, OWNER
from nomadcrew.core.trips.model import Status, TripChange
from nomadcrew.core.users.ports import ProfileChange
from nomadcrew.wire.location_records import record_of
from tests.contract.cloud import Cloud
from tests.contract.conftest import DRIVERS, sql_over
from tests.contract.trip_database import TripDb
from tests.fakes import NOON
from tests.postgres import Postgres

CHANGED = "LOCATION_SHARING_CHANGED"
PORTO = (41.15, -8.61)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
TABLES = ("dynamodb", "aurora")  # by the store of the history


class Scenario:
    """Reports of positions on a trip, in minutes after noon."""

    def __init__(self, db: TripDb, positions: Positions, kept: StreamedPositions | None = None) -> None:
        """`kept` is the consumer of the location stream, where there is one."""
        self.db = db
        self.positions = positions
        self._kept = kept
        self.sharing = PostgresLocationSharing(db.pool)

    async def accept(self, report: Report) -> Accepted:
        accepted = await self.positions.accept(report, MEMBER)
        if self._kept is not None:
            await self._kept.store([record_of(report, accepted)])
        return accepted

    async def send(
        self,
        trip: TripId,
        user: UserId,
        at: tuple[float, float] = PORTO,
        *,
        minute: float = 0,
        received: float | None = None,
        privacy: Privacy = Privacy.PRECISE,
        is_enabled: bool | None = None,
        lasts_s: int | None = None,
        **measured: float,
    ) -> Accepted:
        """Report a position of a minute after noon. Default of `received`: the same minute."""
        now = NOON + MINUTE * (minute if received is None else received)
        fix = ReportedPosition(*at, NOON + MINUTE * minute, privacy, **measured)
        report = single(trip, user, fix, SharingChoice(is_enabled, lasts_s), EventId(uuid7()), now=now)
        return await self.accept(report)

    async def send_all(
        self, trip: TripId, user: UserId, points: Sequence[tuple[float, tuple[float, float]]], *, now: float = 60
    ) -> Accepted:
        """Report positions of minutes after noon in one batch."""
        fixes = [ReportedPosition(*at, NOON + MINUTE * minute, Privacy.PRECISE) for minute, at in points]
        report, _ = batch(trip, user, fixes, SharingChoice(), EventId(uuid7()), now=NOON + MINUTE * now)
        return await self.accept(report)

    async def last(self, trip: TripId, user: UserId, *, by: UserId | None = None) -> StoredPoint | None:
        crew = await self.positions.members_with_positions(Access(trip, by or user, MEMBER))
        return next(one.last for one in crew.members if one.owner.user_id == user)

    async def owner(self, trip: TripId, user: UserId) -> Owner:
        crew = await self.positions.members_with_positions(Access(trip, user, MEMBER))
        return next(one.owner for one in crew.members if one.owner.user_id == user)

    async def minutes(
        self, trip: TripId, user: UserId, *, start: float = -50_000, end: float = 50_000
    ) -> list[float]:
        """The times of a track's points, in minutes after noon."""
        track = await self.positions.track(
            Access(trip, user, MEMBER), user, start=NOON + MINUTE * start, end=NOON + MINUTE * end
        )
        return [(point.recorded_at - NOON) / MINUTE for point in track.points]

    async def sharing_events(self) -> list[tuple[UserId, bool]]:
        return [
            (event["actor"], event["payload"]["isSharingEnabled"])
            for event in await self.db.events()
            if event["type"] == CHANGED
        ]

    async def end_trip(self, trip: TripId, owner: UserId, *, now: datetime = NOON) -> None:
        await PostgresTrips(self.db.pool).change(
            Access(trip, owner, OWNER),
            TripChange(status=Status.CANCELLED),
            must_move=True,
            event_ids=(EventId(uuid7()), EventId(uuid7())),
            now=now,
        )

    async def prefer(self, user: UserId, *, minute: float = 0, ghost: bool | None = None, **change: Any) -> None:
        profiles, now = PostgresProfiles(self.db.pool), NOON + MINUTE * minute
        if ghost is not None:
            await profiles.merge_preferences(user, {"ghostMode": ghost}, user, is_admin=False, now=now)
        if change:
            await profiles.change(user, ProfileChange(**change), user, is_admin=False, now=now)


@pytest_asyncio.fixture(loop_scope="session", params=[*DRIVERS, *TABLES])
async def scenario(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> AsyncIterator[Scenario]:
    """Positions in one database, over each driver; and in DynamoDB, with two stores for the history."""
    driver = request.param if request.param in DRIVERS else "data-api"
    async with sql_over(driver, request, postgres, template) as sql:
        if request.param in DRIVERS:
            yield Scenario(TripDb(sql), PostgresPositions(sql))
            return
        cloud: Cloud = request.getfixturevalue("cloud")
        dynamodb = cloud.client(DYNAMODB)
        last = DynamoLastPositions(dynamodb, await cloud.positions_table())
        history: LocationHistory = PostgresLocationHistory(sql)
        if request.param == "dynamodb":
            history = DynamoLocationHistory(dynamodb, await cloud.history_table())
        yield Scenario(
            TripDb(sql), DynamoPositions(sql, last, history), DynamoStreamedPositions(sql, last, history)
        )


async def two_members(scenario: Scenario) -> tuple[TripId, UserId, UserId]:
    ana, ben = await scenario.db.user("ana"), await scenario.db.user("ben")
    trip = await scenario.db.trip(ana)
    await scenario.db.join(trip, ben, ana)
    return trip, ana, ben


async def test_a_reported_position_is_readable_at_once(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    accepted = await scenario.send(trip, ana, (0.0, 0.0), accuracy_m=0.0, speed_mps=1.5, heading_deg=90.0)
    last = StoredPoint(0.0, 0.0, NOON, NOON, Privacy.PRECISE, 0.0, 1.5, 90.0)
    assert accepted.moved
    assert (accepted.member.last, accepted.stored_under, accepted.jumps) == (last, [Privacy.PRECISE], frozenset())
    assert accepted.member.name == "ana"
    assert accepted.arrival_state.destination == PORTO
    assert await scenario.last(trip, ana, by=ben) == last
    assert await scenario.last(trip, ben) is None
    track = await scenario.positions.track(Access(trip, ben, MEMBER), ana, start=NOON, end=NOON + MINUTE)
    assert track.points == [last]
    assert track.owner == accepted.member.owner == await scenario.owner(trip, ana)


@pytest.mark.contract("rest-activity.locations.fix-one-row")
async def test_a_last_position_only_moves_forward_in_recorded_time(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, (41.1, -8.6), minute=10)
    late = await scenario.send(trip, ana, (41.0, -8.6), minute=5, received=11)
    assert not late.moved
    assert (await scenario.last(trip, ana)) == replace(
        StoredPoint(41.1, -8.6, NOON, NOON, Privacy.PRECISE),
        recorded_at=NOON + 10 * MINUTE,
        received_at=NOON + 10 * MINUTE,
    )
    assert await scenario.minutes(trip, ana) == [5, 10]


async def test_a_repeated_report_changes_nothing(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    points = [(float(minute), (41.0 + minute / 1000, -8.6)) for minute in (3, 1, 2)]
    for _ in range(3):
        await scenario.send_all(trip, ana, points)
    assert await scenario.minutes(trip, ana) == [1, 2, 3]
    assert (await scenario.sharing_events()) == [(ana, True)]


async def test_points_are_accepted_in_any_order_and_the_newest_is_the_last_position(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    accepted = await scenario.send_all(
        trip, ana, [(m, (41 + m / 1000, -8.6)) for m in (7, 50, 3, 40_000 - 40_010, 12)]
    )
    assert accepted.moved
    assert accepted.member.last is not None
    assert accepted.member.last.recorded_at == NOON + 50 * MINUTE
    assert await scenario.minutes(trip, ana) == [-10, 3, 7, 12, 50]


async def test_an_impossible_jump_is_not_shown(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, PORTO)
    jump = await scenario.send(trip, ana, (48.85, 2.35), minute=1)
    assert not jump.moved
    assert jump.jumps == {0}
    assert (await scenario.last(trip, ana)) == StoredPoint(*PORTO, NOON, NOON, Privacy.PRECISE)
    near = await scenario.send(trip, ana, (41.2, -8.61), minute=2)
    assert near.moved
    assert await scenario.minutes(trip, ana) == [0, 2]
    after_flight = await scenario.send(trip, ana, (48.85, 2.35), minute=90)
    assert after_flight.moved


PARIS = (48.85, 2.35)


async def test_one_wrong_fix_is_outvoted_by_three_that_agree(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, PARIS)
    outcomes = [await scenario.send(trip, ana, (41.15, -8.61 + n / 1000), minute=1 + n) for n in range(4)]
    assert [(one.moved, one.jumps) for one in outcomes] == [
        (False, {0}), (False, {0}), (True, frozenset()), (True, frozenset())
    ]  # fmt: skip
    last = await scenario.last(trip, ana)
    assert last is not None
    assert last.longitude == pytest.approx(-8.607)
    assert await scenario.minutes(trip, ana) == [0, 3, 4]


async def test_a_batch_of_three_outvotes_alone_and_two_wait_for_a_third(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    for user in (ana, ben):
        await scenario.send(trip, user, PARIS)
    three = await scenario.send_all(trip, ana, [(1, PORTO), (2, PORTO), (3, PORTO)])
    assert (three.moved, three.jumps) == (True, frozenset())
    two = await scenario.send_all(trip, ben, [(1, PORTO), (2, PORTO)])
    assert (two.moved, two.jumps) == (False, frozenset({0, 1}))
    third = await scenario.send(trip, ben, minute=3)
    assert (third.moved, third.jumps) == (True, frozenset())


async def test_fixes_that_disagree_with_one_another_outvote_nothing(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, PARIS)
    places = [PORTO, (0.0, 0.0), PORTO, (0.0, 0.0), PORTO, PARIS, PORTO, PORTO]
    outcomes = [await scenario.send(trip, ana, at, minute=1 + n) for n, at in enumerate(places)]
    assert [one.moved for one in outcomes] == [False] * 5 + [True, False, False]


@pytest.mark.parametrize("how", ["report", "settings", "ghost"])
async def test_hiding_and_showing_again_forgets_a_wrong_fix(scenario: Scenario, how: str) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, PARIS)
    for is_enabled, minute in ((False, 1), (True, 2)):
        if how == "report":
            at = PARIS if not is_enabled else PORTO
            await scenario.send(trip, ana, at, minute=minute, is_enabled=is_enabled)
        elif how == "ghost":
            await scenario.prefer(ana, minute=minute, ghost=not is_enabled)
        else:
            await scenario.sharing.change_sharing(
                Command(trip, ana, MEMBER, EventId(uuid7()), NOON + MINUTE * minute),
                is_enabled=is_enabled,
                expires_at=None,
                privacy=None,
                keep_privacy=True,
            )
    accepted = await scenario.send(trip, ana, minute=3)
    assert (accepted.moved, accepted.jumps) == (True, frozenset())


async def test_a_jump_in_a_batch_is_found_in_any_order(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    accepted = await scenario.send_all(trip, ana, [(3, (41.03, -8.6)), (2, (10.0, 10.0)), (1, (41.01, -8.6))])
    assert accepted.jumps == {1}
    assert await scenario.minutes(trip, ana) == [1, 3]


async def test_positions_of_the_same_moment_have_no_speed(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, PORTO)
    assert (await scenario.send(trip, ana, (41.152, -8.61), minute=0.001)).moved


async def test_the_first_report_enables_sharing_and_later_ones_leave_it(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    assert (await scenario.owner(trip, ana)).sharing is None
    await scenario.send(trip, ana)
    assert (await scenario.owner(trip, ana)).sharing == Sharing(is_enabled=True)
    off = await scenario.send(trip, ana, minute=1, is_enabled=False)
    assert off.stored_under == [Privacy.HIDDEN]
    still = await scenario.send(trip, ana, minute=2)
    assert still.stored_under == [Privacy.HIDDEN]
    again = await scenario.send(trip, ana, minute=3, is_enabled=True)
    assert again.stored_under == [Privacy.PRECISE]
    assert await scenario.sharing_events() == [(ana, True), (ana, False), (ana, True)]
    assert await scenario.minutes(trip, ana) == [0, 3]


@pytest.mark.contract("rest-activity.locations.fix-expiry")
async def test_sharing_with_an_expiry_ends_and_is_not_extended_by_reports(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana, lasts_s=600)
    until = NOON + 10 * MINUTE
    assert (await scenario.owner(trip, ana)).sharing == Sharing(is_enabled=True, expires_at=until)
    going_on = await scenario.send(trip, ana, minute=9, is_enabled=True)
    assert going_on.member.owner.sharing == Sharing(is_enabled=True, expires_at=until)
    assert (await scenario.send(trip, ana, minute=10)).stored_under == [Privacy.HIDDEN]
    assert (await scenario.send(trip, ana, minute=11, is_enabled=True)).stored_under == [Privacy.PRECISE]
    assert (await scenario.owner(trip, ana)).sharing == Sharing(is_enabled=True)


@pytest.mark.parametrize("how", ["asked", "setting", "preference", "ghost", "off", "ended"])
async def test_a_hidden_position_has_no_history_and_is_visible_to_its_owner_only(
    scenario: Scenario, how: str
) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana)
    if how == "setting":
        await scenario.sharing.change_sharing(
            Command(trip, ana, MEMBER, EventId(uuid7()), NOON),
            is_enabled=None,
            expires_at=None,
            privacy="hidden",
            keep_privacy=False,
        )
    elif how == "preference":
        await scenario.prefer(ana, location_privacy_preference="hidden")
    elif how == "ghost":
        await scenario.prefer(ana, ghost=True)
    elif how == "ended":
        await scenario.end_trip(trip, ana)
    accepted = await scenario.send(
        trip, ana, minute=1,
        privacy=Privacy.HIDDEN if how == "asked" else Privacy.PRECISE,
        is_enabled=False if how == "off" else None,
    )  # fmt: skip
    assert accepted.stored_under == [Privacy.HIDDEN]
    assert await scenario.minutes(trip, ana) == [0]
    last = await scenario.last(trip, ana)
    assert last is not None
    assert (last.privacy, last.recorded_at) == (Privacy.HIDDEN, NOON + MINUTE)


@pytest.mark.parametrize("how", ["setting", "preference", "ghost", "off", "expired"])
async def test_a_late_point_is_stored_with_the_privacy_of_its_recorded_time(scenario: Scenario, how: str) -> None:
    trip, ana, ben = await two_members(scenario)
    await scenario.send(trip, ana, lasts_s=300 if how == "expired" else None)
    for hides, minute in ((True, 10), (False, 20)):
        if how == "setting":
            await scenario.sharing.change_sharing(
                Command(trip, ana, MEMBER, EventId(uuid7()), NOON + MINUTE * minute),
                is_enabled=None,
                expires_at=None,
                privacy="hidden" if hides else None,
                keep_privacy=False,
            )
        elif how == "preference":
            wanted = "hidden" if hides else "precise"
            await scenario.prefer(ana, minute=minute, location_privacy_preference=wanted)
        elif how == "ghost":
            await scenario.prefer(ana, minute=minute, ghost=hides)
        elif how == "off" or not hides:
            await scenario.send(trip, ana, minute=minute, is_enabled=not hides)
    late = await scenario.send_all(trip, ana, [(minute, PORTO) for minute in (15, 19.9, 20, 25)], now=26)
    assert late.stored_under == [Privacy.HIDDEN, Privacy.HIDDEN, Privacy.PRECISE, Privacy.PRECISE]
    track = await scenario.positions.track(Access(trip, ben, MEMBER), ana, start=NOON, end=NOON + 60 * MINUTE)
    assert [(point.recorded_at - NOON) / MINUTE for point in track.points] == [0, 20, 25]


async def test_enabling_sharing_does_not_reveal_earlier_positions(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana)
    await scenario.send(trip, ana, minute=1, is_enabled=False)
    fixes = [ReportedPosition(*PORTO, NOON + MINUTE * minute, Privacy.PRECISE) for minute in (5, 19, 20)]
    report, _ = batch(trip, ana, fixes, SharingChoice(is_enabled=True), EventId(uuid7()), now=NOON + MINUTE * 20)
    accepted = await scenario.accept(report)
    assert accepted.stored_under == [Privacy.HIDDEN, Privacy.PRECISE, Privacy.PRECISE]
    assert await scenario.minutes(trip, ana) == [0, 19, 20]


async def test_the_sql_function_and_the_code_derive_the_same_privacy(scenario: Scenario) -> None:
    levels = (None, *Privacy)
    for asked, setting, preference, ghost, on, ended in product(
        Privacy, levels, levels, (False, True), (False, True), (False, True)
    ):
        owner = Owner(UserId(uuid7()), NOON, preference, ghost, Sharing(on, setting))
        expected = privacy_when_reported(asked, owner, has_ended=ended, now=NOON)
        [row] = await scenario.db.pool.fetch(
            _GIVEN_UNDER, asked=asked, setting=setting, preference=preference, ghost=ghost, on=on, ended=ended
        )
        assert row["privacy"] == expected, (asked, owner, ended)


async def test_the_sql_function_and_the_code_compute_the_same_distances(scenario: Scenario) -> None:
    for a, b in product([(0.0, 0.0), PORTO, (-33.86, 151.2), (89.9, 10.0)], repeat=2):
        [row] = await scenario.db.pool.fetch(_METRES, a=a[0], b=a[1], c=b[0], d=b[1])
        assert row["metres"] == pytest.approx(distance_m(a, b), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("scenario", TABLES, indirect=True)
@pytest.mark.parametrize("what", ["_sql.fetch", "_last.store_if_newer"])
async def test_a_hiding_report_repeated_after_an_outage_hides_the_last_position(
    scenario: Scenario, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trip, ana, ben = await two_members(scenario)
    await scenario.send(trip, ana, minute=0, is_enabled=True)
    port, _, name = what.partition(".")
    original = getattr(getattr(scenario.positions, port), name)
    statement = "hidden" if port == "_sql" else ""

    async def fails(*asked: Any, **more: Any) -> Any:
        if statement and asked[0] is not statements("locations")[statement]:
            return await original(*asked, **more)
        raise Unavailable

    with monkeypatch.context() as outage:
        outage.setattr(getattr(scenario.positions, port), name, fails)
        with pytest.raises(Unavailable):
            await scenario.send(trip, ana, minute=1, privacy=Privacy.HIDDEN)
    assert (await scenario.send(trip, ana, minute=1, privacy=Privacy.HIDDEN)).has_events
    assert (await scenario.sharing_events())[-1] == (ana, False)
    last = await scenario.last(trip, ana, by=ben)
    assert last is not None
    assert last.privacy is Privacy.HIDDEN


async def test_a_hidden_report_of_the_moment_that_is_shown_hides_it(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    await scenario.send(trip, ana, minute=0)
    for _ in range(2):
        await scenario.send(trip, ana, minute=0, privacy=Privacy.HIDDEN)
        last = await scenario.last(trip, ana, by=ben)
        assert last is not None
        assert last.privacy is Privacy.HIDDEN
    assert await scenario.sharing_events() == [(ana, True), (ana, False)]
    # The same moment does not show it again.
    await scenario.send(trip, ana, minute=0)
    last = await scenario.last(trip, ana, by=ben)
    assert last is not None
    assert last.privacy is Privacy.HIDDEN


async def test_hiding_a_visible_position_is_published_once(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    hidden, precise = Privacy.HIDDEN, Privacy.PRECISE
    published = []
    for minute, privacy in enumerate((hidden, precise, hidden, hidden, precise, Privacy.APPROXIMATE, hidden)):
        accepted = await scenario.send(trip, ana, minute=minute, privacy=privacy)
        published.append(accepted.has_events)
    assert published == [True, False, True, False, False, False, True]
    assert await scenario.sharing_events() == [(ana, True), (ana, False), (ana, False)]
    # A ghost and a member who does not share are hidden already, so nothing is published.
    await scenario.send(trip, ana, minute=10)
    await scenario.prefer(ana, minute=11, ghost=True)
    before = await scenario.sharing_events()
    assert not (await scenario.send(trip, ana, minute=12, privacy=hidden)).has_events
    assert await scenario.sharing_events() == before


async def test_leaving_ends_sharing_permanently(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    await scenario.send(trip, ben, minute=-1)
    await scenario.db.leave(trip, ben, ana)
    assert await scenario.sharing_events() == [(ben, True), (ben, False)]
    with pytest.raises(NotFound):
        await scenario.positions.track(Access(trip, ana, MEMBER), ben, start=NOON, end=NOON + MINUTE)
    assert [
        one.owner.user_id
        for one in (await scenario.positions.members_with_positions(Access(trip, ana, MEMBER))).members
    ] == [ana]
    await scenario.db.join(trip, ben, ana)
    assert await scenario.last(trip, ben) is None
    assert (await scenario.owner(trip, ben)).sharing is None


async def test_the_end_of_a_trip_ends_sharing_and_is_published_for_those_who_shared(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    await scenario.send(trip, ana)
    await scenario.send(trip, ben)
    await scenario.send(trip, ben, minute=1, is_enabled=False)
    await scenario.end_trip(trip, ana)
    assert await scenario.sharing_events() == [(ana, True), (ben, True), (ben, False), (ana, False)]
    assert (await scenario.positions.members_with_positions(Access(trip, ana, MEMBER))).has_ended
    await scenario.send(trip, ana, minute=2, is_enabled=True)
    assert len(await scenario.sharing_events()) == 4
    assert (await scenario.owner(trip, ana)).sharing is None


async def test_hiding_is_published_on_every_trip_with_sharing(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    other = await scenario.db.trip(ana)
    await scenario.send(trip, ana)
    await scenario.prefer(ana, ghost=True)
    await scenario.prefer(ana, minute=1, location_privacy_preference="hidden")
    await scenario.prefer(ana, minute=2, ghost=False)
    await scenario.prefer(ana, minute=3, location_privacy_preference="approximate")
    assert await scenario.sharing_events() == [(ana, True), (ana, False), (ana, True)]
    assert await scenario.last(other, ana) is None


async def test_concurrent_reports_are_independent(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    eve = await scenario.db.user("eve")
    answers = await asyncio.gather(
        *(scenario.send(trip, ana, (41 + n / 10_000, -8.6), minute=n) for n in range(5)),
        scenario.send(trip, eve),
        scenario.send(trip, ben, (1.0, 1.0)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers[:5]] == [Accepted] * 5
    assert isinstance(answers[5], NotTripMember)
    assert await scenario.minutes(trip, ana) == [0, 1, 2, 3, 4]
    ben_last = await scenario.last(trip, ben)
    assert ben_last is not None
    assert (ben_last.latitude, ben_last.longitude) == (1.0, 1.0)


async def test_non_members_former_members_and_unknown_users_are_refused(scenario: Scenario) -> None:
    trip, ana, ben = await two_members(scenario)
    eve = await scenario.db.user("eve")
    await scenario.db.leave(trip, ben, ana)
    for outsider in (ben, eve):
        with pytest.raises(NotTripMember):
            await scenario.send(trip, outsider)
        with pytest.raises(NotTripMember):
            await scenario.positions.members_with_positions(Access(trip, outsider, MEMBER))
        with pytest.raises(NotTripMember):
            await scenario.minutes(trip, outsider)
    with pytest.raises(NotOnboarded):
        await scenario.send(trip, UserId(uuid7()))
    await scenario.db.run("UPDATE trips SET deleted_at = now() WHERE id = :id::uuid", id=trip)
    with pytest.raises(NotFound):
        await scenario.send(trip, ana)


async def test_a_very_long_track_is_thinned_evenly_between_its_ends(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    count = 2 * MAX_READ + 1
    for first in range(0, count, 500):
        points = [
            Point(41 + n / 1e6, -8.6, NOON + n * timedelta(seconds=10), Privacy.PRECISE)
            for n in range(first, min(first + 500, count))
        ]
        report = Report(trip, ana, points, frozenset(), None, None, EventId(uuid7()), NOON + timedelta(days=1))
        await scenario.accept(report)
    minutes = await scenario.minutes(trip, ana)
    assert MAX_READ / 2 <= len(minutes) <= MAX_READ
    assert (minutes[0], minutes[-1]) == (0, (count - 1) / 6)
    gaps = {round((later - earlier) * 6) for earlier, later in pairwise(minutes[:-1])}
    assert len(gaps) == 1


async def test_a_track_outside_the_stored_time_is_empty_and_one_of_all_time_complete(scenario: Scenario) -> None:
    trip, ana, _ = await two_members(scenario)
    await scenario.send(trip, ana)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for start, end, count in ((first, last, 1), (first, first, 0), (last, last, 0), (first, NOON - 2000 * DAY, 0)):
        shown = await service.track(
            trip, ana, ana, start=start, end=end, most=2, positions=scenario.positions,
            views=PostgresPositionViews(scenario.db.pool), now=NOON,
        )  # fmt: skip
        assert len(shown) == count


_GIVEN_UNDER = compile_statement(
    "given_under",
    """SELECT given_under(:asked::text, :setting::text, :preference::text, :ghost::boolean, :on::boolean,
                          :ended::boolean) AS privacy""",
)
_METRES = compile_statement(
    "metres", "SELECT metres_between(:a::float8, :b::float8, :c::float8, :d::float8) AS metres"
)
