"""Decodes request bodies and frames as clients write them.

Keys are matched in any case, as the monolith did: ignoring one in another case could ignore a switch of privacy.
Phones have one type of number, so they write integers with a fraction.
"""

import codecs
import math
import re
import types
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from nomadcrew.core.errors import Invalid
from nomadcrew.web.reasons import reason

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
# A run of anything but lone surrogates, however long, or a lone surrogate: few matches, so few calls of `_whole`.
_PART = re.compile(
    rb"(?:[^\\]++|\\(?:%b\\%b|(?!%b|%b).))++|\\(%b|%b)" % (_HIGH, _LOW, _HIGH, _LOW, _HIGH, _LOW), re.DOTALL
)
# JavaScript's `Number.MAX_SAFE_INTEGER`: above it, a number with a fraction is no integer of a client.
_MAX_CUT = 2**53 - 1
# In the `Meta` of a list: items that cannot be read become None, and the others are read.
EACH_ALONE: Final = {"each_alone": True}

Spelling = Callable[[Any], Any]


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("Number out of range")
    return number


_read: Final = msgspec.json.Decoder().decode
_read_tiny_numbers: Final = msgspec.json.Decoder(float_hook=_number).decode


def read_json(body: bytes) -> Any:
    """The value of a JSON text.

    msgspec alone takes ten microseconds for a number near zero, such as 7e-324: more than a second for a MiB.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is not JSON.
    """
    return (_read_tiny_numbers if b"e-" in body or b"E-" in body else _read)(body)


def decode(body: bytes, type_: Any) -> Any:
    """Decode a body as `type_`.

    Keys match in any case, an exact one first. Fractions are cut off where the type has an integer.

    Raises:
        Invalid: the body is not JSON, or not of that type. The details name the field and never repeat its value.
    """
    body = without_bom(body)
    refuse_nul(body)
    body = with_whole_characters(body)
    try:
        return convert(read_json(body), type_)
    except _UNREADABLE as error:
        raise _unreadable(body, error) from None


def convert(value: Any, type_: Any) -> Any:
    """Convert decoded JSON to `type_`, as `decode` does.

    Raises:
        Invalid: it is not of that type.
    """
    return _converted(value, type_, _spelling(type_))


def without_bom(body: bytes) -> bytes:
    """JSON without the byte order mark that some clients send, which RFC 8259 lets a parser ignore."""
    return body.removeprefix(codecs.BOM_UTF8)


def with_whole_characters(body: bytes) -> bytes:
    """JSON with U+FFFD for each lone surrogate, as in the monolith.

    Phones write lone surrogates when they cut a text inside an emoji. Refusing the body would lose the whole text.
    """
    return _PART.sub(_whole, body) if b"\\u" in body else body


def _whole(part: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if part[1] else part[0]


def _unreadable(body: bytes, error: Exception) -> Invalid:
    if isinstance(error, RecursionError):
        return _invalid("the body is nested too deeply")
    return _invalid("the body is not JSON" if body else "the body is empty")


def _where(message: str) -> str:
    """msgspec's message, without the rejected value that it quotes for an enum."""
    fault, at, path = message.rpartition(" - at ")
    return f"Invalid value{at}{path}" if at and fault.startswith("Invalid ") and "value" in fault else message


def _invalid(details: str) -> Invalid:
    return Invalid(reason(details), code="invalid_request_payload", details=details)


def refuse_nul(body: bytes) -> None:
    """Raise `Invalid` if a text in the JSON contains U+0000, which PostgreSQL cannot store."""
    if b"\\u0000" in body and _contains_nul(body):
        raise _invalid("a text contains a NUL character")


def _contains_nul(body: bytes) -> bool:
    try:
        value = read_json(body)
    except _UNREADABLE:
        return False
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\x00" in item:
                return True
        elif isinstance(item, dict):
            stack += item.keys()
            stack += item.values()
        elif isinstance(item, list):
            stack += item
    return False


def _converted(value: Any, type_: Any, spelling: Spelling | None) -> Any:
    try:
        return msgspec.convert(value if spelling is None else spelling(value), type_)
    except msgspec.ValidationError as error:
        raise _invalid(_where(str(error))) from None


def _spelling(type_: Any) -> Spelling | None:
    """A function that gives a value the keys and integers that a type declares; None if it never changes one.

    Types are taken apart once, and not for each value.
    """
    origin, arguments = get_origin(type_), get_args(type_)
    if origin is Annotated:
        inner, *notes = arguments
        for note in notes:
            if isinstance(note, msgspec.Meta) and note.extra == EACH_ALONE:
                [item_type] = get_args(inner)
                return _each_alone(item_type, note.max_length)
        return _spelling(inner)
    if origin in (Union, types.UnionType):
        return _option(arguments)
    if origin is list:
        return _items(*arguments)
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return partial(_with_declared_keys, type_)
    return _whole_number if type_ is int else None


def _each_alone(item_type: Any, max_length: int | None) -> Spelling:
    """Items that cannot be read become None."""
    spelling = _spelling(item_type)
    list_type = list[item_type]

    def item_or_none(item: Any) -> Any:
        try:
            return msgspec.convert(item, item_type)
        except msgspec.ValidationError:
            return None

    def items_or_none(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        # The items of a list that is too long are not read: it is refused as a whole.
        if max_length is not None and len(value) > max_length:
            return [None] * len(value)
        items = value if spelling is None else [spelling(item) for item in value]
        try:
            return msgspec.convert(items, list_type)
        except msgspec.ValidationError:
            return [item_or_none(item) for item in items]

    return items_or_none


def _option(options: tuple[Any, ...]) -> Spelling | None:
    """The first option of a union that changes a value; a union with `float` keeps its numbers."""
    spellings = [spelling for spelling in map(_spelling, options) if spelling is not None]
    keeps_numbers = float in options
    if len(spellings) == 1 and not keeps_numbers:
        return spellings[0]

    def option(value: Any) -> Any:
        if keeps_numbers and isinstance(value, float):
            return value
        changed = (spelling(value) for spelling in spellings)
        return next((item for item in changed if item is not value), value)

    return option if spellings else None


def _items(item_type: Any) -> Spelling | None:
    spelling = _spelling(item_type)
    if spelling is None:
        return None
    return lambda value: [spelling(item) for item in value] if isinstance(value, list) else value


def _whole_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and abs(value) <= _MAX_CUT else value


def _with_declared_keys(type_: type[msgspec.Struct], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    declared = _declared(type_)
    result: dict[str, Any] = {}
    for key, item in value.items():
        field = declared.get(key.lower())
        if field is None:
            continue
        name, spelling = field
        if name not in result or key == name:
            result[name] = item if spelling is None else spelling(item)
    return result


@cache
def _declared(type_: type[msgspec.Struct]) -> Mapping[str, tuple[str, Spelling | None]]:
    """The key and the spelling of each field of a Struct, by its key in lower case."""
    return {
        field.encode_name.lower(): (field.encode_name, _spelling(field.type))
        for field in msgspec.structs.fields(type_)
    }
