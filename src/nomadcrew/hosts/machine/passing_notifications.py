"""Notifications that reach sockets only and are kept in no list.

They need no job, which would be written three times.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event

log = logging.getLogger("nomadcrew.live")

# Notified at once, so that their questions share a statement.
AT_ONCE = 100
# The queue is full at this length and drops new events: it only grows that long in an outage.
MAX_WAITING = 10_000


class PassingNotifications:
    """Notifies about events in the background. A crash or an outage loses notifications; the events are stored."""

    def __init__(self, notify: Callable[[Event], Awaitable[None]]) -> None:
        self._notify = notify
        self._waiting: list[Event] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, event: Event) -> None:
        if len(self._waiting) >= MAX_WAITING:
            return
        self._waiting.append(event)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                events, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                await asyncio.gather(*(self._notify_one(event) for event in events))
        finally:
            self._task = None

    async def _notify_one(self, event: Event) -> None:
        try:
            await self._notify(event)
        except Unavailable as error:
            log.warning("notification dropped", extra={"fields": {"reason": error.details}})
        except Exception:
            # A bug in one notification must not affect the others.
            log.exception("notification failed", extra={"fields": {"event_type": event.type}})
