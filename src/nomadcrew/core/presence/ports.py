"""What presence stands on."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.permissions import Rule
from nomadcrew.core.presence.model import Seen, Shown, Typist


class Presence(Protocol):
    """Who has a socket open, and when people last had one: for those who are on a trip with them.

    Somebody in ghost mode is online for nobody and was never seen, and what they do meanwhile is not seen later.
    Raises `Unavailable` for an outage.
    """

    async def came(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        """A socket was opened; True if its owner was not online before. Safe to repeat."""
        ...

    async def left(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        """A socket is gone; True if its owner has no other. Safe to repeat."""
        ...

    async def of_trip(self, trip_id: TripId, caller: UserId, rule: Rule, *, now: datetime) -> Sequence[Seen]:
        """Every active member of a trip, those first who have been on it longest.

        Raises:
            DomainError: the trip's refusals.
        """
        ...

    async def typist(self, trip_id: TripId, caller: UserId, rule: Rule) -> Typist | None:
        """The caller as other members see them typing; None in ghost mode, for who types is there.

        Raises:
            DomainError: the trip's refusals.
        """
        ...

    async def shown(self, user_ids: Iterable[UserId], *, now: datetime) -> Sequence[Shown]:
        """Where these people can be seen now, and how: each trip they share with somebody; nobody in ghost mode."""
        ...
