"""Positions: reports, lists, tracks, meeting points. Returned positions have passed `privacy.visible_position`."""

import json
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from nomadcrew.core.access import Access
from nomadcrew.core.errors import Invalid
from nomadcrew.core.events import Audience, Event, Outbox
from nomadcrew.core.ids import EventId, NewId, TripId, UserId
from nomadcrew.core.locations.arrival import Change, changes
from nomadcrew.core.locations.geometry import distance_m, thinned
from nomadcrew.core.locations.meeting_point import geometric_median
from nomadcrew.core.locations.model import (
    MAX_AHEAD,
    POSITION_UPDATED,
    Accepted,
    MeetingPoint,
    Member,
    NoPositionsShared,
    Privacy,
    Report,
)
from nomadcrew.core.locations.ports import (
    LocationSharing,
    LocationStream,
    MeetingPoints,
    Positions,
    PositionViews,
)
from nomadcrew.core.locations.privacy import (
    TRACK_STEP,
    VisiblePosition,
    any_member,
    track_step,
    visible_position,
)
from nomadcrew.core.permissions import rule
from nomadcrew.core.realtime import Broadcaster
from nomadcrew.core.retention import POSITION_RETENTION
from nomadcrew.core.text import check_label

SOURCE = "location-service"
_DECIMALS = 6  # about 0.1 m


class MemberPosition(Struct, frozen=True):
    """A member's position as the caller may see it."""

    member: Member
    position: VisiblePosition
    is_sharing: bool


class Suggestion(Struct, frozen=True):
    """A suggested meeting point, and each member's distance from it, in metres, by the visible position."""

    latitude: float
    longitude: float
    members: Sequence[tuple[MemberPosition, float]]


async def accept(report: Report, *, positions: Positions, stream: LocationStream, outbox: Outbox) -> Accepted:
    """Store a report and broadcast its visible part.

    The relay is woken only for the few reports with an event in the outbox: looking costs as much as storing.

    Raises:
        DomainError: as `Positions` says.
    """
    outbox.before_write()
    accepted = await positions.accept(report, rule("location", "create"))
    has_arrival = await stream.publish(report, accepted)
    await outbox.after_commit(has_events=accepted.has_events or has_arrival)
    return accepted


async def broadcast_positions(
    trip_id: TripId, accepted: Accepted, *, broadcaster: Broadcaster, new_id: NewId, now: datetime
) -> Sequence[Change]:
    """Broadcast a member's new position, if visible. Returns arrivals and departures, for `record_arrivals`."""
    member, last = accepted.member, accepted.member.last
    if last is None or not accepted.moved:
        return ()
    position = visible_position(last, member.owner, any_member(now), has_ended=accepted.has_ended, now=now)
    if position is None:
        return ()
    if broadcaster.has_listeners():
        await broadcaster.broadcast(
            _position_event(trip_id, member, position, EventId(new_id()), now),
            latest_of=f"{trip_id} {member.owner.user_id}",
        )
    return changes(position, accepted.arrival_state)


def _position_event(
    trip_id: TripId, member: Member, position: VisiblePosition, event_id: EventId, now: datetime
) -> Event:
    user_id = member.owner.user_id
    return Event(
        event_id, POSITION_UPDATED, SOURCE, trip_id, user_id, None, Audience.TRIP, now,
        json.dumps({"userId": str(user_id), "name": member.name, "location": _payload(position)}),
        kept=False,
    )  # fmt: skip


async def record_arrivals(
    trip_id: TripId,
    member: Member,
    arrivals: Sequence[Change],
    *,
    sharing: LocationSharing,
    new_id: NewId,
    now: datetime,
) -> None:
    """Store a member's arrivals and departures. Each arrival causes one event."""
    for change in arrivals:
        await sharing.record_arrival(
            trip_id, member.owner.user_id, change, EventId(new_id()), name=member.name, now=now
        )


async def last_positions(
    trip_id: TripId, caller: UserId, *, positions: Positions, views: PositionViews, now: datetime
) -> Sequence[MemberPosition]:
    """The members' last positions as the caller may see them. Records the views.

    Raises:
        DomainError: as `Positions` says.
    """
    crew = await positions.members_with_positions(Access(trip_id, caller, rule("location", "read")))
    visible = []
    for member in crew.members:
        if member.last is None:
            continue
        position = visible_position(member.last, member.owner, crew.reader, has_ended=crew.has_ended, now=now)
        if position is not None:
            on = member.owner.sharing is not None and member.owner.sharing.is_on(now) and not crew.has_ended
            visible.append(MemberPosition(member, position, on))
    await views.record(trip_id, [caller], {shown.member.owner.user_id for shown in visible}, now=now)
    return visible


async def track(
    trip_id: TripId,
    user_id: UserId,
    caller: UserId,
    *,
    start: datetime,
    end: datetime,
    most: int,
    positions: Positions,
    views: PositionViews,
    now: datetime,
) -> Sequence[VisiblePosition]:
    """A member's track as the caller may see it, oldest first, in at most `most` points. Records the view.

    Raises:
        Invalid: `end` is before `start`.
        DomainError: as `Positions` says.
    """
    if end < start:
        raise Invalid("`to` must not be before `from`.", code="invalid_time_range")
    # There are no points outside these bounds, and stores refuse a range that ends before it starts.
    start, end = (min(max(edge, now - POSITION_RETENTION), now + MAX_AHEAD) for edge in (start, end))
    # Exact edges would tell others the exact times of approximate points.
    edges = (start, end) if caller == user_id else (track_step(start), track_step(end) + TRACK_STEP)
    stored = await positions.track(
        Access(trip_id, caller, rule("location", "read")), user_id, start=edges[0], end=edges[1]
    )
    seen = (
        visible_position(point, stored.owner, stored.reader, has_ended=stored.has_ended, now=now, of_track=True)
        for point in stored.points
    )
    # A cell that occurs several times in a step is one point.
    visible = list(
        dict.fromkeys(
            position
            for position in seen
            if position is not None
            and (position.privacy is Privacy.APPROXIMATE or start <= position.recorded_at < end)
        )
    )
    if visible:
        await views.record(trip_id, [caller], [user_id], now=now)
    indexes = thinned([(position.latitude, position.longitude) for position in visible], most)
    return [visible[index] for index in indexes]


async def suggest_meeting_point(
    trip_id: TripId, caller: UserId, *, positions: Positions, views: PositionViews, now: datetime
) -> Suggestion:
    """The point with the least total distance from all members whose position the caller may see.

    Raises:
        NoPositionsShared: no position is visible.
        DomainError: as `Positions` says.
    """
    crew = await last_positions(trip_id, caller, positions=positions, views=views, now=now)
    places = [(shown.position.latitude, shown.position.longitude) for shown in crew]
    if not places:
        raise NoPositionsShared
    latitude, longitude = geometric_median(places)
    point = (round(latitude, _DECIMALS), round(longitude, _DECIMALS))
    return Suggestion(*point, [(shown, distance_m(at, point)) for shown, at in zip(crew, places, strict=True)])


async def set_meeting_point(
    trip_id: TripId, caller: UserId, point: MeetingPoint, *, points: MeetingPoints, new_id: NewId
) -> MeetingPoint:
    """Set the trip's meeting point.

    Raises:
        Invalid: the name shows nothing, or turns the direction of text.
        DomainError: as `MeetingPoints` says.
    """
    check_label("name", point.name)
    await points.put(Access(trip_id, caller, rule("meeting_point", "update")), point, EventId(new_id()))
    return point


def _payload(position: VisiblePosition) -> dict[str, float | int]:
    """The position in an event."""
    measured = {"accuracy": position.accuracy_m, "speed": position.speed_mps, "heading": position.heading_deg}
    return {
        "latitude": position.latitude,
        "longitude": position.longitude,
        "timestamp": round(position.recorded_at.timestamp() * 1000),
        **{name: value for name, value in measured.items() if value is not None},
    }
