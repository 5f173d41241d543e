"""The shape of a comparison: the requests, their proportions, the load, and the users of each server.

The file is JSON; `bench/shapes/monolith.json` is an example.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^\S+$")]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Difference(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The parts of a request that differ on one server."""

    method: str | None = None
    path: str | None = None
    body: Any = None


class KindOfRequest(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A template as in `bench.requests`, for both servers, with the differences of each."""

    method: str
    path: str
    body: Any = None
    a: Difference | None = None
    b: Difference | None = None


class User(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A user with the fields of each trip: `trip`, its id, and others that templates name, each a value or a list.

    With `email` and `password` the user signs in by `POST /v1/auth/login` before each round; `token` is used as is.
    """

    email: str | None = None
    password: str | None = None
    trips: tuple[dict[str, str | tuple[str, ...]], ...] = ()
    token: str | None = None


class Side(Struct, forbid_unknown_fields=True):
    users: Annotated[list[User], Meta(min_length=1)]


class Shape(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`rows` has the weight of each kind in a row. `order` is one round of a load: ABBA cancels a steady drift."""

    kinds: dict[Name, KindOfRequest]
    rows: dict[Name, dict[Name, Positive]]
    a: Side
    b: Side
    connections: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1, 16, 64)
    seconds: Count = 4
    warm_up_seconds: Count = 1
    rounds: Count = 3
    order: Annotated[str, Meta(pattern="^(?=.*A)(?=.*B)[AB]+$")] = "ABBA"


class BadShape(Exception):
    """The file is no shape, with the reason."""


def read(text: bytes) -> Shape:
    """Raises `BadShape`."""
    try:
        shape = msgspec.json.decode(text, type=Shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as reason:
        raise BadShape(str(reason)) from None
    for row, weights in shape.rows.items():
        if not weights or not weights.keys() <= shape.kinds.keys():
            raise BadShape(f"The row {row!r} needs kinds of {', '.join(shape.kinds)}.")
    return shape
