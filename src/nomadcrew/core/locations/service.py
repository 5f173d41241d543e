"""What people do with positions. Whatever leaves here has gone through `privacy.seen`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nomadcrew.core.errors import Invalid
from nomadcrew.core.events import Audience, Event, Outbox
from nomadcrew.core.ids import EventId, NewId, TripId, UserId
from nomadcrew.core.locations.arrival import Change, changes
from nomadcrew.core.locations.geometry import distance_m, fair_point, thinned
from nomadcrew.core.locations.model import (
    HISTORY_KEPT_FOR,
    MAX_AHEAD,
    POSITION_TOLD,
    Accepted,
    MeetingPoint,
    Member,
    NobodyShares,
    Report,
)
from nomadcrew.core.locations.ports import (
    LocationSharing,
    LocationStream,
    MeetingPoints,
    Positions,
    PositionViews,
)
from nomadcrew.core.locations.privacy import Seen, anybody, seen
from nomadcrew.core.permissions import rule
from nomadcrew.core.realtime import Live

SOURCE = "location-service"
_DECIMALS = 6  # a decimetre


@dataclass(frozen=True, slots=True)
class Shown:
    """A member's position as the caller may see it."""

    member: Member
    position: Seen
    is_sharing: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A fair place to meet, and how far each member, as they are shown, is from it."""

    latitude: float
    longitude: float
    members: Sequence[tuple[Shown, float]]


async def accept(report: Report, *, positions: Positions, stream: LocationStream, outbox: Outbox) -> Accepted:
    """Store a report, and have the crew told what they may know of it.

    The outbox is rung for the few reports that leave something in it: looking would cost as much as storing.

    Raises:
        DomainError: as `Positions` says.
    """
    outbox.expect()
    accepted = await positions.accept(report, rule("location", "create"))
    has_arrived = await stream.carry(report, accepted)
    await outbox.written(told=accepted.has_told or has_arrived)
    return accepted


async def tell_crew(
    trip_id: TripId, accepted: Accepted, *, live: Live, new_id: NewId, now: datetime
) -> Sequence[Change]:
    """Tell where somebody is, if they show it; the places they came to or left, for `note_arrivals`."""
    member, last = accepted.member, accepted.member.last
    if last is None or not accepted.moved:
        return ()
    shown = seen(last, member.owner, anybody(now), has_ended=accepted.has_ended, now=now)
    if shown is None:
        return ()
    person = member.owner.user_id
    event = Event(
        EventId(new_id()), POSITION_TOLD, SOURCE, trip_id, person, None, Audience.TRIP, now,
        json.dumps({"userId": str(person), "name": member.name, "location": _told(shown)}),
        kept=False,
    )  # fmt: skip
    await live.tell(event, latest_of=f"{trip_id} {person}")
    return changes(shown, accepted.places)


async def note_arrivals(
    trip_id: TripId,
    member: Member,
    came_or_went: Sequence[Change],
    *,
    sharing: LocationSharing,
    new_id: NewId,
    now: datetime,
) -> None:
    """Keep where somebody came and went; that they came is told once."""
    for change in came_or_went:
        await sharing.arrived(trip_id, member.owner.user_id, change, EventId(new_id()), name=member.name, now=now)


async def last_positions(
    trip_id: TripId, caller: UserId, *, positions: Positions, views: PositionViews, now: datetime
) -> Sequence[Shown]:
    """Where the crew is, as far as the caller may see; what they were shown is noted.

    Raises:
        DomainError: as `Positions` says.
    """
    crew = await positions.crew(trip_id, caller, rule("location", "read"))
    found = []
    for member in crew.members:
        if member.last is None:
            continue
        position = seen(member.last, member.owner, crew.reader, has_ended=crew.has_ended, now=now)
        if position is not None:
            on = member.owner.sharing is not None and member.owner.sharing.is_on(now) and not crew.has_ended
            found.append(Shown(member, position, on))
    await views.note(trip_id, [caller], {one.member.owner.user_id for one in found}, now=now)
    return found


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
) -> Sequence[Seen]:
    """Where somebody was, oldest first, in at most `most` points; that they were shown is noted.

    Raises:
        Invalid: the time ends before it starts.
        DomainError: as `Positions` says.
    """
    if end < start:
        raise Invalid("`to` must not be before `from`.", code="invalid_time_range")
    # Nothing is kept of what is older or yet to come, and stores take no range that ends before it starts.
    start, end = (min(max(edge, now - HISTORY_KEPT_FOR), now + MAX_AHEAD) for edge in (start, end))
    found = await positions.track(trip_id, user_id, caller, rule("location", "read"), start=start, end=end)
    shown = [
        one
        for point in found.points
        if (one := seen(point, found.owner, found.reader, has_ended=found.has_ended, now=now, of_track=True))
    ]
    if shown:
        await views.note(trip_id, [caller], [user_id], now=now)
    return [shown[at] for at in thinned([(one.latitude, one.longitude) for one in shown], most)]


async def suggest_meeting_point(
    trip_id: TripId, caller: UserId, *, positions: Positions, views: PositionViews, now: datetime
) -> Suggestion:
    """The place that is fairest to all whose position the caller may see.

    Raises:
        NobodyShares: there is nobody.
        DomainError: as `Positions` says.
    """
    crew = await last_positions(trip_id, caller, positions=positions, views=views, now=now)
    places = [(one.position.latitude, one.position.longitude) for one in crew]
    if not places:
        raise NobodyShares
    latitude, longitude = fair_point(places)
    fair = (round(latitude, _DECIMALS), round(longitude, _DECIMALS))
    return Suggestion(*fair, [(one, distance_m(at, fair)) for one, at in zip(crew, places, strict=True)])


async def set_meeting_point(
    trip_id: TripId, caller: UserId, point: MeetingPoint, *, points: MeetingPoints, new_id: NewId
) -> MeetingPoint:
    """Say where the crew meets.

    Raises:
        DomainError: as `MeetingPoints` says.
    """
    await points.put(trip_id, caller, rule("meeting_point", "update"), point, EventId(new_id()))
    return point


def _told(shown: Seen) -> dict[str, float | int]:
    """A position as events carry it."""
    measured = {"accuracy": shown.accuracy_m, "speed": shown.speed_mps, "heading": shown.heading_deg}
    return {
        "latitude": shown.latitude,
        "longitude": shown.longitude,
        "timestamp": round(shown.recorded_at.timestamp() * 1000),
        **{name: value for name, value in measured.items() if value is not None},
    }
