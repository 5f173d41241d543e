"""Versions of entities in the headers ETag and If-Match (RFC 9110, sections 8.8.3 and 13.1.1)."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, fields

from nomadcrew.core.errors import Invalid
from nomadcrew.core.versions import LostUpdate, Versioned
from nomadcrew.web.call import Call

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ETAG = re.compile(r'"([0-9a-f]{1,14})"', re.ASCII)


class _Changed(Struct, rename="camel"):
    updated_at: datetime


_changed = msgspec.json.Decoder(_Changed).decode


def etag_of(entity: bytes) -> str:
    """The tag of an entity, from the time of its last change in its JSON."""
    return f'"{(_changed(entity).updated_at - _EPOCH) // _MICROSECOND:x}"'


@asynccontextmanager
async def based_on_match(
    call: Call,
    of: Versioned,
    id_: UUID,
    change: Struct | Mapping[str, object],
    current: Callable[[Call], Awaitable[object]],
) -> AsyncIterator[None]:
    """Refuse the write in the block if it would undo what its client has not seen.

    Without If-Match nothing is compared. A change of other fields than those that were changed meanwhile is made.

    Args:
        change: the fields to change, by name; those with their default stay.
        current: the route that returns the entity.

    Raises:
        LostUpdate: a field got another value since the version of If-Match.
        Invalid: If-Match is not a tag of ours.
    """
    header = call.request.headers.get("if-match", "*").strip()
    if header == "*":
        yield
        return
    wanted = _given(change) if isinstance(change, Struct) else change
    versions = call.ports.versions
    async with versions.held():
        if await versions.is_overtaken(of, id_, _time_of(header), wanted):
            raise LostUpdate(msgspec.json.encode(await current(call)), call.request.body)
        yield


def _given(change: Struct) -> Mapping[str, object]:
    """The fields that differ from their defaults, which mean no change."""
    values = asdict(change)
    return {field.name: values[field.name] for field in fields(change) if values[field.name] is not field.default}


def _time_of(header: str) -> datetime:
    """Raises Invalid: the header is not a tag of `etag_of`."""
    match = _ETAG.fullmatch(header)
    if match is None:
        raise Invalid("If-Match must be the ETag of an earlier reply.", code="invalid_if_match")
    return _EPOCH + int(match[1], 16) * _MICROSECOND
