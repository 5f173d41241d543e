"""Updates the mirror after an event."""

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from nomadcrew.core.access import Access
from nomadcrew.core.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from nomadcrew.core.events import Event
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import Member
from nomadcrew.core.locations.ports import Positions
from nomadcrew.core.locations.privacy import VisiblePosition, any_member, visible_position
from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser
from nomadcrew.core.mirror.ports import Mirror, MirrorSource
from nomadcrew.core.permissions import rule

ROUNDS = 5

State = TypeVar("State")


async def mirror_event(
    event: Event, *, source: MirrorSource, positions: Positions, mirror: Mirror, now: datetime
) -> None:
    """Update the rows that an event refers to.

    The event only names the rows; their current state is written. Events may therefore be repeated, late and out of
    order. Positions are written as every member may see them; hidden ones are deleted.

    Raises:
        Unavailable, MirrorRefused: as `Mirror` says.
    """

    async def crew(trip_id: TripId, user_id: UserId | None) -> None:
        await _mirror_positions(trip_id, user_id, positions, source, mirror, now)

    match event.type:
        case "profile.changed":
            await _mirror_user(_user(event), source, mirror)
        case "location_privacy.changed":
            # The next position is written with the new privacy.
            await mirror.hide(_user(event))
        case "LOCATION_UPDATED" | "LOCATION_SHARING_CHANGED" if event.trip_id is not None:
            await crew(event.trip_id, _user(event))
        case "TRIP_STATUS_UPDATED" if event.trip_id is not None:
            await _mirror_trip(event.trip_id, source, mirror)
            await crew(event.trip_id, None)
        case _ if event.trip_id is not None:
            await _mirror_trip(event.trip_id, source, mirror)


async def _mirror_user(user_id: UserId, source: MirrorSource, mirror: Mirror) -> None:
    async def read() -> MirroredUser | None:
        return await source.user(user_id)

    async def write(user: MirroredUser | None) -> None:
        if user is not None:
            await mirror.put_users([user])

    await _write_until_stable(read, write)


async def _mirror_trip(trip_id: TripId, source: MirrorSource, mirror: Mirror) -> None:
    async def read() -> MirroredTrip | None:
        return await source.trip(trip_id)

    async def write(trip: MirroredTrip | None) -> None:
        if trip is None:
            await mirror.drop_trip(trip_id)
        else:
            await mirror.put_users(trip.users)
            await mirror.put_trip(trip)

    await _write_until_stable(read, write)


async def _mirror_positions(
    trip_id: TripId, only: UserId | None, positions: Positions, source: MirrorSource, mirror: Mirror, now: datetime
) -> None:
    """Copy the positions of one member, or of all."""

    async def read() -> tuple[list[MirroredPosition], list[UserId]]:
        return await _shown(trip_id, only, positions, source, now)

    async def write(state: tuple[list[MirroredPosition], list[UserId]]) -> None:
        await mirror.put_positions(trip_id, *state)

    await _write_until_stable(read, write)


async def _shown(
    trip_id: TripId, only: UserId | None, positions: Positions, source: MirrorSource, now: datetime
) -> tuple[list[MirroredPosition], list[UserId]]:
    """The positions that every member may see now, and the members without one."""
    reader = only
    if reader is None:
        trip = await source.trip(trip_id)
        if trip is None or not trip.members:
            return [], []
        reader = trip.members[0][0]
    try:
        crew = await positions.members_with_positions(Access(trip_id, reader, rule("location", "read")))
    except (Forbidden, NotFound, Unauthenticated):
        return [], [reader]  # a former member's position is deleted
    visible, hidden = [], []
    for member in crew.members:
        owner = member.owner
        if only is not None and owner.user_id != only:
            continue
        position = _visible_to_all(member, crew.has_ended, now)
        if position is None:
            hidden.append(owner.user_id)
        else:
            until = owner.sharing.until if owner.sharing is not None else None
            visible.append(MirroredPosition(owner.user_id, position, until))
    return visible, hidden


def _visible_to_all(member: Member, has_ended: bool, now: datetime) -> VisiblePosition | None:
    if member.last is None:
        return None
    return visible_position(member.last, member.owner, any_member(now), has_ended=has_ended, now=now)


async def _write_until_stable(
    read: Callable[[], Awaitable[State]], write: Callable[[State], Awaitable[None]]
) -> None:
    """Repeat the write until the state did not change meanwhile: another consumer may be writing an older state."""
    state = await read()
    for _ in range(ROUNDS):
        await write(state)
        written, state = state, await read()
        if state == written:
            return
    raise Unavailable(details="the state changes faster than it is copied")


def _user(event: Event) -> UserId:
    return UserId(UUID(json.loads(event.payload)["userId"]))
