"""Port of the search of a trip."""

from collections.abc import Sequence
from typing import Protocol

from nomadcrew.core.access import Access
from nomadcrew.core.find.model import Found


class Finder(Protocol):
    async def find(self, access: Access, words: Sequence[str], *, limit: int) -> Found:
        """The newest matches of each kind, at most `limit`, that have all keys `words` in their texts.

        Searches the members by name, the documents of the trip's wallet by name, polls by question and options,
        to-dos, and messages. Of messages and to-dos the newest `SEARCHED` are searched, of polls the newest
        `SEARCHED_POLLS`.

        Raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip) and `Forbidden`.
        """
        ...
