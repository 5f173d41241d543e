"""Decodes request bodies: with exact keys first, then with keys in any case, as the contract requires."""

import codecs
import re
from typing import Any

import msgspec

from nomadcrew.core.errors import Invalid
from nomadcrew.web.reasons import reason

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
# A surrogate pair first, then a lone surrogate, then any other escape, such as a backslash.
_ESCAPE = re.compile(rb"\\(?:%b\\%b|(%b|%b)|.)" % (_HIGH, _LOW, _HIGH, _LOW), re.DOTALL)


def decode(body: bytes, type_: Any) -> Any:
    """Decode a body as `type_`.

    The monolith matched keys in any case, so a body that fails is tried once more with its keys in the declared
    spelling.

    Raises:
        Invalid: the body is not JSON, or not of that type. The details name the field and never repeat its value.
    """
    body = without_bom(body)
    refuse_nul(body)
    body = with_whole_characters(body)
    decoder = _decoders.get(type_)
    if decoder is None:
        decoder = _decoders[type_] = msgspec.json.Decoder(type_)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        return _decode_folded(body, type_)
    except _UNREADABLE as error:
        raise _unreadable(body, error) from None


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


def _decode_folded(body: bytes, type_: Any) -> Any:
    # The exact decode stopped at the first wrong field; the rest of the body may still be malformed JSON.
    try:
        return msgspec.convert(_fold(msgspec.json.decode(body), type_), type_)
    except msgspec.ValidationError as error:
        raise _invalid(_where(str(error))) from None
    except _UNREADABLE as error:
        raise _unreadable(body, error) from None


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
        value = msgspec.json.decode(body)
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


def _fold(value: Any, type_: Any) -> Any:
    """`value` with its keys, and those of nested objects, in the spelling of `type_`."""
    if not isinstance(value, dict) or not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        return value
    declared = {field.encode_name.lower(): field for field in msgspec.structs.fields(type_)}
    folded: dict[str, Any] = {}
    for key, item in value.items():
        field = declared.get(key.lower())
        if field is None or (field.encode_name in folded and key != field.encode_name):
            continue
        folded[field.encode_name] = _fold(item, _struct_in(field.type))
    return folded


def _struct_in(type_: Any) -> Any:
    """The Struct in a field's type, also in `X | None`; None without one."""
    options = getattr(type_, "__args__", (type_,))
    return next((o for o in options if isinstance(o, type) and issubclass(o, msgspec.Struct)), None)
