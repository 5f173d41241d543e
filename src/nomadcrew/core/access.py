"""A caller's request on a trip, as the ports that check rights take it."""

from dataclasses import dataclass
from datetime import datetime

from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.permissions import Rule


@dataclass(frozen=True, slots=True)
class Access:
    """A caller's request on a trip; the port compares `rule` with the caller's rank there."""

    trip_id: TripId
    caller: UserId
    rule: Rule


@dataclass(frozen=True, slots=True)
class Command(Access):
    """A request that changes something: also the id of the event that reports the change, and the time."""

    event_id: EventId
    now: datetime
