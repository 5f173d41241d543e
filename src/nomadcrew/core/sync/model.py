"""A change that a client synchronises, and a page of them."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.chat.model import Message, Reaction
from nomadcrew.core.errors import Gone
from nomadcrew.core.ids import TripId
from nomadcrew.core.sync.cursors import Cursor

MAX_CHANGES = 500  # of a page
# A page of longer changes ends early: 600 KB.
MAX_PAGE_BYTES = 600_000
MAX_TRIPS = 500  # that a client names


class Kind(StrEnum):
    """The kinds of entities. Those of the first group belong to a trip, the others to their user."""

    TRIP = "trip"
    MEMBER = "member"
    INVITATION = "invitation"
    TODO = "todo"
    MESSAGE = "message"
    RECEIPT = "receipt"
    POLL = "poll"
    DOCUMENT = "document"  # those of the user's own wallet belong to the user
    PHOTO = "photo"
    SHARING = "sharing"
    TRIP_PREFERENCES = "tripPreferences"
    PROFILE = "profile"
    PREFERENCES = "preferences"
    NOTIFICATION = "notification"


class Change(Struct, frozen=True):
    """An entity as it is now; `entity` is None for one that the caller no longer sees.

    The id of a receipt is its reader's. The id of `sharing` and `tripPreferences` is their trip's. A trip that the
    caller no longer sees stands for all entities with its `trip_id`.
    """

    kind: Kind
    id: UUID
    trip_id: TripId | None
    entity: object | None


class SyncedMessage(Struct, frozen=True):
    """A message with each of its reactions, oldest first."""

    message: Message
    reactions: Sequence[Reaction] = ()


class ChangePage(Struct, frozen=True):
    changes: Sequence[Change]
    cursor: Cursor
    has_more: bool


class CursorExpired(Gone):
    code = "cursor_expired"
    text = "This cursor is too old. Drop all data and synchronise without `since`."
