"""Sockets, as the product sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nomadcrew.core.events import Event
from nomadcrew.core.ids import SessionId, TripId, UserId


@dataclass(frozen=True, slots=True)
class Connection:
    """An open socket that a gateway holds for us; its token lasts until `expires_at`."""

    id: str
    user_id: UserId
    session_id: SessionId | None
    expires_at: datetime
    connected_at: datetime
    muted: frozenset[TripId] = frozenset()


class Connections(Protocol):
    """Open sockets. Who receives an event is decided from membership when it is delivered, not here."""

    async def mute(self, connection_id: str, trip_id: TripId) -> bool:
        """Stop sending a trip's events to one socket; False if they were stopped already."""
        ...

    async def unmute(self, connection_id: str, trip_id: TripId) -> None: ...


class Live(Protocol):
    """Tells sockets what is worth nothing later and is therefore kept nowhere: typing, positions, presence."""

    async def tell(self, event: Event, *, latest_of: str | None = None) -> None:
        """Have an event reach whoever may hear of it, by its audience, when it is delivered.

        Of events with the same `latest_of` at most one a second is told, the newest; the last one always is. A
        gateway's host leaves that to whoever tells. Never fails for an outage: what cannot be told now is lost.
        """
        ...

    async def tell_people(self, event: Event, people: Sequence[UserId]) -> None:
        """Have an event reach these people, whatever its audience; as `tell` otherwise."""
        ...


class TopicOf(Protocol):
    """The name of the topic of a trip's updates."""

    def __call__(self, trip_id: TripId, /) -> str: ...


class Topics(Protocol):
    """A broker, which tells what is published to who subscribes."""

    async def publish(self, topic: str, frame: str) -> None:
        """Tell a frame, at least once.

        Raises:
            Unavailable: not now; try again later.
        """
        ...


class Sockets(Protocol):
    """Sockets that a gateway holds, and what is sent to them; a host that holds them itself has no use for it.

    A frame that cannot be delivered is lost: whoever comes back asks for the record of events.
    """

    async def add(self, connection: Connection) -> None: ...

    async def forget(self, connection_id: str) -> None: ...

    async def send(self, connection_id: str, frame: str) -> bool:
        """Send to one socket; False if there is none, or none yet.

        Raises:
            Unavailable: the gateway takes nothing just now.
        """
        ...

    async def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, *, now: datetime
    ) -> Sequence[UserId]:
        """Send to every socket of these people that has not muted the trip; whose took it, once for each."""
        ...

    async def deliver_to_all(self, frame: str, *, now: datetime) -> Sequence[Connection]:
        """Send to every socket; those that are gone, which are still to be forgotten."""
        ...
