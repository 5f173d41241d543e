"""Trips: /v1/trips."""

from nomadcrew.api.members.bodies import membership_view
from nomadcrew.api.trips.bodies import (
    CreatedTripView,
    NewTripIn,
    StatusIn,
    TripChangeIn,
    TripDetailsView,
    TripSearchIn,
    TripView,
    card_view,
    created_trip_view,
    trip_view,
)
from nomadcrew.core.trips import service
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER
from nomadcrew.core.versions import Versioned
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.etags import based_on_match
from nomadcrew.web.pages import AFTER, after_of, paged
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes

PAGE = (Param("limit", "integer", "Page size, 1 to 500. Default: 500."), AFTER)

routes = Routes(
    "trips", ports=("idempotency", "limits", "open_sessions", "outbox", "time_zones", "trips", "versions")
)


@routes.post("/v1/trips", status=201, bucket="trip_create", idempotency=Idempotency.FINGERPRINT, refusals=(409,))
async def create_trip(call: Call, body: NewTripIn) -> CreatedTripView:
    """Create a trip.

    The caller becomes its owner. The same trip sent again within 30 seconds returns the first one.
    """
    trip = await service.create_trip(
        body.to_new_trip(),
        call.user_id,
        trips=call.ports.trips,
        time_zones=call.ports.time_zones,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
    )
    return created_trip_view(trip)


@routes.get("/v1/trips", query=PAGE, refusals=(400,))
async def list_trips(call: Call) -> list[TripView] | Reply:
    """List the caller's trips.

    Trips with an active membership, latest start first. A page ends early if its trips have more than 2,000 members
    together. The Link header leads to the next page.
    """
    page = await service.list_trips(
        call.user_id,
        trips=call.ports.trips,
        limit=call.count("limit", default=MAX_TRIPS_PER_USER, lowest=1, highest=MAX_TRIPS_PER_USER),
        after=after_of(call),
    )
    return paged(call, [card_view(trip.body) for trip in page.trips], page.last)


@routes.get("/v1/trips/{id}", gate=Gate("trip", "read"), versioned=True)
async def get_trip(call: Call) -> TripView:
    """Get a trip."""
    return card_view(await service.get_card(call.trip_id, call.user_id, trips=call.ports.trips))


@routes.put("/v1/trips/{id}", gate=Gate("trip", "update"), versioned=True)
async def update_trip(call: Call, body: TripChangeIn) -> TripView:
    """Update a trip.

    Omitted fields stay unchanged; an empty name is ignored. `status` must be the current one or a valid next one. A
    new destination brings its time zone, unless `timezone` names another one.
    """
    async with based_on_match(call, Versioned.TRIP, call.trip_id, body.to_change(), get_trip):
        trip = await service.change_trip(
            call.trip_id,
            body.to_change(),
            call.user_id,
            trips=call.ports.trips,
            time_zones=call.ports.time_zones,
            new_id=call.ports.new_id,
            now=call.now,
        )
    return trip_view(trip)


@routes.delete("/v1/trips/{id}", status=204, gate=Gate("trip", "delete"))
async def delete_trip(call: Call) -> None:
    """Delete a trip."""
    await service.delete_trip(
        call.trip_id, call.user_id, trips=call.ports.trips, new_id=call.ports.new_id, now=call.now
    )


@routes.patch("/v1/trips/{id}/status", gate=Gate("trip", "update"), versioned=True)
async def change_trip_status(call: Call, body: StatusIn) -> TripView:
    """Change a trip's status.

    Valid changes: from PLANNING to ACTIVE or CANCELLED, from ACTIVE to COMPLETED or CANCELLED.
    """
    async with based_on_match(call, Versioned.TRIP, call.trip_id, {"status": body.status}, get_trip):
        trip = await service.change_status(
            call.trip_id,
            body.status,
            call.user_id,
            trips=call.ports.trips,
            new_id=call.ports.new_id,
            now=call.now,
        )
    return trip_view(trip)


@routes.post("/v1/trips/{id}/search", gate=Gate("trip", "read"), query=(AFTER,))
async def search_trips(call: Call, body: TripSearchIn) -> list[TripView] | Reply:
    """Search the caller's trips.

    The filters are a part of the destination, and dates. The trip in the path must be one of the caller's; it does
    not limit the results. The Link header leads to the next page, which is asked for with the same body.
    """
    page = await service.search_trips(
        call.trip_id, body.to_search(), call.user_id, trips=call.ports.trips, after=after_of(call)
    )
    return paged(call, [card_view(trip.body) for trip in page.trips], page.last)


@routes.get("/v1/trips/{id}/details", gate=Gate("trip", "read"))
async def get_trip_details(call: Call) -> TripDetailsView:
    """Get a trip with its memberships."""
    trip = await service.get_trip(call.trip_id, call.user_id, trips=call.ports.trips)
    return TripDetailsView(trip_view(trip), [membership_view(member) for member in trip.members])
