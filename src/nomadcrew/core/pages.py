"""Pages of lists that are sorted by a time and an id, both descending."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class After(Struct, frozen=True):
    """The end of a page: the time and the id of its last item.

    The next page begins below it, so that items which come or go meanwhile make no other item repeat or vanish.
    """

    at: datetime
    id: UUID
