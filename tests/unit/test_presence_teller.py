"""From sockets to presence: a moment's absence is none, changes are told together, what is seen is written down."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.sql import Row, Statement
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.hosts.machine.sockets.presence import PresenceAnnouncer
from tests.fakes import ANA, BEN, NOON, CountingIds, SetClock, Told

TRIP = TripId(uuid7())


class Table:
    """What the statements of presence ask and write: everybody shares one trip, nobody is a ghost."""

    def __init__(self) -> None:
        self.kept: list[dict[str, str]] = []
        self.asked: list[list[str]] = []
        self.away = False

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        if self.away:
            raise Unavailable
        if statement.name == "keep":
            kept = json.loads(str(params["seen"]))
            self.kept += kept
            return []
        people = json.loads(str(params["user_ids"]))
        self.asked.append(people)
        rows: Iterable[dict[str, object]] = (
            {"trip_id": TRIP, "user_id": UserId(user_id), "seen_at": None} for user_id in map(_uuid, people)
        )
        return list(rows)

    def transaction(self) -> object:
        raise AssertionError("presence needs none")


def _uuid(text: str) -> UserId:
    return next(user_id for user_id in (ANA, BEN) if str(user_id) == text)


class Stage:
    def __init__(self, *, grace_s: float = 0.05) -> None:
        self.table, self.told, self.clock = Table(), Told(), SetClock()
        self.presence = PostgresPresence(self.table)  # type: ignore[arg-type]
        self.changes: list[tuple[UserId, bool]] = []
        self.teller = PresenceAnnouncer(
            self.presence, self.told, clock=self.clock, new_id=CountingIds(),
            on_change=lambda user_id, online: self.changes.append((user_id, online)), grace_s=grace_s,
        )  # fmt: skip

    async def round(self) -> None:
        """One round of the teller's loop."""
        beaten = asyncio.Event()
        task = asyncio.create_task(self.teller.run(beaten.set))
        await beaten.wait()
        await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await task

    def heard(self) -> list[tuple[str, bool]]:
        events, self.told.events = self.told.events, []
        return [(payload["userId"], payload["isOnline"]) for payload in (json.loads(e.payload) for e in events)]


async def test_somebody_who_comes_is_online_at_once_and_told_with_all_others() -> None:
    stage = Stage()
    stage.teller.person(ANA, True)
    stage.teller.person(BEN, True)
    assert set(stage.presence.online()) == {ANA, BEN}
    await stage.round()
    assert stage.heard() == [(str(ANA), True), (str(BEN), True)]
    assert len(stage.table.asked) == 1
    await stage.round()
    assert stage.heard() == []


async def test_a_reconnect_is_not_seen_by_anybody() -> None:
    stage = Stage()
    stage.teller.person(ANA, True)
    await stage.round()
    stage.heard()
    stage.teller.person(ANA, False)
    assert list(stage.presence.online()) == [ANA]
    stage.teller.person(ANA, True)
    await asyncio.sleep(0.1)
    await stage.round()
    assert list(stage.presence.online()) == [ANA]
    assert stage.heard() == []
    assert stage.changes == [(ANA, True)]


async def test_somebody_who_stays_away_is_told_to_be_gone_since_they_left() -> None:
    stage = Stage()
    stage.teller.person(ANA, True)
    await stage.round()
    stage.heard()
    stage.teller.person(ANA, False)
    left_at: datetime = stage.clock.now
    stage.clock.advance(120)
    await asyncio.sleep(0.1)
    await stage.round()
    assert stage.heard() == [(str(ANA), False)]
    assert stage.changes == [(ANA, True), (ANA, False)]
    assert stage.table.kept[-1] == {"user_id": str(ANA), "seen_at": left_at.isoformat()}


async def test_an_outage_loses_neither_news_nor_rows() -> None:
    stage = Stage()
    stage.table.away = True
    stage.teller.person(ANA, True)
    await stage.round()
    assert stage.heard() == []
    stage.table.away = False
    await stage.round()
    assert stage.heard() == [(str(ANA), True)]
    assert stage.table.kept == [{"user_id": str(ANA), "seen_at": NOON.isoformat()}]


async def test_at_the_end_it_is_written_down_who_was_here_until_then() -> None:
    stage = Stage(grace_s=60)
    stage.teller.person(ANA, True)
    stage.teller.person(BEN, True)
    await stage.round()
    stage.teller.person(BEN, False)
    stage.clock.advance(180)
    await stage.teller.finish()
    kept = {row["user_id"]: row["seen_at"] for row in stage.table.kept}
    assert kept == {str(ANA): stage.clock.now.isoformat(), str(BEN): NOON.isoformat()}
    stage.table.away = True
    await stage.teller.finish()
