"""Checks of the stored data: counts, limits and rows that the writes keep in agreement."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from msgspec import Struct


class Fault(Struct, frozen=True):
    """A check that failed for `subject`, with the stored or allowed number and the counted one.

    The numbers of a `trip_card` are the lengths of its texts.
    """

    check: str
    subject: UUID
    stored: int
    counted: int


class Integrity(Protocol):
    """Counts again what the database counts. Raises only `Unavailable`."""

    async def find_faults(self, *, limit: int) -> Sequence[Fault]:
        """At most `limit` faults, by check and subject."""
        ...

    async def correct_member_counts(self) -> int:
        """Store the counted members of each trip whose number is wrong. Returns how many trips were."""
        ...

    async def renew_trip_cards(self) -> int:
        """Store the card of each trip whose card is missing or not as the trip. Returns how many trips were."""
        ...
