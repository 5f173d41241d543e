"""What is told live and kept nowhere, straight to the sockets of this host.

Whatever comes while membership is being asked for is asked for together the next time, so a burst of positions
costs a handful of statements, and a caller waits for none of them.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event, listeners
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import hidden_in, shown_in
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.wire.events import event_frame

log = logging.getLogger("nomadcrew.live")

# What waits beyond this is dropped, newest first: whoever is that far behind has an outage.
MAX_WAITING = 10_000
# How long an event is the latest of its kind before the next one is told.
PACE_S = 1.0
# What was read before somebody hid is told within this, or was lost.
ON_ITS_WAY_S = 60.0


class Members(Protocol):
    """Who is on a trip, as the outbox knows it."""

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]: ...


class Delivery(Protocol):
    """Sockets, wherever this host holds them."""

    def __len__(self) -> int: ...

    def connected(self, user_ids: Iterable[UserId]) -> bool:
        """Whether any of these people may have a socket."""
        ...

    def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, shows: UserId | None = None
    ) -> int:
        """Send one encoded frame to every socket of these people that has not muted the trip.

        `shows` is whose position on the trip is in it, if anybody's: whoever holds the sockets notes who was sent
        it. Returns to how many, as far as this process knows.
        """
        ...


class HubLive:
    """`Live` where this host holds the sockets."""

    def __init__(self, members: Members, sockets: Delivery, metrics: Metrics) -> None:
        self._members = members
        self._sockets = sockets
        self._metrics = metrics
        # With the people to tell, where they are named.
        self._waiting: list[tuple[Event, Collection[UserId] | None]] = []
        self._telling: asyncio.Task[None] | None = None
        # What was told within the last `PACE_S`, with what has come since.
        self._paced: dict[str, Event | None] = {}
        # Since when somebody hides, on a trip or everywhere, for as long as what they showed before may come.
        self._hidden: dict[tuple[UserId, TripId | None], datetime] = {}

    async def tell(self, event: Event, *, latest_of: str | None = None) -> None:
        self.take(event, latest_of)

    def take(self, event: Event, latest_of: str | None = None, people: Collection[UserId] | None = None) -> None:
        """As `tell` and `tell_people`, which never wait."""
        if latest_of is None:
            self._take(event, people)
        elif latest_of in self._paced:
            self._paced[latest_of] = event
        else:
            self._pace(latest_of, event)

    async def tell_people(self, event: Event, people: Sequence[UserId]) -> None:
        self.take(event, people=people)

    def outdated_by(self, event: Event) -> None:
        """Tell nothing any more that an event has made untrue: who hides is not shown a moment later as before."""
        owner = hidden_in(event)
        if owner is None:
            return
        whose = (owner, event.trip_id)
        self._hidden[whose] = event.occurred_at
        asyncio.get_running_loop().call_later(ON_ITS_WAY_S, self._forget, whose, event.occurred_at)

    def _forget(self, whose: tuple[UserId, TripId | None], since: datetime) -> None:
        if self._hidden.get(whose) == since:
            del self._hidden[whose]

    def _is_outdated(self, event: Event) -> bool:
        """Whether an event shows somebody who has hidden since, on its trip or everywhere."""
        owner = shown_in(event)
        if owner is None:
            return False
        hidden = (self._hidden.get((owner, trip_id)) for trip_id in (event.trip_id, None))
        return any(since is not None and event.occurred_at <= since for since in hidden)

    def _pace(self, key: str, event: Event) -> None:
        self._paced[key] = None
        asyncio.get_running_loop().call_later(PACE_S, self._next, key)
        self._take(event)

    def _next(self, key: str) -> None:
        event = self._paced.pop(key)
        if event is not None:
            self._pace(key, event)

    def _take(self, event: Event, people: Collection[UserId] | None = None) -> None:
        if not len(self._sockets) or len(self._waiting) >= MAX_WAITING:
            return
        self._waiting.append((event, people))
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        try:
            while self._waiting:
                events, self._waiting = self._waiting, []
                await self._tell(events)
        finally:
            self._telling = None

    async def _tell(self, events: Sequence[tuple[Event, Collection[UserId] | None]]) -> None:
        trips = {
            event.trip_id
            for event, people in events
            if people is None and event.audience == Audience.TRIP and event.trip_id is not None
        }
        try:
            members = await self._members.recipients(trips)
            for event, named in events:
                people, muted = listeners(event, members) if named is None else (named, None)
                if self._sockets.connected(people) and not self._is_outdated(event):
                    count = self._sockets.deliver(event_frame(event), people, muted, shown_in(event))
                    self._metrics.delivered(count)
        except Unavailable as error:
            log.warning("events were not told", extra={"fields": {"count": len(events), "reason": error.details}})
        except Exception:
            # A bug in one batch must not silence the next.
            log.exception("events could not be told", extra={"fields": {"count": len(events)}})
