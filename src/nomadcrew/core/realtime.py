"""Ports of sockets, broadcasts and topics."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.events import Event
from nomadcrew.core.ids import SessionId, TripId, UserId

# Of one user: some devices, each with some connections that it has lost and the server not yet.
MAX_SOCKETS = 20


class Connection(Struct, frozen=True):
    """An open socket, held by API Gateway. Its token expires at `expires_at`."""

    id: str
    user_id: UserId
    session_id: SessionId | None
    expires_at: datetime
    connected_at: datetime
    muted: frozenset[TripId] = frozenset()


class Connections(Protocol):
    """Muting of open sockets. The recipients of an event are its trip's members at delivery."""

    async def mute(self, connection_id: str, trip_id: TripId) -> bool:
        """Stop sending a trip's events to a socket. False if it was muted already."""
        ...

    async def unmute(self, connection_id: str, trip_id: TripId) -> None: ...


class AwakeSockets(Protocol):
    """Tells which sockets a person's device really listens to: an app that sleeps leaves its socket open."""

    async def awake(self, user_ids: Iterable[UserId], trip_id: TripId) -> frozenset[UserId]:
        """The users with a socket that gets the trip's events and whose device answers within two seconds."""
        ...


class ConnectedUsers(Protocol):
    async def connected_users(self, *, now: datetime) -> Sequence[UserId]:
        """The users with an open socket, each once. Raises `Unavailable` in an outage."""
        ...


class Broadcaster(Protocol):
    """Broadcasts events that are never stored: typing, positions, presence."""

    def has_listeners(self) -> bool:
        """False if a broadcast now would reach no socket and no mirror, so that callers need not make the event."""
        ...

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:
        """Send an event to the sockets of its audience.

        Of events with the same `latest_of` at most one per second is sent, the newest; the last one is always sent.
        On AWS the callers limit the rate. Never fails for an outage: the event is then lost.
        """
        ...

    async def send_to(self, event: Event, user_ids: Sequence[UserId]) -> None:
        """Send an event to the sockets of these users, whatever its audience; otherwise as `broadcast`."""
        ...


class TopicOf(Protocol):
    """Returns the name of a trip's topic."""

    def __call__(self, trip_id: TripId, /) -> str: ...


class Topics(Protocol):
    """A publish/subscribe broker."""

    async def publish(self, topic: str, frame: str) -> None:
        """Publish a frame to the topic's subscribers, at least once.

        Raises:
            Unavailable: retry later.
        """
        ...


class Sockets(Protocol):
    """Sockets that API Gateway holds. The machine host, which holds its own, does not use this port.

    A frame that cannot be delivered is lost: a reconnecting client reads the stored events.
    """

    async def add(self, connection: Connection) -> None:
        """Add a socket that has just been opened. Of more than `MAX_SOCKETS` of its user, the oldest get nothing
        any more.
        """
        ...

    async def forget(self, connection_id: str) -> None: ...

    async def send(self, connection_id: str, frame: str) -> bool:
        """Send to one socket. False if the socket is closed or not open yet.

        Raises:
            Unavailable: the gateway is unreachable or throttles.
        """
        ...


class SocketDelivery(Protocol):
    """Sends frames to the sockets of users, as `Sockets` does to one."""

    async def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, *, now: datetime
    ) -> Sequence[UserId]:
        """Send to every socket of these users that has not muted the trip. Returns the users who were reached."""
        ...


class AllSockets(Protocol):
    """Sends frames to every socket, as `Sockets` does to one."""

    async def deliver_to_all(self, frame: str, *, now: datetime) -> Sequence[Connection]:
        """Send to every socket. Returns the dead connections, which the caller must drop."""
        ...
