"""Port of the screens of trips."""

from collections.abc import Collection
from typing import Protocol

from nomadcrew.core.access import Access
from nomadcrew.core.screens.model import Part, Screen


class Screens(Protocol):
    async def get(self, access: Access, parts: Collection[Part]) -> Screen:
        """The first pages of these parts of a trip. The rules of all parts are the one in `access`.

        Polls have all votes; their viewer may see less.

        Raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip) and `Forbidden`.
        """
        ...
