"""From sockets to presence: short absences are ignored, changes are batched, and last-seen times are stored."""

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
from tests.fakes import ANA, BEN, NOON, CountingIds, RecordingBroadcaster, SetClock

TRIP = TripId(uuid7())


class Table:
    """Fakes the statements of presence: all users share one trip, and none is a ghost."""

    def __init__(self) -> None:
        self.stored: list[dict[str, object]] = []
        self.queries: list[list[str]] = []
        self.away = False

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        if self.away:
            raise Unavailable
        if statement.name == "keep":
            stored = json.loads(str(params["seen"]))
            self.stored += [row | {"seen_at": datetime.fromisoformat(row["seen_at"])} for row in stored]
            return []
        user_ids = json.loads(str(params["user_ids"]))
        self.queries.append(user_ids)
        rows: Iterable[dict[str, object]] = (
            {"trip_id": TRIP, "user_id": UserId(user_id), "seen_at": None} for user_id in map(_uuid, user_ids)
        )
        return list(rows)

    def transaction(self) -> object:
        raise AssertionError("presence uses no transaction")


def _uuid(text: str) -> UserId:
    return next(user_id for user_id in (ANA, BEN) if str(user_id) == text)


class Scenario:
    def __init__(self, *, grace_s: float = 0.05) -> None:
        self.table, self.broadcaster, self.clock = Table(), RecordingBroadcaster(), SetClock()
        self.presence = PostgresPresence(self.table)  # type: ignore[arg-type]
        self.changes: list[tuple[UserId, bool]] = []
        self.teller = PresenceAnnouncer(
            self.presence, self.broadcaster, clock=self.clock, new_id=CountingIds(),
            on_change=lambda user_id, online: self.changes.append((user_id, online)), grace_s=grace_s,
        )  # fmt: skip

    async def round(self) -> None:
        """Run the teller's loop once."""
        beaten = asyncio.Event()
        task = asyncio.create_task(self.teller.run(beaten.set))
        await beaten.wait()
        await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await task

    def broadcast_changes(self) -> list[tuple[str, bool]]:
        events, self.broadcaster.events = self.broadcaster.events, []
        return [(payload["userId"], payload["isOnline"]) for payload in (json.loads(e.payload) for e in events)]


async def test_connecting_users_are_online_at_once_and_broadcast_together() -> None:
    scenario = Scenario()
    scenario.teller.person(ANA, True)
    scenario.teller.person(BEN, True)
    assert set(scenario.presence.online()) == {ANA, BEN}
    await scenario.round()
    assert scenario.broadcast_changes() == [(str(ANA), True), (str(BEN), True)]
    assert len(scenario.table.queries) == 1
    await scenario.round()
    assert scenario.broadcast_changes() == []


async def test_a_change_that_no_user_hears_is_not_announced_later() -> None:
    scenario = Scenario()
    scenario.broadcaster.listeners = False
    scenario.teller.person(ANA, True)
    await scenario.round()
    scenario.broadcaster.listeners = True
    await scenario.round()
    assert (scenario.table.queries, scenario.broadcast_changes()) == ([], [])
    assert [row["user_id"] for row in scenario.table.stored] == [str(ANA)]


async def test_a_quick_reconnect_is_invisible() -> None:
    scenario = Scenario()
    scenario.teller.person(ANA, True)
    await scenario.round()
    scenario.broadcast_changes()
    scenario.teller.person(ANA, False)
    assert list(scenario.presence.online()) == [ANA]
    scenario.teller.person(ANA, True)
    await asyncio.sleep(0.1)
    await scenario.round()
    assert list(scenario.presence.online()) == [ANA]
    assert scenario.broadcast_changes() == []
    assert scenario.changes == [(ANA, True)]


async def test_a_user_who_stays_away_is_offline_since_the_disconnect() -> None:
    scenario = Scenario()
    scenario.teller.person(ANA, True)
    await scenario.round()
    scenario.broadcast_changes()
    scenario.teller.person(ANA, False)
    left_at: datetime = scenario.clock.now
    scenario.clock.advance(120)
    await asyncio.sleep(0.1)
    await scenario.round()
    assert scenario.broadcast_changes() == [(str(ANA), False)]
    assert scenario.changes == [(ANA, True), (ANA, False)]
    assert scenario.table.stored[-1] == {"user_id": str(ANA), "seen_at": left_at}


async def test_an_outage_loses_neither_broadcasts_nor_rows() -> None:
    scenario = Scenario()
    scenario.table.away = True
    scenario.teller.person(ANA, True)
    await scenario.round()
    assert scenario.broadcast_changes() == []
    scenario.table.away = False
    await scenario.round()
    assert scenario.broadcast_changes() == [(str(ANA), True)]
    assert scenario.table.stored == [{"user_id": str(ANA), "seen_at": NOON}]


async def test_at_the_end_the_last_seen_times_are_stored() -> None:
    scenario = Scenario(grace_s=60)
    scenario.teller.person(ANA, True)
    scenario.teller.person(BEN, True)
    await scenario.round()
    scenario.teller.person(BEN, False)
    scenario.clock.advance(180)
    await scenario.teller.finish()
    stored = {row["user_id"]: row["seen_at"] for row in scenario.table.stored}
    assert stored == {str(ANA): scenario.clock.now, str(BEN): NOON}
    scenario.table.away = True
    await scenario.teller.finish()
