"""The pace of the relay."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from typing import cast

from nomadcrew.adapters.postgres.outbox import PostgresOutbox, Published
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.outbox_relay import BATCH, Relay
from nomadcrew.hosts.machine.sockets.hub import Hub
from tests.fakes import SetClock, an_event

HOUR_S = 3_600.0


class ScriptedOutbox:
    """An outbox with batches of these sizes; a write follows during each statement in `followed`."""

    def __init__(self, sizes: list[int], followed: Collection[int] = ()) -> None:
        self._sizes = sizes
        self._followed = followed
        self.statements = 0
        self.progress = asyncio.Event()
        self.relay: Relay

    async def last_position(self) -> int:
        return 0

    async def publish(self, *, limit: int, now: datetime, with_members: bool) -> Published:
        size = self._sizes[self.statements] if self.statements < len(self._sizes) else 0
        first = sum(self._sizes[: self.statements]) + 1
        if self.statements in self._followed:
            self.relay.wake()
        self.statements += 1
        self.progress.set()
        return Published([an_event() for _ in range(size)], range(first, first + size), (), (), {})

    async def reach(self, statements: int) -> None:
        async with asyncio.timeout(5):
            while self.statements < statements:
                await self.progress.wait()
                self.progress.clear()


async def statements_without_pause(outbox: ScriptedOutbox, expected: int, *, wakes: int = 0) -> int:
    """The number of statements of a relay that would pause for an hour, once it is idle or pauses."""
    outbox.relay = relay = Relay(
        cast(PostgresOutbox, outbox), Hub(), clock=SetClock(), metrics=Metrics(), on_work=lambda _: None,
        pace_s=HOUR_S,
    )  # fmt: skip
    running = asyncio.create_task(relay.run(lambda: None))
    await outbox.reach(expected - wakes)
    for number in range(expected - wakes, expected):
        relay.wake()
        await outbox.reach(number + 1)
    for _ in range(10):
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    return outbox.statements


async def test_an_event_after_idleness_is_published_at_once() -> None:
    assert await statements_without_pause(ScriptedOutbox([1, 1, 1]), 3, wakes=2) == 3


async def test_events_that_follow_one_another_gather() -> None:
    assert await statements_without_pause(ScriptedOutbox([1, 1], followed={0}), 1) == 1


async def test_a_backlog_is_published_without_pause() -> None:
    assert await statements_without_pause(ScriptedOutbox([BATCH, BATCH, 1], followed={0, 1}), 3) == 3
