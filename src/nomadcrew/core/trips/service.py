"""Trips: creating, listing, changing and deleting."""

from datetime import datetime

from msgspec.structs import replace

from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, MembershipId, NewId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.text import check_label, is_visible
from nomadcrew.core.timezones import DEFAULT, TimeZones, check_timezone
from nomadcrew.core.trips.model import (
    MAX_TRIPS_PER_USER,
    InvalidDates,
    NewTrip,
    Status,
    Trip,
    TripChange,
    TripPage,
    TripSearch,
)
from nomadcrew.core.trips.ports import Trips

MAX_NAME = 255
MAX_DESCRIPTION = 5_000
MAX_PLACE = 512
MAX_IMAGE_URL = 512


async def create_trip(
    new: NewTrip,
    caller: UserId,
    *,
    trips: Trips,
    time_zones: TimeZones,
    new_id: NewId,
    now: datetime,
    fingerprint: bytes,
) -> Trip:
    """Create a trip with the caller as its OWNER.

    Raises:
        Invalid: a field is empty, too long or out of range; `InvalidDates` if the end is before the start.
        DomainError: as `Trips.add` says.
    """
    check_new(new)
    if not new.timezone:
        new = replace(new, timezone=_zone_at(new.destination_latitude, new.destination_longitude, time_zones))
    return await trips.add(
        TripId(new_id()),
        MembershipId(new_id()),
        EventId(new_id()),
        new,
        caller,
        now=now,
        fingerprint=fingerprint,
    )


def check_new(new: NewTrip) -> None:
    """Check a trip to create.

    Raises:
        Invalid: a field is empty, too long or out of range; `InvalidDates` if the end is before the start.
    """
    _check(TripChange(new.name, new.description, new.destination_place_id, new.destination_address,
                      new.destination_name, new.destination_latitude, new.destination_longitude,
                      timezone=new.timezone or None))  # fmt: skip
    if not new.name:
        raise Invalid("`name` must not be empty.", code="invalid_request_payload")
    if len(new.background_image_url) > MAX_IMAGE_URL:
        raise Invalid(
            f"`backgroundImageUrl` must have at most {MAX_IMAGE_URL} characters.", code="invalid_request_payload"
        )
    if new.end_date < new.start_date:
        raise InvalidDates


async def list_trips(
    caller: UserId, *, trips: Trips, limit: int = MAX_TRIPS_PER_USER, after: After | None = None
) -> TripPage:
    """The caller's trips below `after`, latest start first."""
    return await trips.list_for_user(caller, limit=limit, after=after)


async def search_trips(
    trip_id: TripId, search: TripSearch, caller: UserId, *, trips: Trips, after: After | None = None
) -> TripPage:
    """The caller's trips that match. The contract requires a `trip_id`, which must be one of the caller's."""
    return await trips.search(Access(trip_id, caller, rule("trip", "read")), search, after=after)


async def get_card(trip_id: TripId, caller: UserId, *, trips: Trips) -> str:
    """The trip as lists show it, as JSON text."""
    return await trips.card(Access(trip_id, caller, rule("trip", "read")))


async def get_trip(trip_id: TripId, caller: UserId, *, trips: Trips) -> Trip:
    return await trips.get(Access(trip_id, caller, rule("trip", "read")))


async def change_trip(
    trip_id: TripId,
    change: TripChange,
    caller: UserId,
    *,
    trips: Trips,
    time_zones: TimeZones,
    new_id: NewId,
    now: datetime,
) -> Trip:
    """Change details and status. An empty name is ignored; an empty description is stored.

    New coordinates bring the time zone there, unless the change names another one.

    Raises:
        Invalid: a field is too long or out of range.
        DomainError: as `Trips.change` says.
    """
    _check(change)
    change = await _with_zone(trip_id, change, caller, trips=trips, time_zones=time_zones)
    return await _change(trip_id, change, caller, must_move=False, trips=trips, new_id=new_id, now=now)


async def change_status(
    trip_id: TripId, status: Status, caller: UserId, *, trips: Trips, new_id: NewId, now: datetime
) -> Trip:
    """Change the trip's status.

    Raises:
        InvalidTransition: the status cannot follow the stored one, or is the stored one.
    """
    change = TripChange(status=status)
    return await _change(trip_id, change, caller, must_move=True, trips=trips, new_id=new_id, now=now)


async def _with_zone(
    trip_id: TripId, change: TripChange, caller: UserId, *, trips: Trips, time_zones: TimeZones
) -> TripChange:
    """The change with the time zone at its coordinates; a client may send one of them only."""
    latitude, longitude = change.destination_latitude, change.destination_longitude
    if change.timezone is not None or (latitude is None and longitude is None):
        return change
    if latitude is None or longitude is None:
        stored = await trips.get(Access(trip_id, caller, rule("trip", "update")))
        latitude = stored.destination_latitude if latitude is None else latitude
        longitude = stored.destination_longitude if longitude is None else longitude
    return replace(change, destination_timezone=_zone_at(latitude, longitude, time_zones))


def _zone_at(latitude: float, longitude: float, time_zones: TimeZones) -> str:
    """The time zone of a destination; clients send two zeros for a trip without one."""
    return time_zones.at(latitude, longitude) if latitude or longitude else DEFAULT


async def _change(
    trip_id: TripId,
    change: TripChange,
    caller: UserId,
    *,
    must_move: bool,
    trips: Trips,
    new_id: NewId,
    now: datetime,
) -> Trip:
    return await trips.change(
        Access(trip_id, caller, rule("trip", "update")),
        change,
        must_move=must_move,
        event_ids=(EventId(new_id()), EventId(new_id())),
        now=now,
    )


async def delete_trip(trip_id: TripId, caller: UserId, *, trips: Trips, new_id: NewId, now: datetime) -> None:
    await trips.delete(Command(trip_id, caller, rule("trip", "delete"), EventId(new_id()), now))


def _check(fields: TripChange) -> None:
    limits = (
        ("name", fields.name, MAX_NAME),
        ("description", fields.description, MAX_DESCRIPTION),
        ("destinationPlaceId", fields.destination_place_id, MAX_PLACE),
        ("destinationAddress", fields.destination_address, MAX_PLACE),
        ("destinationName", fields.destination_name, MAX_PLACE),
    )
    for name, text, limit in limits:
        if text is not None and len(text) > limit:
            raise Invalid(f"`{name}` must have at most {limit} characters.", code="invalid_request_payload")
        check_label(name, text or "")
    if fields.name and not is_visible(fields.name):
        raise Invalid("`name` must have a visible character.", code="invalid_request_payload")
    for name, degrees, bound in (
        ("destinationLatitude", fields.destination_latitude, 90.0),
        ("destinationLongitude", fields.destination_longitude, 180.0),
    ):
        if degrees is not None and not -bound <= degrees <= bound:
            raise Invalid(f"`{name}` must be from -{bound:g} to {bound:g}.", code="invalid_request_payload")
    if fields.timezone is not None:
        check_timezone(fields.timezone)
