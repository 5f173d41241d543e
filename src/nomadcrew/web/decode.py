"""Decodes request bodies and frames as clients write them.

Keys are matched in any case, as the monolith did: ignoring one in another case could ignore a switch of privacy.
Phones have one type of number, so they write integers with a fraction.
"""

import codecs
import math
import re
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from nomadcrew.core.errors import Invalid
from nomadcrew.web.reasons import reason

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
# A surrogate pair first, then a lone surrogate, then any other escape, such as a backslash.
_ESCAPE = re.compile(rb"\\(?:%b\\%b|(%b|%b)|.)" % (_HIGH, _LOW, _HIGH, _LOW), re.DOTALL)
# JavaScript's `Number.MAX_SAFE_INTEGER`: above it, a number with a fraction is no integer of a client.
_MAX_CUT = 2**53 - 1
# In the `Meta` of a list: items that cannot be read become None, and the others are read.
EACH_ALONE: Final = {"each_alone": True}


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("Number out of range")
    return number


# msgspec alone takes ten microseconds for a number near zero, such as 7e-324: more than a second for a MiB of them.
read_json: Final = msgspec.json.Decoder(float_hook=_number).decode


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
    try:
        return msgspec.convert(_as_declared(value, type_), type_)
    except msgspec.ValidationError as error:
        raise _invalid(_where(str(error))) from None


def without_bom(body: bytes) -> bytes:
    """JSON without the byte order mark that some clients send, which RFC 8259 lets a parser ignore."""
    return body.removeprefix(codecs.BOM_UTF8)


def with_whole_characters(body: bytes) -> bytes:
    """JSON with U+FFFD for each lone surrogate, as in the monolith.

    Phones write lone surrogates when they cut a text inside an emoji. Refusing the body would lose the whole text.
    """
    return _ESCAPE.sub(_whole, body) if b"\\u" in body else body


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape[1] else escape[0]


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


def _as_declared(value: Any, type_: Any) -> Any:
    """`value` with keys in the spelling of `type_`, and with numbers cut to integers where it has one."""
    if get_origin(type_) is Annotated:
        inner, *notes = get_args(type_)
        for note in notes:
            if isinstance(value, list) and isinstance(note, msgspec.Meta) and note.extra == EACH_ALONE:
                [item_type] = get_args(inner)
                # The items of a list that is too long are not read: it is refused as a whole.
                is_too_long = note.max_length is not None and len(value) > note.max_length
                return [None if is_too_long else _or_none(item, item_type) for item in value]
        return _as_declared(value, inner)
    if get_origin(type_) in (Union, types.UnionType):
        return _as_option(value, get_args(type_))
    if isinstance(value, dict):
        return _with_declared_keys(value, type_) if _is_struct(type_) else value
    if isinstance(value, list):
        return [_as_declared(item, *get_args(type_)) for item in value] if get_origin(type_) is list else value
    if type_ is int and isinstance(value, float) and abs(value) <= _MAX_CUT:
        return int(value)
    return value


def _as_option(value: Any, options: tuple[Any, ...]) -> Any:
    """`value` as the first option of a union that changes it; a union with `float` keeps its numbers."""
    if isinstance(value, float) and float in options:
        return value
    changed = (_as_declared(value, option) for option in options)
    return next((item for item in changed if item is not value), value)


def _or_none(item: Any, type_: Any) -> Any:
    """An item as `type_`, or None if it cannot be read."""
    try:
        return convert(item, type_)
    except Invalid:
        return None


def _with_declared_keys(value: Mapping[str, Any], type_: Any) -> dict[str, Any]:
    declared = _declared(type_)
    result: dict[str, Any] = {}
    for key, item in value.items():
        field = declared.get(key.lower())
        if field is None or (field.encode_name in result and key != field.encode_name):
            continue
        result[field.encode_name] = _as_declared(item, field.type)
    return result


@cache
def _declared(type_: Any) -> Mapping[str, msgspec.structs.FieldInfo]:
    """The fields of a Struct by their key in lower case."""
    return {field.encode_name.lower(): field for field in msgspec.structs.fields(type_)}


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)
