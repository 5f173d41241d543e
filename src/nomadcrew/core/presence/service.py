"""Presence: listing and announcing it."""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from nomadcrew.core.access import Access
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import EventId, NewId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.presence.model import CHANGED, SOURCE, MemberPresence, PresenceChange
from nomadcrew.core.presence.ports import Presence


async def trip_presence(
    trip_id: TripId, caller: UserId, *, presence: Presence, now: datetime
) -> Sequence[MemberPresence]:
    """The presence of a trip's members."""
    return await presence.list_for_trip(Access(trip_id, caller, rule("presence", "read")), now=now)


async def announce(
    user_ids: Iterable[UserId],
    *,
    presence: Presence,
    broadcast: Callable[[Event], Awaitable[None]],
    new_id: NewId,
    now: datetime,
    online: bool | None = None,
) -> None:
    """Announce with `broadcast` to the members of the users' trips whether each user is online.

    With `online` only the users in that state are announced; the others have changed it meanwhile.
    """
    for change in await presence.visible_trips(user_ids, now=now):
        if online in (None, change.seen.is_online):
            await broadcast(_event(change, EventId(new_id()), now))


def _event(shown: PresenceChange, event_id: EventId, now: datetime) -> Event:
    seen = shown.seen
    payload = {"userId": str(seen.user_id), "isOnline": seen.is_online}
    if seen.last_seen_at is not None:
        payload["lastSeenAt"] = f"{seen.last_seen_at:%Y-%m-%dT%H:%M:%SZ}"
    return Event(
        event_id, CHANGED, SOURCE, shown.trip_id, seen.user_id, None, Audience.TRIP, now, json.dumps(payload),
        kept=False,
    )  # fmt: skip
