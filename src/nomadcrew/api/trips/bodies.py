"""Bodies of the trip routes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

from msgspec import Meta, Raw, Struct

from nomadcrew.api.members.bodies import MembershipView
from nomadcrew.core.clock import midnight
from nomadcrew.core.trips.model import NewTrip, Status, Trip, TripChange, TripSearch

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(max_length=5000)]
Place = Annotated[str, Meta(max_length=512)]
Zone = Annotated[str, Meta(max_length=64, description="IANA time zone, such as Europe/Lisbon.")]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
T = TypeVar("T")
Instant = Annotated[datetime, Meta(tz=True)]


class Coordinates(Struct):
    lat: Latitude
    lng: Longitude


class DestinationIn(Struct, rename="camel"):
    address: Place | None = None
    place_id: Place | None = None
    name: Place | None = None
    coordinates: Coordinates | None = None


class NewTripIn(Struct, rename="camel"):
    """A trip to create. Dates are RFC 3339 timestamps, of which only the date as written is used.

    Without a time zone the trip gets that of its destination.
    """

    name: Name
    start_date: Instant
    end_date: Instant
    destination_latitude: Latitude
    destination_longitude: Longitude
    description: Text | None = None
    destination_place_id: Place | None = None
    destination_address: Place | None = None
    destination_name: Place | None = None
    status: Status = Status.PLANNING
    background_image_url: Annotated[str, Meta(max_length=512)] | None = None
    timezone: Zone | None = None

    def to_new_trip(self) -> NewTrip:
        return NewTrip(
            name=self.name,
            description=self.description or "",
            destination_place_id=self.destination_place_id or None,
            destination_address=self.destination_address or None,
            destination_name=self.destination_name or None,
            destination_latitude=self.destination_latitude,
            destination_longitude=self.destination_longitude,
            start_date=self.start_date.date(),
            end_date=self.end_date.date(),
            status=self.status,
            background_image_url=self.background_image_url or "",
            timezone=self.timezone or "",
        )


class TripChangeIn(Struct, rename="camel"):
    """Fields to change. The destination is flat or nested, as older and newer clients send it."""

    name: Annotated[str, Meta(max_length=255)] | None = None
    description: Text | None = None
    destination_place_id: Place | None = None
    destination_address: Place | None = None
    destination_name: Place | None = None
    destination_latitude: Latitude | None = None
    destination_longitude: Longitude | None = None
    destination: DestinationIn | None = None
    start_date: Instant | None = None
    end_date: Instant | None = None
    status: Status | None = None
    timezone: Zone | None = None

    def to_change(self) -> TripChange:
        nested = self.destination or DestinationIn()
        at = nested.coordinates
        return TripChange(
            name=self.name,
            description=self.description,
            destination_place_id=_first(self.destination_place_id, nested.place_id),
            destination_address=_first(self.destination_address, nested.address),
            destination_name=_first(self.destination_name, nested.name),
            destination_latitude=_first(self.destination_latitude, at.lat if at else None),
            destination_longitude=_first(self.destination_longitude, at.lng if at else None),
            start_date=self.start_date.date() if self.start_date else None,
            end_date=self.end_date.date() if self.end_date else None,
            status=self.status,
            timezone=self.timezone or None,
        )


class StatusIn(Struct):
    status: Status


class TripSearchIn(Struct, rename="camel"):
    """Filters for the caller's trips, all optional."""

    destination: Annotated[str, Meta(max_length=512)] | None = None
    start_date_from: Instant | None = None
    start_date: Instant | None = None
    start_date_to: Instant | None = None
    end_date: Instant | None = None
    limit: int | None = None
    offset: int | None = None

    def to_search(self) -> TripSearch:
        limit = 50 if self.limit is None or self.limit <= 0 else min(self.limit, 100)
        start = self.start_date_from or self.start_date
        return TripSearch(
            destination=self.destination or None,
            start_from=start.date() if start else None,
            start_to=self.start_date_to.date() if self.start_date_to else None,
            end_to=self.end_date.date() if self.end_date else None,
            limit=limit,
            offset=min(max(self.offset or 0, 0), 1_000_000),
        )


class MemberView(Struct, rename="camel"):
    """A membership, as part of a trip."""

    id: UUID
    trip_id: UUID
    user_id: UUID
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    name: str


class BackgroundCreditView(Struct):
    """The credit of a found background picture: the photographer, and `url`, the photo's page."""

    photographer: str
    url: str
    source: str


class TripView(Struct, rename="camel", omit_defaults=True):
    """A trip with a flat destination. Dates are midnight UTC; the trip's days are those of its time zone."""

    id: UUID
    name: str
    description: str
    destination_latitude: float
    destination_longitude: float
    start_date: datetime
    end_date: datetime
    status: str
    created_at: datetime
    updated_at: datetime
    background_image_url: str
    members: list[MemberView]
    participant_count: int
    timezone: str
    destination_place_id: str | None = None
    destination_address: str | None = None
    destination_name: str | None = None
    created_by: UUID | None = None
    created_by_name: str | None = None
    background_image_credit: BackgroundCreditView | None = None


class DestinationView(Struct, rename="camel", omit_defaults=True):
    address: str
    place_id: str
    coordinates: Coordinates
    name: str | None = None


class CreatedTripView(Struct, rename="camel", omit_defaults=True):
    """A created trip, with a nested destination."""

    id: UUID
    name: str
    description: str
    destination: DestinationView
    start_date: datetime
    end_date: datetime
    status: str
    created_at: datetime
    updated_at: datetime
    background_image_url: str
    members: list[MemberView]
    invitations: list[Any]
    participant_count: int
    timezone: str
    created_by: UUID | None = None
    created_by_name: str | None = None
    background_image_credit: BackgroundCreditView | None = None


class TripDetailsView(Struct):
    trip: TripView
    members: list[MembershipView]


def _first(a: T | None, b: T | None) -> T | None:
    return a if a is not None else b


def card_view(body: str) -> TripView:
    """A card as it is: the database writes it in the form of `TripView`."""
    return cast(TripView, Raw(body))


def trip_view(trip: Trip) -> TripView:
    members = _members(trip)
    return TripView(
        id=trip.id,
        name=trip.name,
        description=trip.description,
        destination_latitude=trip.destination_latitude,
        destination_longitude=trip.destination_longitude,
        start_date=midnight(trip.start_date),
        end_date=midnight(trip.end_date),
        status=trip.status,
        created_at=trip.created_at,
        updated_at=trip.updated_at,
        background_image_url=trip.background_image_url,
        members=members,
        participant_count=trip.member_count,
        timezone=trip.timezone,
        destination_place_id=trip.destination_place_id,
        destination_address=trip.destination_address,
        destination_name=trip.destination_name,
        created_by=trip.created_by,
        created_by_name=_name_of(trip.created_by, members),
        background_image_credit=_credit(trip),
    )


def created_trip_view(trip: Trip) -> CreatedTripView:
    return CreatedTripView(
        id=trip.id,
        name=trip.name,
        description=trip.description,
        destination=DestinationView(
            address=trip.destination_address or "",
            place_id=trip.destination_place_id or "",
            coordinates=Coordinates(trip.destination_latitude, trip.destination_longitude),
            name=trip.destination_name,
        ),
        start_date=midnight(trip.start_date),
        end_date=midnight(trip.end_date),
        status=trip.status,
        created_at=trip.created_at,
        updated_at=trip.updated_at,
        background_image_url=trip.background_image_url,
        members=_members(trip),
        invitations=[],
        participant_count=trip.member_count,
        timezone=trip.timezone,
        created_by=trip.created_by,
        created_by_name=trip.created_by_name,
        background_image_credit=_credit(trip),
    )


def _credit(trip: Trip) -> BackgroundCreditView | None:
    if trip.background_photographer is None or trip.background_page_url is None:
        return None
    return BackgroundCreditView(trip.background_photographer, trip.background_page_url, "Pexels")


def _members(trip: Trip) -> list[MemberView]:
    return [
        MemberView(m.id, m.trip_id, m.user_id, m.role, m.status, m.created_at, m.updated_at, m.name)
        for m in trip.members
    ]


def _name_of(user_id: UUID | None, members: Sequence[MemberView]) -> str | None:
    for member in members:
        if member.user_id == user_id:
            return member.name
    return None
