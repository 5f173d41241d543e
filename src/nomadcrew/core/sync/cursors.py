"""Points between two pages of changes, and their opaque texts."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId


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


class BadCursor(Invalid):
    code = "invalid_cursor"
    text = "`since` must be a cursor of this route, sent with the same `trips`."


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Cursor).decode
_MAX_CHARACTERS = 64_000
_SNAPSHOT = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):((?:[0-9]{1,18}(?:,[0-9]{1,18})*)?)", re.ASCII)


def text_of(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(_encode(cursor)).decode().rstrip("=")


def cursor_of(text: str) -> Cursor:
    """The cursor in a text.

    Raises:
        BadCursor: the text is not one of `text_of`.
    """
    if len(text) > _MAX_CHARACTERS:
        raise BadCursor
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = _decode(data)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise BadCursor from None
    if not (_is_point(cursor.base, cursor.base_at) and _is_point(cursor.target, cursor.target_at)):
        raise BadCursor
    if (cursor.base is None and cursor.target is None) or (cursor.target is None) != (cursor.last is None):
        raise BadCursor
    if cursor.last is not None and not (0 <= cursor.last.written < 2**63 and cursor.last.kind.isalpha()):
        raise BadCursor
    return cursor


def _is_point(snapshot: str | None, at: datetime | None) -> bool:
    """True for a snapshot with its time, and for neither."""
    if snapshot is None or at is None:
        return snapshot is None and at is None
    return at.tzinfo is not None and _is_snapshot(snapshot)


def _is_snapshot(text: str) -> bool:
    """True for a text that PostgreSQL accepts as a snapshot."""
    match = _SNAPSHOT.fullmatch(text)
    if match is None:
        return False
    oldest, next_ = int(match[1]), int(match[2])
    running = [int(one) for one in match[3].split(",") if one]
    return 0 < oldest <= next_ and running == sorted(set(running)) and all(oldest <= one < next_ for one in running)
