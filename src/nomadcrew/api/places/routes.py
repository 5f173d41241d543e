"""Places for the destinations of trips: /v1/places."""

from nomadcrew.api.places.bodies import PlacesView, places_view
from nomadcrew.core.places import service
from nomadcrew.core.places.model import DEFAULT_PLACES, MAX_PLACES
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Param, Routes

routes = Routes("places", ports=("limits", "open_sessions", "places"), uses_outbox=False)
SUGGEST = (
    Param("q", "string", "Beginning of a name, 2 to 100 characters.", required=True),
    Param("near", "string", "Latitude and longitude, such as `41.15,-8.61`; places near them come first."),
    Param("limit", "integer", f"Number of places, 1 to {MAX_PLACES}. Default: {DEFAULT_PLACES}."),
)
REVERSE = (
    Param("lat", "number", "Latitude.", required=True),
    Param("lon", "number", "Longitude.", required=True),
)


@routes.get("/v1/places/suggest", auth=Auth.TOKEN, bucket="places", query=SUGGEST, refusals=(400,))
async def suggest_places(call: Call) -> PlacesView:
    """Suggest places while a user types.

    Accents and case do not matter, and names in other languages count. Large and near places come first.
    """
    near = call.query("near")
    latitude, _, longitude = (near or "").partition(",")
    found = await service.suggest(
        call.query("q") or "",
        near=service.coordinates(latitude, longitude, name="`near`") if near else None,
        limit=call.count("limit", default=DEFAULT_PLACES, lowest=1, highest=MAX_PLACES),
        places=call.ports.places,
    )
    return places_view(found)


@routes.get("/v1/places/reverse", auth=Auth.TOKEN, bucket="places", query=REVERSE, refusals=(400,))
async def get_place_at(call: Call) -> PlacesView:
    """Get the place at coordinates.

    The list has one place, or none if the next one is more than 100 km away.
    """
    at = service.coordinates(call.query("lat"), call.query("lon"), name="`lat` and `lon`")
    return places_view(await call.ports.places.reverse(at))
