"""The parts of a trip's screen."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct

from nomadcrew.core.chat.model import MessagePage, Receipt
from nomadcrew.core.documents.model import Document
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.polls.model import Poll
from nomadcrew.core.todos.model import Todo
from nomadcrew.core.trips.model import TripMember


class Part(StrEnum):
    TRIP = "trip"
    MEMBERS = "members"
    TODOS = "todos"
    POLLS = "polls"
    DOCUMENTS = "documents"
    PHOTOS = "photos"
    MESSAGES = "messages"
    RECEIPTS = "receipts"


# The page sizes of the routes of these lists.
PAGES: Mapping[Part, int] = MappingProxyType(
    {Part.TODOS: 100, Part.POLLS: 20, Part.DOCUMENTS: 20, Part.PHOTOS: 50, Part.MESSAGES: 50}
)


class Screen(Struct, frozen=True):
    """The parts that were asked for; the others are empty. `card` is JSON text, ready for the wire.

    Lists have the order of their routes. `totals` counts the to-dos, polls and documents beyond the page.
    """

    card: str | None = None
    members: Sequence[TripMember] = ()
    todos: Sequence[Todo] = ()
    polls: Sequence[Poll] = ()
    documents: Sequence[Document] = ()
    photos: Sequence[Picture] = ()
    messages: MessagePage | None = None
    receipts: Sequence[Receipt] = ()
    totals: Mapping[Part, int] = MappingProxyType({})
