"""Views are recorded once an hour, and again after an outage."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import pytest

from nomadcrew.core.access import Access
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.core.locations.model import View
from nomadcrew.core.pages import After
from nomadcrew.hosts.machine.recorded_views import RecordedViews
from tests.fakes import ANA, BEN, NOON

EVE = UserId(uuid7())
TRIP = TripId(uuid7())


class Views:
    """Records calls; `is_down` fails them."""

    def __init__(self) -> None:
        self.calls: list[tuple[set[UserId], datetime]] = []
        self.is_down = False

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        if self.is_down:
            raise Unavailable
        self.calls.append((set(owners), now))

    async def list_for_owner(
        self, access: Access, *, limit: int, offset: int = 0, after: After | None = None
    ) -> Sequence[View]:
        return []


async def test_a_view_is_recorded_once_an_hour() -> None:
    views = Views()
    recorded = RecordedViews(views)
    for minutes, owners in ((0, {BEN}), (1, {BEN}), (2, {ANA, BEN}), (3, {BEN, EVE}), (60, {BEN}), (61, {BEN})):
        await recorded.record(TRIP, [ANA], owners, now=NOON + timedelta(minutes=minutes))
    assert views.calls == [
        ({BEN}, NOON),
        ({BEN, EVE}, NOON + timedelta(minutes=3)),
        ({BEN}, NOON + timedelta(minutes=60)),
    ]


async def test_views_of_other_trips_and_viewers_are_others() -> None:
    views = Views()
    recorded = RecordedViews(views)
    await recorded.record(TRIP, [ANA], [BEN], now=NOON)
    await recorded.record(TripId(uuid7()), [ANA], [BEN], now=NOON)
    await recorded.record(TRIP, [EVE], [BEN], now=NOON)
    assert len(views.calls) == 3


async def test_a_view_that_an_outage_prevented_is_recorded_later() -> None:
    views = Views()
    recorded = RecordedViews(views)
    views.is_down = True
    with pytest.raises(Unavailable):
        await recorded.record(TRIP, [ANA], [BEN], now=NOON)
    views.is_down = False
    await recorded.record(TRIP, [ANA], [BEN], now=NOON)
    assert len(views.calls) == 1


async def test_the_number_of_remembered_views_is_bounded() -> None:
    views = Views()
    recorded = RecordedViews(views, most=2)
    for owner in (BEN, EVE, UserId(uuid7()), BEN):
        await recorded.record(TRIP, [ANA], [owner], now=NOON)
    assert len(views.calls) == 4
