"""Live views of positions: recorded hourly per viewer, never for the owner, bounded, retained in an outage."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from nomadcrew.adapters.machine.disk_files import DiskFiles
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.hosts.machine import services as machine
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.services import RequestServer, cancel_tasks, start_tasks
from nomadcrew.hosts.machine.sockets.hub import Hub
from nomadcrew.hosts.machine.sockets.position_views import PositionViewBuffer
from nomadcrew.settings import Settings
from tests.fake_sockets import FakeSocket
from tests.fakes import ANA, BEN, NOON, SetClock, UnexpectedPort, fake_ports

CLEO = UserId(uuid7())
TRIP, OTHER = TripId(uuid7()), TripId(uuid7())
HOUR = timedelta(hours=1)


class RecordingViews:
    """`PositionViews` that records views, and is unavailable after `takes` of them."""

    def __init__(self) -> None:
        self.noted: list[tuple[TripId, set[UserId], list[UserId], datetime]] = []
        self.capacity = 1_000

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        if len(self.noted) >= self.capacity:
            raise Unavailable
        self.noted.append((trip_id, set(viewers), list(owners), now))

    async def list_for_owner(self, access: Access, **_: Any) -> Sequence[Any]:
        raise NotImplementedError


class Scenario:
    def __init__(self, **given: int) -> None:
        self.views, self.clock = RecordingViews(), SetClock()
        self.heard = PositionViewBuffer(self.views, self.clock, **given)

    async def noted(self) -> list[tuple[TripId, set[UserId], list[UserId], datetime]]:
        await self.heard.flush()
        noted, self.views.noted = self.views.noted, []
        return noted


async def test_a_view_is_recorded_once_an_hour() -> None:
    scenario = Scenario()
    for _ in range(3):
        scenario.heard.record(TRIP, ANA, {ANA, BEN})
    assert await scenario.noted() == [(TRIP, {BEN}, [ANA], NOON)]
    scenario.clock.advance(3599)
    scenario.heard.record(TRIP, ANA, {ANA, BEN, CLEO})
    scenario.heard.record(OTHER, ANA, {BEN})
    assert await scenario.noted() == [(TRIP, {CLEO}, [ANA], NOON), (OTHER, {BEN}, [ANA], NOON)]
    scenario.clock.advance(1)
    scenario.heard.record(TRIP, ANA, {ANA, BEN})
    assert await scenario.noted() == [(TRIP, {BEN}, [ANA], NOON + HOUR)]


async def test_a_view_of_the_own_position_is_not_recorded() -> None:
    scenario = Scenario()
    scenario.heard.record(TRIP, ANA, {ANA})
    assert await scenario.noted() == []


async def test_a_view_belongs_to_the_hour_in_which_it_happened() -> None:
    scenario = Scenario()
    scenario.heard.record(TRIP, ANA, {BEN})
    scenario.clock.advance(3600)
    scenario.heard.record(TRIP, ANA, {BEN})
    assert await scenario.noted() == [(TRIP, {BEN}, [ANA], NOON), (TRIP, {BEN}, [ANA], NOON + HOUR)]


async def test_views_wait_during_an_outage() -> None:
    scenario = Scenario()
    scenario.views.capacity = 1
    scenario.heard.record(TRIP, ANA, {BEN})
    scenario.heard.record(TRIP, BEN, {ANA})
    with pytest.raises(Unavailable):
        await scenario.heard.flush()
    scenario.heard.record(TRIP, BEN, {CLEO})
    scenario.views.capacity = 2
    assert await scenario.noted() == [(TRIP, {BEN}, [ANA], NOON), (TRIP, {ANA, CLEO}, [BEN], NOON)]
    assert await scenario.noted() == []


async def test_a_view_during_a_flush_is_recorded_by_the_next() -> None:
    scenario = Scenario()

    class ViewsDuringFlush(RecordingViews):
        async def record(self, *given: Any, now: datetime) -> None:
            await super().record(*given, now=now)
            scenario.heard.record(TRIP, ANA, {BEN, CLEO})

    views = ViewsDuringFlush()
    scenario.heard = PositionViewBuffer(views, scenario.clock)
    scenario.heard.record(TRIP, ANA, {BEN})
    await scenario.heard.flush()
    await scenario.heard.flush()
    await scenario.heard.flush()
    assert [viewers for _, viewers, _, _ in views.noted] == [{BEN}, {CLEO}]


async def test_pending_views_are_bounded_and_dropped_ones_logged(caplog: pytest.LogCaptureFixture) -> None:
    scenario = Scenario(most=2)
    scenario.views.capacity = 0
    for _ in range(3):
        scenario.heard.record(TRIP, ANA, {BEN, CLEO})
        scenario.heard.record(OTHER, ANA, {BEN, CLEO})
    scenario.views.capacity = 9
    with caplog.at_level(logging.WARNING):
        assert await scenario.noted() == [(TRIP, {BEN, CLEO}, [ANA], NOON)]
    assert [record.message for record in caplog.records] == ["Views not recorded"]
    scenario.heard.record(OTHER, ANA, {BEN})
    assert await scenario.noted() == [(OTHER, {BEN}, [ANA], NOON)]


async def test_the_host_records_views_regularly_and_at_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "VIEWS_S", 0.01)
    views, hub = RecordingViews(), Hub()
    pool = cast(Database, UnexpectedPort("pool"))
    files = DiskFiles(tmp_path, ["secret"], base="/v1/files/")
    front = RequestServer(Settings(), pool, hub, fake_ports(position_views=views, files=files), Metrics())
    hub.add(FakeSocket(BEN).socket)
    hub.deliver("a position", [ANA, BEN], TRIP, ANA)
    tasks = start_tasks({"views": front.loops()["views"]})
    while not views.noted:
        await asyncio.sleep(0.01)
    await cancel_tasks(tasks)
    hub.deliver("a position", [ANA, BEN], OTHER, ANA)
    views.capacity = 1
    await front.finish()
    views.capacity = 2
    await front.finish()
    assert [(trip_id, viewers, owners) for trip_id, viewers, owners, _ in views.noted] == [
        (TRIP, {BEN}, [ANA]), (OTHER, {BEN}, [ANA])
    ]  # fmt: skip
