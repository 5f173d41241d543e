"""Who heard a position live: each view once an hour, nobody their own, nothing lost to an outage, and bounded."""

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
from nomadcrew.hosts.machine.sockets.view_log import PositionViewBuffer
from nomadcrew.settings import Settings
from tests.fakes import ANA, BEN, NOON, SetClock, Untouchable, fake_ports
from tests.sockets import Seat

CLEO = UserId(uuid7())
TRIP, OTHER = TripId(uuid7()), TripId(uuid7())
HOUR = timedelta(hours=1)


class Ledger:
    """`PositionViews` that remembers what it is asked to keep, and can be away after so many."""

    def __init__(self) -> None:
        self.noted: list[tuple[TripId, set[UserId], list[UserId], datetime]] = []
        self.takes = 1_000

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        if len(self.noted) >= self.takes:
            raise Unavailable
        self.noted.append((trip_id, set(viewers), list(owners), now))

    async def list_for_owner(self, access: Access, **_: Any) -> Sequence[Any]:
        raise NotImplementedError


class Stage:
    def __init__(self, **given: int) -> None:
        self.ledger, self.clock = Ledger(), SetClock()
        self.heard = PositionViewBuffer(self.ledger, self.clock, **given)

    async def noted(self) -> list[tuple[TripId, set[UserId], list[UserId], datetime]]:
        await self.heard.flush()
        noted, self.ledger.noted = self.ledger.noted, []
        return noted


async def test_a_view_is_noted_once_an_hour_however_often_it_is_heard() -> None:
    stage = Stage()
    for _ in range(3):
        stage.heard.record(TRIP, ANA, {ANA, BEN})
    assert await stage.noted() == [(TRIP, {BEN}, [ANA], NOON)]
    stage.clock.advance(3599)
    stage.heard.record(TRIP, ANA, {ANA, BEN, CLEO})
    stage.heard.record(OTHER, ANA, {BEN})
    assert await stage.noted() == [(TRIP, {CLEO}, [ANA], NOON), (OTHER, {BEN}, [ANA], NOON)]
    stage.clock.advance(1)
    stage.heard.record(TRIP, ANA, {ANA, BEN})
    assert await stage.noted() == [(TRIP, {BEN}, [ANA], NOON + HOUR)]


async def test_who_hears_nobody_but_themselves_is_noted_nowhere() -> None:
    stage = Stage()
    stage.heard.record(TRIP, ANA, {ANA})
    assert await stage.noted() == []


async def test_what_was_heard_before_the_hour_was_full_is_of_that_hour() -> None:
    stage = Stage()
    stage.heard.record(TRIP, ANA, {BEN})
    stage.clock.advance(3600)
    stage.heard.record(TRIP, ANA, {BEN})
    assert await stage.noted() == [(TRIP, {BEN}, [ANA], NOON), (TRIP, {BEN}, [ANA], NOON + HOUR)]


async def test_what_an_outage_keeps_from_being_noted_waits() -> None:
    stage = Stage()
    stage.ledger.takes = 1
    stage.heard.record(TRIP, ANA, {BEN})
    stage.heard.record(TRIP, BEN, {ANA})
    with pytest.raises(Unavailable):
        await stage.heard.flush()
    stage.heard.record(TRIP, BEN, {CLEO})
    stage.ledger.takes = 2
    assert await stage.noted() == [(TRIP, {BEN}, [ANA], NOON), (TRIP, {ANA, CLEO}, [BEN], NOON)]
    assert await stage.noted() == []


async def test_what_is_heard_while_it_is_noted_is_noted_next() -> None:
    stage = Stage()

    class Chatty(Ledger):
        async def record(self, *given: Any, now: datetime) -> None:
            await super().record(*given, now=now)
            stage.heard.record(TRIP, ANA, {BEN, CLEO})

    ledger = Chatty()
    stage.heard = PositionViewBuffer(ledger, stage.clock)
    stage.heard.record(TRIP, ANA, {BEN})
    await stage.heard.flush()
    await stage.heard.flush()
    await stage.heard.flush()
    assert [viewers for _, viewers, _, _ in ledger.noted] == [{BEN}, {CLEO}]


async def test_what_waits_is_bounded_and_what_is_left_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(most=2)
    stage.ledger.takes = 0
    for _ in range(3):
        stage.heard.record(TRIP, ANA, {BEN, CLEO})
        stage.heard.record(OTHER, ANA, {BEN, CLEO})
    stage.ledger.takes = 9
    with caplog.at_level(logging.WARNING):
        assert await stage.noted() == [(TRIP, {BEN, CLEO}, [ANA], NOON)]
    assert [record.message for record in caplog.records] == ["Views not recorded"]
    stage.heard.record(OTHER, ANA, {BEN})
    assert await stage.noted() == [(OTHER, {BEN}, [ANA], NOON)]


async def test_the_front_of_a_host_notes_what_its_sockets_heard_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "VIEWS_S", 0.01)
    ledger, hub = Ledger(), Hub()
    pool = cast(Database, Untouchable("pool"))
    files = DiskFiles(tmp_path, ["secret"], base="/v1/files/")
    front = RequestServer(Settings(), pool, hub, fake_ports(position_views=ledger, files=files), Metrics())
    hub.add(Seat(BEN).socket)
    hub.deliver("a position", [ANA, BEN], TRIP, ANA)
    tasks = start_tasks({"views": front.loops()["views"]})
    while not ledger.noted:
        await asyncio.sleep(0.01)
    await cancel_tasks(tasks)
    hub.deliver("a position", [ANA, BEN], OTHER, ANA)
    ledger.takes = 1
    await front.finish()
    ledger.takes = 2
    await front.finish()
    assert [(trip_id, viewers, owners) for trip_id, viewers, owners, _ in ledger.noted] == [
        (TRIP, {BEN}, [ANA]), (OTHER, {BEN}, [ANA])
    ]  # fmt: skip
