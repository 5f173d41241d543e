"""Cursors of lists: the query parameter `after`, and the link to the next page in the header Link (RFC 8288)."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from nomadcrew.core.errors import Invalid
from nomadcrew.core.pages import After
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.dispatch import encode
from nomadcrew.web.problems import JSON_TYPE
from nomadcrew.web.routes import Param

T = TypeVar("T")

AFTER = Param(
    "after", "string", "The cursor in the Link header of the previous page. Default: start with the first."
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def cursor_of(after: After) -> str:
    """The cursor as an opaque text."""
    time = (after.at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(time.to_bytes(8, "big", signed=True) + after.id.bytes).decode()


def after_of(call: Call) -> After | None:
    """The cursor in the query; None without one.

    Raises:
        Invalid: it is not a cursor.
    """
    text = call.query("after")
    if not text:
        return None
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
        at = _EPOCH + int.from_bytes(data[:8], "big", signed=True) * _MICROSECOND
        return After(at, UUID(bytes=data[8:]))
    except (ValueError, OverflowError, binascii.Error):
        raise Invalid("This cursor does not belong to this list.", code="invalid_cursor") from None


def paged(call: Call, view: T, last: After | None) -> T | Reply:
    """The reply with a page and, if there may be another one, the link to it; `last` is the page's last item."""
    if last is None:
        return view
    query = {name: values[0] for name, values in call.request.query.items() if name not in ("after", "offset")}
    path = call.route.path
    for name, value in call.request.params.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    link = f'<{path}?{urlencode({**query, "after": cursor_of(last)})}>; rel="next"'
    return Reply(call.route.status, encode(view), {"content-type": JSON_TYPE, "link": link})


def last_of(items: Sequence[T], limit: int, end: Callable[[T], After]) -> After | None:
    """The end of a page; None if it has fewer items than its limit, so is the last."""
    return end(items[-1]) if len(items) == limit else None
