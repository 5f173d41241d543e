"""Port of presence."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access
from nomadcrew.core.ids import UserId
from nomadcrew.core.presence.model import MemberPresence, PresenceChange, Typist


class Presence(Protocol):
    """Users with an open socket, and when each user last had one; visible to members of the same trip.

    A user in ghost mode appears offline and never seen, and activity in ghost mode is not visible later.
    Raises `Unavailable` in an outage.
    """

    async def connected(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        """Record an opened socket. True if the user was offline. Safe to repeat."""
        ...

    async def disconnected(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        """Record a closed socket. True if the user has no other. Safe to repeat."""
        ...

    async def list_for_trip(self, access: Access, *, now: datetime) -> Sequence[MemberPresence]:
        """The presence of a trip's ACTIVE members, oldest membership first.

        Raises:
            DomainError: the trip's refusals.
        """
        ...

    async def typist(self, access: Access) -> Typist | None:
        """The caller as a typing member; None in ghost mode, since typing reveals presence.

        Raises:
            DomainError: the trip's refusals.
        """
        ...

    async def visible_trips(self, user_ids: Iterable[UserId], *, now: datetime) -> Sequence[PresenceChange]:
        """The presence of these users on each trip that they share with other members; none in ghost mode."""
        ...
