"""Broadcasts events that are never stored (typing, positions, presence) to this host's sockets.

Events that arrive during a membership query are collected for the next query, so a burst of positions costs a few
statements, and callers do not wait for them.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event, listeners
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import hiding_user, position_owner
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.wire.events import event_frame

log = logging.getLogger("nomadcrew.live")

# The queue is full at this length and drops new events: it only grows that long in an outage.
MAX_WAITING = 10_000
# Minimum interval between events with the same `latest_of` key.
PACE_S = 1.0
# A position that was read before its owner hid is broadcast within this time, or never.
ON_ITS_WAY_S = 60.0


class RecipientSource(Protocol):
    """The trips' members."""

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]: ...


class Delivery(Protocol):
    """The sockets of this host, in whichever process they are."""

    def __len__(self) -> int: ...

    def connected(self, user_ids: Iterable[UserId]) -> bool:
        """True if any of these users may have a socket."""
        ...

    def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, shows: UserId | None = None
    ) -> int:
        """Send one encoded frame to all sockets of these users that have not muted the trip.

        `shows` is the user whose position on the trip the frame reveals, if any: the process that holds the sockets
        records the recipients as viewers. Returns the number of sockets, as far as this process knows.
        """
        ...

    async def awake(self, user_ids: Iterable[UserId], trip_id: TripId) -> frozenset[UserId]:
        """See `AwakeSockets`."""
        ...


class HubBroadcaster:
    """`Broadcaster` on a host that holds the sockets."""

    def __init__(self, members: RecipientSource, sockets: Delivery, metrics: Metrics) -> None:
        self._members = members
        self._sockets = sockets
        self._metrics = metrics
        # Events to broadcast, with their recipients if they are named.
        self._waiting: list[tuple[Event, Collection[UserId] | None]] = []
        self._broadcasting: asyncio.Task[None] | None = None
        # Keys sent within the last `PACE_S`, with the latest event that arrived since.
        self._paced: dict[str, Event | None] = {}
        # Start of hiding, by user and trip (None: all trips), for as long as older positions may still arrive.
        self._hidden: dict[tuple[UserId, TripId | None], datetime] = {}

    def has_listeners(self) -> bool:
        return len(self._sockets) > 0

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:
        self.enqueue(event, latest_of)

    def enqueue(self, event: Event, latest_of: str | None = None, people: Collection[UserId] | None = None) -> None:
        """`broadcast`, or `send_to` for given users, without `await`: the event is queued."""
        if latest_of is None:
            self._enqueue(event, people)
        elif latest_of in self._paced:
            self._paced[latest_of] = event
        else:
            self._pace(latest_of, event)

    async def send_to(self, event: Event, user_ids: Sequence[UserId]) -> None:
        self.enqueue(event, people=user_ids)

    def outdated_by(self, event: Event) -> None:
        """Drop queued positions that `event` makes outdated: a member who hides must not be shown afterwards."""
        owner = hiding_user(event)
        if owner is None:
            return
        key = (owner, event.trip_id)
        self._hidden[key] = event.occurred_at
        asyncio.get_running_loop().call_later(ON_ITS_WAY_S, self._forget, key, event.occurred_at)

    def _forget(self, key: tuple[UserId, TripId | None], since: datetime) -> None:
        if self._hidden.get(key) == since:
            del self._hidden[key]

    def _is_outdated(self, event: Event) -> bool:
        """True if an event shows a member who has hidden since, on its trip or everywhere."""
        owner = position_owner(event)
        if owner is None:
            return False
        hidden = (self._hidden.get((owner, trip_id)) for trip_id in (event.trip_id, None))
        return any(since is not None and event.occurred_at <= since for since in hidden)

    def _pace(self, key: str, event: Event) -> None:
        self._paced[key] = None
        asyncio.get_running_loop().call_later(PACE_S, self._send_latest, key)
        self._enqueue(event)

    def _send_latest(self, key: str) -> None:
        event = self._paced.pop(key)
        if event is not None:
            self._pace(key, event)

    def _enqueue(self, event: Event, people: Collection[UserId] | None = None) -> None:
        if not len(self._sockets) or len(self._waiting) >= MAX_WAITING:
            return
        self._waiting.append((event, people))
        if self._broadcasting is None:
            self._broadcasting = asyncio.create_task(self._broadcast_all())

    async def _broadcast_all(self) -> None:
        try:
            while self._waiting:
                events, self._waiting = self._waiting, []
                await self._broadcast(events)
        finally:
            self._broadcasting = None

    async def _broadcast(self, events: Sequence[tuple[Event, Collection[UserId] | None]]) -> None:
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
                    count = self._sockets.deliver(event_frame(event), people, muted, position_owner(event))
                    self._metrics.delivered(count)
        except Unavailable as error:
            log.warning("events dropped", extra={"fields": {"count": len(events), "reason": error.details}})
        except Exception:
            # A bug in one batch must not affect the next.
            log.exception("broadcast failed", extra={"fields": {"count": len(events)}})
