"""The lists that people open, as their statements with somebody's parameters."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from bench.data_fill import EVENT, EVENTS, MEMBERS, PERSON, SCATTER, TRIP, Size
from nomadcrew.adapters.postgres.sql import Statement, statements
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER


@dataclass(frozen=True, slots=True)
class List:
    """A list, and how to ask for somebody's."""

    name: str
    statement: Statement
    parameters: Callable[[random.Random, Size], dict[str, object]]


def bench_id(kind: int, n: int) -> UUID:
    """The id that SQL's `bench_id` gives."""
    return UUID(f"019a00{kind:02x}-0000-7000-8000-{n:012x}")


def _person(rng: random.Random, size: Size) -> UUID:
    return bench_id(PERSON, rng.randint(1, size.people))


def _on_a_trip(rng: random.Random, size: Size) -> dict[str, object]:
    """A trip and somebody who is on it."""
    trip = rng.randint(1, size.trips)
    member = trip * MEMBERS + rng.randrange(MEMBERS)
    return {
        "trip_id": bench_id(TRIP, trip),
        "caller": bench_id(PERSON, 1 + member * SCATTER % size.people),
        "min_rank": 1,
    }


def _name(rng: random.Random, size: Size) -> str:
    """A username as somebody types it who knows nearly all of it."""
    return f"{rng.choice(('ana', 'ben', 'petra', 'tara'))}{rng.randint(1, size.people)}"[:-1]


def _search(text: Callable[[random.Random, Size], str]) -> Callable[[random.Random, Size], dict[str, object]]:
    def parameters(rng: random.Random, size: Size) -> dict[str, object]:
        wanted = text(rng, size)
        return {
            "pattern": f"%{wanted}%",
            "prefix": f"{wanted}%",
            "caller": _person(rng, size),
            "trip_id": None,
            "limit": 10,
        }

    return parameters


_TRIPS, _TODOS, _OUTBOX = statements("trips"), statements("todos"), statements("outbox")
_MEMBERS, _INVITATIONS = statements("members"), statements("invitations")
_NOTIFICATIONS, _PROFILES = statements("notifications"), statements("profiles")
_FIND = _PROFILES["search"]

LISTS = (
    List("trips", _TRIPS["of"], lambda r, s: {"caller": _person(r, s), "max_trips": MAX_TRIPS_PER_USER}),
    List("trip", _TRIPS["one"], _on_a_trip),
    List("members", _MEMBERS["of"], _on_a_trip),
    List("invitations", _INVITATIONS["of"], lambda r, s: {**_on_a_trip(r, s), "limit": 200}),
    List("to-dos", _TODOS["page"], lambda r, s: {**_on_a_trip(r, s), "limit": 100, "offset": 0}),
    List(
        "notifications",
        _NOTIFICATIONS["page"],
        lambda r, s: {"caller": _person(r, s), "is_read": None, "limit": 20, "offset": 0},
    ),
    List("unread notifications", _NOTIFICATIONS["unread"], lambda r, s: {"caller": _person(r, s)}),
    List(
        "events after",
        _OUTBOX["after"],
        lambda r, s: {
            "caller": _person(r, s), "cursor": bench_id(EVENT, r.randint(1, s.trips * EVENTS)), "limit": 101,
        },
    ),
    List("people, by nearly all of a username", _FIND, _search(_name)),
    List("people, by a first name", _FIND, _search(lambda r, _: r.choice(("petra", "sven", "tara")))),
    List("people, by a last name", _FIND, _search(lambda r, _: r.choice(("tanaka", "silva", "novak")))),
    List("people, by two letters nobody has", _FIND, _search(lambda r, _: r.choice(("qx", "zj", "vw")))),
    List("people, by two letters", _FIND, _search(lambda r, _: r.choice(("an", "li", "ok")))),
    List(
        "what a notification says",
        _NOTIFICATIONS["facts"],
        lambda r, s: {"trip_id": bench_id(TRIP, r.randint(1, s.trips)), "people": f'["{_person(r, s)}"]'},
    ),
)  # fmt: skip
