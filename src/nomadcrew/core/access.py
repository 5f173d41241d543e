"""A caller's request on a trip, as the ports that check rights take it."""

from datetime import datetime

from msgspec import Struct

from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.permissions import Rule


class Access(Struct, frozen=True):
    """A caller's request on a trip; the port compares `rule` with the caller's rank there."""

    trip_id: TripId
    caller: UserId
    rule: Rule


class Command(Access, frozen=True):
    """A request that changes something: also the id of the event that reports the change, and the time."""

    event_id: EventId
    now: datetime
