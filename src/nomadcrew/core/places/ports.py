"""Port of places."""

from typing import Protocol

from nomadcrew.core.places.model import Coordinates, FoundPlaces


class Gazetteer(Protocol):
    """The data behind `Places`, on hosts that have it themselves."""

    async def refresh(self) -> int:
        """Load the places if their version has changed, as on the first start. Returns the number of parts."""
        ...


class Places(Protocol):
    """Both methods raise `PlacesUnavailable` in an outage, and `PlacesOff` if there are no places."""

    async def suggest(self, text: str, *, near: Coordinates | None, limit: int) -> FoundPlaces:
        """Places with a name that begins with `text`, in any language, the most likely first.

        Large places and places near `near` are likely.
        """
        ...

    async def reverse(self, at: Coordinates) -> FoundPlaces:
        """The place at coordinates; none if there is no place within `MAX_REVERSE_KM`."""
        ...
