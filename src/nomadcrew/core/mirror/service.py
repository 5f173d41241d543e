"""What an event changes in the copy."""

import json
from uuid import UUID

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.mirror.ports import Mirror, MirrorSource

PROFILE_CHANGED = "profile.changed"
ROUNDS = 5


async def mirror_event(event: Event, *, source: MirrorSource, mirror: Mirror) -> None:
    """Bring what an event is about up to date in the copy.

    The event says only what to look at: what is written is what the database says now, so that events may come
    twice, late and in any order.

    Raises:
        Unavailable, MirrorRefused: as `Mirror` says.
    """
    if event.type == PROFILE_CHANGED:
        await _mirror_user(UserId(UUID(json.loads(event.payload)["userId"])), source, mirror)
    elif event.trip_id is not None:
        await _mirror_trip(event.trip_id, source, mirror)


async def _mirror_user(user_id: UserId, source: MirrorSource, mirror: Mirror) -> None:
    user = await source.user(user_id)
    for _ in range(ROUNDS):
        if user is not None:
            await mirror.put_users([user])
        written, user = user, await source.user(user_id)
        if user == written:
            return
    raise Unavailable(details="a profile changes faster than it is copied")


async def _mirror_trip(trip_id: TripId, source: MirrorSource, mirror: Mirror) -> None:
    """Write until what was written is what there is: somebody else may be writing an older state just now."""
    trip = await source.trip(trip_id)
    for _ in range(ROUNDS):
        if trip is None:
            await mirror.drop_trip(trip_id)
        else:
            await mirror.put_users(trip.users)
            await mirror.put_trip(trip)
        written, trip = trip, await source.trip(trip_id)
        if trip == written:
            return
    raise Unavailable(details="a trip changes faster than it is copied")
