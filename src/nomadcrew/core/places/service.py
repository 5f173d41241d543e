"""Finding places."""

from nomadcrew.core.errors import Invalid
from nomadcrew.core.places.model import MAX_QUERY, MIN_QUERY, Coordinates, FoundPlaces
from nomadcrew.core.places.ports import Places

DECIMALS = 6


async def suggest(text: str, *, near: Coordinates | None, limit: int, places: Places) -> FoundPlaces:
    """Places with a name that begins with `text`.

    Raises:
        Invalid: the text is too short or too long.
        PlacesUnavailable: as `Places` says.
    """
    text = " ".join(text.split())
    if not MIN_QUERY <= len(text) <= MAX_QUERY:
        raise Invalid(f"`q` must have {MIN_QUERY} to {MAX_QUERY} characters.", code="invalid_request_payload")
    return await places.suggest(text, near=near, limit=limit)


def coordinates(latitude: str | None, longitude: str | None, *, name: str) -> Coordinates:
    """The coordinates in two texts, to a tenth of a metre: squares of tiny numbers are too small for the database.

    Raises:
        Invalid: a text is missing or not a number of degrees; the message calls both `name`.
    """
    try:
        at = Coordinates(round(float(latitude or ""), DECIMALS), round(float(longitude or ""), DECIMALS))
    except ValueError:
        at = None
    if at is None or not (-90 <= at.latitude <= 90 and -180 <= at.longitude <= 180):
        raise Invalid(
            f"{name} must be a latitude from -90 to 90 and a longitude from -180 to 180.",
            code="invalid_request_payload",
        )
    return at
