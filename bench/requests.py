"""Requests for wrk: templates filled for users and trips, as a file for `requests.lua`.

A template's `{name}` is a field of the user's trip, `{unique}` thirteen digits that no other request has, and
`{now_ms}` or `{now_ms-2000}` the time in milliseconds, or two seconds ago. A field with a list of values gives one
after another. All values of a place have the same length, so each head is formatted once, and wrk leaves the CPU to
the servers.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

_PLACE = re.compile(r"\{([a-z_]+)(?:-(\d+))?\}")
_UNIQUE_DIGITS = 13
SCHEDULED = 2_000


Value = str | tuple[str, ...]
Fields = Mapping[str, Value]
# Texts, values that take turns, True for the unique number, and milliseconds before now.
Part = Value | int
Request = Sequence[Part]


class BadTemplate(Exception):
    """A template names a field that a trip does not have, or whose values differ in length."""


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of request. `body` is JSON, or a text for what JSON cannot have, such as `41.14{unique}`."""

    method: str
    path: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class Person:
    """A user's token, and the fields for each of the user's trips."""

    token: str
    trips: Sequence[Fields]


def fill(template: Template, token: str, fields: Fields) -> Request:
    """The whole HTTP request.

    Raises:
        BadTemplate: a field is missing, or its values differ in length.
    """
    body = template.body if isinstance(template.body, str | None) else json.dumps(template.body)
    path_parts, body_parts = _parts(template.path, fields), _parts(body or "", fields)
    head = f" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {sum(map(_length, body_parts))}\r\n"
    return _joined([f"{template.method} ", *path_parts, f"{head}\r\n", *body_parts])


def in_turn(weights: Mapping[str, float]) -> list[str]:
    """The names in the proportion of their weights, in an order that is the same in every run."""
    names = [name for name in weights for _ in range(round(SCHEDULED * weights[name] / sum(weights.values())))]
    random.Random(1).shuffle(names)
    return names


def schedule(
    templates: Mapping[str, Template], weights: Mapping[str, float], people: Sequence[Person]
) -> list[Request]:
    """Requests in the proportion of the weights; for each kind, users and their trips take turns."""
    names = in_turn(weights)
    longest = max(1, *(len(person.trips) for person in people))
    pairs = [(person, number) for number in range(longest) for person in range(len(people))]
    turns = {name: cycle(pairs) for name in weights}
    planned = [(name, *next(turns[name])) for name in names]
    times, before = Counter(planned), Counter[tuple[str, int, int]]()
    requests = []
    for entry in planned:
        name, person, number = entry
        trips = people[person].trips
        fields = trips[number % len(trips)] if trips else {}
        requests.append(fill(templates[name], people[person].token, _share(fields, before[entry], times[entry])))
        before[entry] += 1
    return requests


def _share(fields: Fields, number: int, count: int) -> Fields:
    """Of each field's values, those of one of `count` equal requests, so that all together take them in order."""
    return {
        name: value if isinstance(value, str) else value[number::count] or value[number % len(value) :][:1]
        for name, value in fields.items()
    }


def lua(requests: Sequence[Request]) -> str:
    """The requests as a file of Lua."""
    return "return {\n" + "".join(f"{{{','.join(map(_lua, request))}}},\n" for request in requests) + "}\n"


def first(request: Request, unique: int, now_ms: int) -> bytes:
    """A request as bytes, with the first value of each field, for a client other than wrk."""
    return "".join(_first(part, unique, now_ms) for part in request).encode()


def _first(part: Part, unique: int, now_ms: int) -> str:
    if part is True:
        return f"{unique:0{_UNIQUE_DIGITS}}"
    if isinstance(part, int):
        return str(now_ms - part)
    return part if isinstance(part, str) else part[0]


def _parts(template: str, fields: Fields) -> list[Part]:
    parts: list[Part] = []
    end = 0
    for place in _PLACE.finditer(template):
        parts.append(template[end : place.start()])
        end = place.end()
        name, before_ms = place.groups()
        if name == "now_ms":
            parts.append(int(before_ms or 0))
        elif name == "unique":
            parts.append(True)
        elif name in fields:
            parts.append(fields[name])
        else:
            raise BadTemplate(f"No user has a trip with the field {name!r}: {template}")
    return [*parts, template[end:]]


def _length(part: Part) -> int:
    """Bytes; milliseconds have thirteen digits until the year 2286."""
    if isinstance(part, int):
        return _UNIQUE_DIGITS
    if isinstance(part, str):
        return len(part.encode())
    lengths = {len(value.encode()) for value in part}
    if len(lengths) != 1:
        raise BadTemplate(f"The values of a field in a body must have one length: {part[:3]}")
    return lengths.pop()


def _joined(parts: Sequence[Part]) -> Request:
    """The parts with neighbouring texts as one."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, str) and isinstance(last, str):
            joined[-1] = last + part
        else:
            joined.append(part)
    return joined


def _lua(part: Part) -> str:
    if isinstance(part, str):
        return _quoted(part)
    if isinstance(part, tuple):
        return "{" + ",".join(map(_quoted, part)) + "}"
    return "true" if part is True else str(part)


def _quoted(text: str) -> str:
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03}" for b in text.encode()) + '"'
