"""Reduces ICC colour profiles to numbers that a picture's colours need.

A profile names its author, its device and a time, and has room for any bytes. The profiles of phones and cameras
need three primaries and a curve each. Others are removed: their tables of colours could hold anything.

Source: ICC.1:2022, Profile version 4.4.
"""

import struct
from collections.abc import Iterator, Mapping
from itertools import pairwise

_HEADER_BYTES = 128
_MAX_TAGS = 100
_MAX_CURVE = 4096  # entries
_WHITE = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)  # D50, as each profile has it
_PRIMARIES = (b"rXYZ", b"gXYZ", b"bXYZ")
_CURVES = {b"RGB ": (b"rTRC", b"gTRC", b"bTRC"), b"GRAY": (b"kTRC",)}
_PARAMETERS = (1, 3, 4, 5, 7)  # of a parametric curve, by its function
_LIMIT = 4 << 16  # in steps of 1/65536: no number of these is larger
# The standard requires a description and a copyright, in types that depend on the version.
_NAME = "Colour"
_NAME_IN_2 = b"desc" + bytes(4) + struct.pack(">I", len(_NAME) + 1) + _NAME.encode() + bytes(1 + 78)
_NAME_IN_4 = (
    b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(_NAME), 28) + _NAME.encode("utf-16-be")
)
_TEXTS = {
    b"\2": {b"desc": _NAME_IN_2, b"cprt": b"text" + bytes(4) + _NAME.encode() + b"\0"},
    b"\4": {b"desc": _NAME_IN_4, b"cprt": _NAME_IN_4},
}


def reduced_profile(profile: bytes) -> bytes:
    """The profile with its white point, primaries and curves only; empty if it has others or is damaged."""
    try:
        return _reduced(profile)
    except (struct.error, ValueError):
        return b""


def _reduced(profile: bytes) -> bytes:
    version, space, signature = profile[8:9], profile[16:20], profile[36:40]
    if version not in _TEXTS or space not in _CURVES or signature != b"acsp" or profile[20:24] != b"XYZ ":
        return b""
    found = dict(_tags(profile))
    tags = {name: _curve(found[name]) for name in _CURVES[space] if name in found}
    if space == b"RGB ":
        tags |= {name: _numbers(found[name], b"XYZ ", 3) for name in _PRIMARIES if name in found}
    if b"chad" in found:
        tags[b"chad"] = _numbers(found[b"chad"], b"sf32", 9)
    if b"wtpt" in found:
        tags[b"wtpt"] = _numbers(found[b"wtpt"], b"XYZ ", 3)
    needed = {b"wtpt", *_CURVES[space], *(_PRIMARIES if space == b"RGB " else ())}
    if not needed <= tags.keys():
        return b""
    return _profile(version, space, {**_TEXTS[version], **tags})


def _tags(profile: bytes) -> Iterator[tuple[bytes, bytes]]:
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    for number in range(min(count, _MAX_TAGS)):
        name, at, length = struct.unpack_from(">4sII", profile, _HEADER_BYTES + 4 + 12 * number)
        yield name, profile[at : at + length]


def _numbers(tag: bytes, type_: bytes, count: int) -> bytes:
    """A tag of fixed-point numbers. Raises ValueError if it is none, or a number is none of a colour."""
    values = struct.unpack_from(f">{count}i", tag, 8)
    if tag[:4] != type_ or any(abs(value) > _LIMIT for value in values):
        raise ValueError
    return type_ + bytes(4) + struct.pack(f">{count}i", *values)


def _curve(tag: bytes) -> bytes:
    """A curve, which rises. Raises ValueError if it does not."""
    if tag[:4] == b"para":
        (function,) = struct.unpack_from(">H", tag, 8)
        if function >= len(_PARAMETERS):
            raise ValueError
        values = struct.unpack_from(f">{_PARAMETERS[function]}i", tag, 12)
        if any(abs(value) > _LIMIT for value in values):
            raise ValueError
        return b"para" + bytes(4) + struct.pack(f">HH{len(values)}i", function, 0, *values)
    (count,) = struct.unpack_from(">I", tag, 8)
    if tag[:4] != b"curv" or count > _MAX_CURVE:
        raise ValueError
    points = struct.unpack_from(f">{count}H", tag, 12)
    if any(after < before for before, after in pairwise(points)):
        raise ValueError
    return b"curv" + bytes(4) + struct.pack(f">I{count}H", count, *points)


def _profile(version: bytes, space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A profile of these tags; equal ones are stored once."""
    at = _HEADER_BYTES + 4 + 12 * len(tags)
    table, contents = [struct.pack(">I", len(tags))], b""
    places: dict[bytes, int] = {}
    for name, tag in tags.items():
        if tag not in places:
            places[tag] = at + len(contents)
            contents += tag + bytes(-len(tag) % 4)
        table.append(struct.pack(">4sII", name, places[tag], len(tag)))
    header = struct.pack(
        ">I4s4s4s4s4s12s4s28s12s48s",
        at + len(contents), b"", version + b"\0\0\0", b"mntr", space, b"XYZ ", b"", b"acsp", b"", _WHITE, b"",
    )  # fmt: skip
    return header + b"".join(table) + contents
