"""A change that a client synchronises, and a page of them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.chat.model import Message, Reaction
from nomadcrew.core.errors import Gone, Invalid
from nomadcrew.core.ids import TripId

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


class Key(Struct, frozen=True):
    """The place of a change in the order of a page: its transaction, kind, id and scope."""

    written: int
    kind: str
    id: UUID
    scope: UUID


class Cursor(Struct, frozen=True):
    """A point between two pages.

    The client has all that was committed in the snapshot `base`, taken at `base_at`; nothing if it is None. Inside
    a run of pages, which brings the client from `base` to `target`, also `target_at` and `last` are set. `trips`
    are those that the client asked for.
    """

    epoch: UUID
    base: str | None
    base_at: datetime | None
    target: str | None = None
    target_at: datetime | None = None
    last: Key | None = None
    trips: Sequence[TripId] | None = None

    @property
    def oldest_at(self) -> datetime | None:
        """The time since which tombstones are needed."""
        return self.base_at or self.target_at


class ChangePage(Struct, frozen=True):
    changes: Sequence[Change]
    cursor: Cursor
    has_more: bool


class CursorExpired(Gone):
    code = "cursor_expired"
    text = "This cursor is too old. Drop all data and synchronise without `since`."


class BadCursor(Invalid):
    code = "invalid_cursor"
    text = "`since` must be a cursor of this route, sent with the same `trips`."
