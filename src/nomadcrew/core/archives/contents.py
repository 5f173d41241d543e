"""The items of `trip.json`, decoded and checked one by one."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from nomadcrew.core.archives.checks import (
    check_document,
    check_message,
    check_photo,
    check_place,
    check_poll,
    check_todo,
    check_trip,
    person_name,
)
from nomadcrew.core.archives.errors import BadArchive, UnknownVersion
from nomadcrew.core.archives.json_items import Source, json_items
from nomadcrew.core.archives.model import (
    FORMAT,
    VERSION,
    ArchivedDocument,
    ArchivedMessage,
    ArchivedPerson,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedTodo,
    ArchivedTrip,
)
from nomadcrew.core.errors import Invalid

# U+0000, which PostgreSQL cannot store, but not an escaped backslash before `u0000`.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("Number out of range")
    return number


class _Part(Struct, frozen=True):
    """The items of a key."""

    decode: Callable[[bytes], Any]
    check: Callable[[Any], object]


def _part(type_: type[Struct], check: Callable[[Any], object]) -> _Part:
    # msgspec alone takes ten microseconds for a number near zero, such as 7e-324.
    return _Part(msgspec.json.Decoder(type_, float_hook=_number).decode, check)


_PARTS: Mapping[str, _Part] = {
    "trip": _part(ArchivedTrip, check_trip),
    "meetingPoint": _part(ArchivedPlace, check_place),
    "todos": _part(ArchivedTodo, check_todo),
    "polls": _part(ArchivedPoll, check_poll),
    "documents": _part(ArchivedDocument, check_document),
    "photos": _part(ArchivedPhoto, check_photo),
    "messages": _part(ArchivedMessage, check_message),
    "people": _part(ArchivedPerson, person_name),
}


class ReadItem(Struct, frozen=True):
    """An item, and the size of its text."""

    item: Struct
    size_bytes: int


def items_of(source: Source) -> Iterator[ReadItem]:
    """The items of a `trip.json` that an import reads, in their order. Unknown members are skipped.

    Raises:
        BadArchive: the JSON, or an item, is not valid; the details name the key and the number of the item.
        UnknownVersion: the archive has another version.
        ArchiveTooLarge: an item is too large.
    """
    head: dict[str, object] = {}
    numbers: dict[str, int] = {}
    for key, text in json_items(source):
        if key in ("format", "version"):
            head[key] = _scalar(key, text)
            continue
        part = _PARTS.get(key)
        if part is None:
            continue
        _check_head(head)
        number = numbers[key] = numbers.get(key, 0) + 1
        yield ReadItem(_decoded(part, key, number, text), len(text))
    _check_head(head)


def _check_head(head: Mapping[str, object]) -> None:
    """Format and version come first, so that nothing of another version is read."""
    if head.get("format") != FORMAT:
        raise BadArchive(details="trip.json: `format` is missing or another one")
    if head.get("version") != VERSION:
        raise UnknownVersion(details=f"trip.json: `version` must be {VERSION}")


def _scalar(key: str, text: bytes) -> object:
    try:
        return msgspec.json.decode(text, type=str | int)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadArchive(details=f"trip.json: {key}") from None


def _decoded(part: _Part, key: str, number: int, text: bytes) -> Struct:
    if b"\\u0000" in text and _NUL.search(text):
        raise BadArchive(details=f"trip.json: {key} {number}: a text contains a NUL character")
    try:
        item: Struct = part.decode(text)
        part.check(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadArchive(details=f"trip.json: {key} {number}: {_fault(error)}") from None
    except Invalid as refused:
        raise BadArchive(details=f"trip.json: {key} {number}: {refused.details or refused.text}") from None
    return item


def _fault(error: Exception) -> str:
    """The error without the value that msgspec quotes for an enum."""
    if not isinstance(error, msgspec.ValidationError):
        return "not JSON"
    fault, at, path = str(error).rpartition(" - at ")
    return f"invalid value at {path}" if at and fault.startswith("Invalid ") else str(error)
