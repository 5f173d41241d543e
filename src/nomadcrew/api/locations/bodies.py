"""Positions as they cross the network: snake_case, as the contract has them, but for what it takes in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId, UserId, parse_uuid
from nomadcrew.core.locations.model import (
    DEFAULT_RADIUS_M,
    MAX_BATCH,
    MeetingPoint,
    OwnSettings,
    Point,
    Privacy,
    Ruling,
)
from nomadcrew.core.locations.privacy import Seen
from nomadcrew.core.locations.reports import Fix, Opinion
from nomadcrew.core.locations.service import Shown, Suggestion

_FARTHEST = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class FixIn(Struct, rename="camel"):
    """A position as a phone sends it: only the place must be there; `timestamp` is in milliseconds.

    `privacy_level` is what older clients call `privacy`.
    """

    latitude: float
    longitude: float
    accuracy: float | None = None
    timestamp: int | None = None
    speed: float | None = None
    heading: float | None = None
    privacy: Privacy | None = None


class LocationIn(FixIn, rename={"is_sharing_enabled": "isSharingEnabled", "sharing_expires_in": "sharingExpiresIn",
                                "trip_id": "tripId"}):  # fmt: skip
    privacy_level: Privacy | None = None
    is_sharing_enabled: bool | None = None
    sharing_expires_in: int | None = None
    trip_id: str | None = None


class BatchIn(Struct, rename="camel"):
    """Positions in any order, whatever their age up to thirty days."""

    locations: Annotated[list[FixIn], Meta(min_length=1, max_length=MAX_BATCH)]
    is_sharing_enabled: bool | None = None
    sharing_expires_in: int | None = None


class LocationView(Struct, kw_only=True):
    """What was stored. `privacy_level` is what it is shown under: the strictest of all that applies."""

    id: str
    user_id: UUID
    trip_id: UUID | UnsetType = UNSET
    latitude: float
    longitude: float
    accuracy: float | None
    timestamp: datetime
    privacy_level: Privacy
    created_at: datetime
    updated_at: datetime


class StatusView(Struct):
    status: str


class RulingView(Struct):
    index: int
    status: Ruling


class BatchView(Struct):
    """What became of each position, in the order they were sent; `accepted` counts those that were kept."""

    accepted: int
    results: list[RulingView]


class MemberLocation(Struct):
    user_id: UUID
    trip_id: UUID
    latitude: float
    longitude: float
    accuracy: float | None
    privacy: Privacy
    is_sharing_enabled: bool
    timestamp: datetime
    user_name: str | UnsetType = UNSET
    speed: float | UnsetType = UNSET
    heading: float | UnsetType = UNSET


class LocationPagination(Struct):
    has_more: bool
    total: int
    limit: int
    offset: int


class LocationPage(Struct):
    """Everybody there is: `limit` and `offset` are only repeated."""

    locations: list[MemberLocation]
    pagination: LocationPagination


class PositionView(Struct):
    latitude: float
    longitude: float
    timestamp: int
    accuracy: float | UnsetType = UNSET
    speed: float | UnsetType = UNSET
    heading: float | UnsetType = UNSET


class MemberPosition(Struct, rename="camel"):
    user_id: UUID
    name: str
    location: PositionView


class TrackView(Struct, rename="camel"):
    """Where somebody was, oldest first."""

    user_id: UUID
    points: list[PositionView]


class ViewView(Struct, rename="camel"):
    """That somebody was shown my position, in the hour that began at `hour`."""

    user_id: UUID
    name: str
    hour: datetime


class ViewPage(Struct):
    views: list[ViewView]


class MeetingPointIn(Struct):
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: Annotated[str, Meta(max_length=255)] = ""
    radius: Annotated[float, Meta(ge=10, le=5_000)] = DEFAULT_RADIUS_M


class MeetingPointView(Struct, rename="camel"):
    """`radius` in metres: who is that near has arrived."""

    latitude: float
    longitude: float
    name: str
    radius: float
    set_by: UUID | None
    set_at: datetime


class DistanceView(Struct, rename="camel"):
    user_id: UUID
    name: str
    distance_m: float


class SuggestionView(Struct):
    """The place from which the sum of everybody's ways is least."""

    latitude: float
    longitude: float
    members: list[DistanceView]


class TripSharingView(Struct, rename="camel"):
    trip_id: UUID
    trip_name: str
    is_sharing_enabled: bool
    privacy: Privacy | None
    sharing_expires_at: datetime | None


class PreferencesView(Struct, rename="camel"):
    """Everything that decides who sees me; the strictest of it does."""

    location_privacy_preference: Privacy | None
    ghost_mode: bool
    trips: list[TripSharingView]


class PreferencesIn(Struct, rename="camel"):
    """With a `tripId`, what I share on that trip; what is left out stays as it is.

    `privacy` null leaves a trip to the other preferences. `sharingExpiresIn` is in seconds, a day at most.
    """

    trip_id: str | None = None
    is_sharing_enabled: bool | None = None
    privacy: Privacy | UnsetType | None = UNSET
    sharing_expires_in: int | None = None
    location_privacy_preference: Privacy | None = None
    ghost_mode: bool | None = None

    @property
    def trip(self) -> TripId | None:
        """The trip that this is about; None where it is about every trip.

        Raises:
            Invalid: the id is no trip's; or something that only trips have is to change, and none is named. Whoever
                asks to be hidden like that must not believe that they are.
        """
        asked = (self.is_sharing_enabled, self.sharing_expires_in, None if self.privacy is UNSET else self.privacy)
        if self.trip_id is None and any(one is not None for one in asked):
            raise Invalid(
                "Sharing and its privacy are of one trip: say which, as `tripId`.", code="trip_id_required"
            )
        return trip_id_in(self.trip_id)


def fix_in(body: FixIn, otherwise: Privacy) -> Fix:
    """The position in a body; `otherwise` is its privacy where it names none."""
    level = body.privacy_level if isinstance(body, LocationIn) else None
    return Fix(
        body.latitude,
        body.longitude,
        None if body.timestamp is None else _moment(body.timestamp),
        body.privacy or level or otherwise,
        body.accuracy,
        body.speed,
        body.heading,
    )


def opinion_in(body: LocationIn | BatchIn) -> Opinion:
    return Opinion(body.is_sharing_enabled, body.sharing_expires_in)


def moment_in(text: str | None, name: str, otherwise: datetime) -> datetime:
    """A moment in the query: RFC 3339, or milliseconds. One beyond what years there are is the farthest there is.

    Raises:
        Invalid: neither.
    """
    if not text:
        return otherwise
    try:
        if text.lstrip("-").isdecimal() and len(text) <= 20:
            return _moment(int(text))
        # An unescaped plus in a query is a space.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise Invalid(f"`{name}` is no time.", code="invalid_time_range") from None
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC)
    except OverflowError:
        return _FARTHEST[found.year > 1]


def member_location(trip_id: TripId, one: Shown) -> MemberLocation:
    at = one.position
    return MemberLocation(
        user_id=one.member.owner.user_id,
        trip_id=trip_id,
        latitude=at.latitude,
        longitude=at.longitude,
        accuracy=at.accuracy_m,
        privacy=at.privacy,
        is_sharing_enabled=one.is_sharing,
        timestamp=at.recorded_at,
        user_name=one.member.name or UNSET,
        speed=_given(at.speed_mps),
        heading=_given(at.heading_deg),
    )


def member_position(one: Shown) -> MemberPosition:
    return MemberPosition(one.member.owner.user_id, one.member.name, position(one.position))


def position(at: Seen) -> PositionView:
    return PositionView(
        at.latitude,
        at.longitude,
        round(at.recorded_at.timestamp() * 1000),
        _given(at.accuracy_m),
        _given(at.speed_mps),
        _given(at.heading_deg),
    )


def meeting_point(point: MeetingPoint) -> MeetingPointView:
    return MeetingPointView(point.latitude, point.longitude, point.name, point.radius_m, point.set_by, point.set_at)


def suggestion(found: Suggestion) -> SuggestionView:
    return SuggestionView(
        found.latitude,
        found.longitude,
        [
            DistanceView(one.member.owner.user_id, one.member.name, round(metres, 1))
            for one, metres in found.members
        ],
    )


def preferences(settings: OwnSettings, now: datetime) -> PreferencesView:
    return PreferencesView(
        settings.preference,
        settings.is_ghost,
        [
            TripSharingView(
                trip.trip_id,
                trip.trip_name,
                trip.sharing is not None and trip.sharing.is_on(now),
                None if trip.sharing is None else trip.sharing.privacy,
                None if trip.sharing is None else trip.sharing.expires_at,
            )
            for trip in settings.trips
        ],
    )


def rulings(found: Sequence[Ruling]) -> BatchView:
    return BatchView(
        sum(one in (Ruling.ACCEPTED, Ruling.JUMP) for one in found),
        [RulingView(index, one) for index, one in enumerate(found)],
    )


def trip_id_in(text: str | None) -> TripId | None:
    """The trip a body names; None where it names none.

    Raises:
        Invalid: that is no trip's id.
    """
    if text is None:
        return None
    value = parse_uuid(text)
    if value is None:
        raise Invalid("`tripId` is no trip's id.", code="invalid_trip_id")
    return TripId(value)


def location_view(
    user_id: UserId, trip_id: TripId | None, point: Point, privacy: Privacy, now: datetime
) -> LocationView:
    """The reply to a report: what became of it, which need not be what was sent."""
    return LocationView(
        id=f"{user_id}_{trip_id or 'global'}_{now:%Y%m%d%H%M%S}",
        user_id=user_id,
        trip_id=trip_id or UNSET,
        latitude=point.latitude,
        longitude=point.longitude,
        accuracy=point.accuracy_m,
        timestamp=point.recorded_at,
        privacy_level=privacy,
        created_at=now,
        updated_at=now,
    )


def _given(value: float | None) -> float | UnsetType:
    return UNSET if value is None else value


def _moment(milliseconds: int) -> datetime:
    """A moment; one beyond what years there are is the farthest there is."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return _FARTHEST[milliseconds > 0]
