"""Bodies of the location routes. The contract has camelCase requests and mostly snake_case replies."""

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
    TripSharing,
)
from nomadcrew.core.locations.privacy import VisiblePosition, strictest
from nomadcrew.core.locations.reports import ReportedPosition, SharingChoice
from nomadcrew.core.locations.service import MemberPosition, Suggestion
from nomadcrew.web.call import whole_number
from nomadcrew.web.decode import EACH_ALONE

_FARTHEST = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class FixIn(Struct, kw_only=True):
    """A position from a phone. Only latitude and longitude are required; `timestamp` is in Unix milliseconds, a
    fraction of which is cut off.

    Older clients send `privacy` as `privacy_level`; of two levels the stricter applies.
    """

    latitude: float
    longitude: float
    accuracy: float | None = None
    timestamp: int | None = None
    speed: float | None = None
    heading: float | None = None
    privacy: Privacy | None = None
    privacy_level: Privacy | None = None


class LocationIn(FixIn, rename={"is_sharing_enabled": "isSharingEnabled", "sharing_expires_in": "sharingExpiresIn",
                                "trip_id": "tripId"}):  # fmt: skip
    is_sharing_enabled: bool | None = None
    sharing_expires_in: int | None = None
    trip_id: str | None = None


class BatchIn(Struct, rename="camel"):
    """Positions in any order, up to thirty days old. One that cannot be read, which is None, is refused alone."""

    locations: Annotated[list[FixIn | None], Meta(min_length=1, max_length=MAX_BATCH, extra=EACH_ALONE)]
    is_sharing_enabled: bool | None = None
    sharing_expires_in: int | None = None


class LocationView(Struct, kw_only=True):
    """A stored position. `privacy_level` is the strictest privacy that applies to it."""

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
    """A verdict for each position, in the order they were sent. `accepted` counts the stored ones."""

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
    """All visible positions. `limit` and `offset` are repeated from the request, not applied."""

    locations: list[MemberLocation]
    pagination: LocationPagination


class PositionView(Struct):
    latitude: float
    longitude: float
    timestamp: int
    accuracy: float | UnsetType = UNSET
    speed: float | UnsetType = UNSET
    heading: float | UnsetType = UNSET


class MemberPositionView(Struct, rename="camel"):
    user_id: UUID
    name: str
    location: PositionView


class TrackView(Struct, rename="camel"):
    """A member's track, oldest point first."""

    user_id: UUID
    points: list[PositionView]


class ViewView(Struct, rename="camel"):
    """A member saw the caller's position in the hour that began at `hour`."""

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
    """A meeting point. `radius` is in metres: a member within it has arrived."""

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
    """The point with the least total distance from the members, and each member's distance."""

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
    """All preferences that limit who sees the caller's position; the strictest applies."""

    location_privacy_preference: Privacy | None
    ghost_mode: bool
    trips: list[TripSharingView]


class PreferencesIn(Struct, rename="camel"):
    """With a `tripId`, also the caller's sharing on that trip. Omitted fields stay unchanged.

    A null `privacy` removes the trip's own privacy. `sharingExpiresIn` is in seconds, one day at most.
    """

    trip_id: str | None = None
    is_sharing_enabled: bool | None = None
    privacy: Privacy | UnsetType | None = UNSET
    sharing_expires_in: int | None = None
    location_privacy_preference: Privacy | None = None
    ghost_mode: bool | None = None

    @property
    def trip(self) -> TripId | None:
        """The trip of `tripId`; None without one.

        Raises:
            Invalid: `tripId` is malformed, or missing although a trip's own field is set. Ignoring that field could
                make users believe that they are hidden.
        """
        fields = (self.is_sharing_enabled, self.sharing_expires_in, None if self.privacy is UNSET else self.privacy)
        if self.trip_id is None and any(field is not None for field in fields):
            raise Invalid(
                "`tripId` is required: sharing and its privacy belong to a trip.", code="trip_id_required"
            )
        return trip_id_in(self.trip_id)


def fix_in(body: FixIn, default_privacy: Privacy) -> ReportedPosition:
    """The position in a body."""
    levels = [level for level in (body.privacy, body.privacy_level) if level is not None]
    return ReportedPosition(
        body.latitude,
        body.longitude,
        None if body.timestamp is None else _moment(body.timestamp),
        strictest(*levels) if levels else default_privacy,
        body.accuracy,
        body.speed,
        body.heading,
    )


def fixes_in(body: BatchIn) -> list[ReportedPosition | None]:
    """The positions in a batch; None for one that cannot be read."""
    return [None if fix is None else fix_in(fix, Privacy.PRECISE) for fix in body.locations]


def opinion_in(body: LocationIn | BatchIn) -> SharingChoice:
    return SharingChoice(body.is_sharing_enabled, body.sharing_expires_in)


def moment_in(text: str | None, name: str, otherwise: datetime) -> datetime:
    """A time in the query: RFC 3339 or Unix milliseconds; `otherwise` without one. Clamped to the years 1 to 9999.

    Raises:
        Invalid: the text is in neither form.
    """
    if not text:
        return otherwise
    try:
        milliseconds = whole_number(text)
        if milliseconds is not None:
            return _moment(milliseconds)
        # An unescaped plus in a query is a space.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise Invalid(f"`{name}` must be a time in RFC 3339.", code="invalid_time_range") from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _FARTHEST[moment.year > 1]


def member_location(trip_id: TripId, shown: MemberPosition) -> MemberLocation:
    at = shown.position
    return MemberLocation(
        user_id=shown.member.owner.user_id,
        trip_id=trip_id,
        latitude=at.latitude,
        longitude=at.longitude,
        accuracy=at.accuracy_m,
        privacy=at.privacy,
        is_sharing_enabled=shown.is_sharing,
        timestamp=at.recorded_at,
        user_name=shown.member.name or UNSET,
        speed=_given(at.speed_mps),
        heading=_given(at.heading_deg),
    )


def member_position(shown: MemberPosition) -> MemberPositionView:
    return MemberPositionView(shown.member.owner.user_id, shown.member.name, position(shown.position))


def position(at: VisiblePosition) -> PositionView:
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


def suggestion(point: Suggestion) -> SuggestionView:
    return SuggestionView(
        point.latitude,
        point.longitude,
        [
            DistanceView(shown.member.owner.user_id, shown.member.name, round(metres, 1))
            for shown, metres in point.members
        ],
    )


def preferences(settings: OwnSettings, now: datetime) -> PreferencesView:
    return PreferencesView(
        settings.preference,
        settings.is_ghost,
        [trip_sharing_view(trip, now) for trip in settings.trips],
    )


def trip_sharing_view(trip: TripSharing, now: datetime) -> TripSharingView:
    return TripSharingView(
        trip.trip_id,
        trip.trip_name,
        trip.sharing is not None and trip.sharing.is_on(now),
        None if trip.sharing is None else trip.sharing.privacy,
        None if trip.sharing is None or not trip.sharing.is_enabled else trip.sharing.until,
    )


def rulings(verdicts: Sequence[Ruling]) -> BatchView:
    return BatchView(
        sum(verdict in (Ruling.ACCEPTED, Ruling.JUMP) for verdict in verdicts),
        [RulingView(index, verdict) for index, verdict in enumerate(verdicts)],
    )


def trip_id_in(text: str | None) -> TripId | None:
    """The trip id in a body; None without one.

    Raises:
        Invalid: the id is malformed.
    """
    if text is None:
        return None
    value = parse_uuid(text)
    if value is None:
        raise Invalid("`tripId` must be a trip id.", code="invalid_trip_id")
    return TripId(value)


def location_view(
    user_id: UserId, trip_id: TripId | None, point: Point, privacy: Privacy, now: datetime
) -> LocationView:
    """The reply to a report, with the point and privacy as stored."""
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
    """The time in UTC, clamped to the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return _FARTHEST[milliseconds > 0]
