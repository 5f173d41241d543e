"""What is told live and kept nowhere, straight to the sockets of this process."""

import logging
from collections.abc import Collection, Sequence

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event, listeners
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.host.hub import Hub
from nomadcrew.host.metrics import Metrics
from nomadcrew.wire.events import event_frame

log = logging.getLogger("nomadcrew.live")


class HubLive:
    """`Live` where this process holds the sockets."""

    def __init__(self, outbox: PostgresOutbox, hub: Hub, metrics: Metrics) -> None:
        self._outbox = outbox
        self._hub = hub
        self._metrics = metrics

    async def tell(self, event: Event) -> None:
        trips = [event.trip_id] if event.audience == Audience.TRIP and event.trip_id is not None else []
        try:
            members = await self._outbox.recipients(trips)
        except Unavailable as error:
            log.warning("an event was not told", extra={"fields": {"type": event.type, "reason": error.details}})
            return
        people, muted = listeners(event, members)
        self._deliver(event, people, muted)

    async def tell_people(self, event: Event, people: Sequence[UserId]) -> None:
        self._deliver(event, people, None)

    def _deliver(self, event: Event, people: Collection[UserId], muted: TripId | None) -> None:
        if self._hub.connected(people):
            self._metrics.delivered(self._hub.deliver(event_frame(event), people, muted))
