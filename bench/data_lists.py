"""The lists that people open, as their statements with somebody's parameters.

In this data five people travel together on ten trips: crew c of C has the trips c, c + C, c + 2C and so on.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from bench.data_fill import EVENT, EVENTS, MEMBERS, NAMES, PERSON, SCATTER, TRIP, TRIPS_PER_PERSON, Size
from nomadcrew.adapters.postgres.sql import Statement, statements
from nomadcrew.core.locations.model import MAX_READ
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER

Parameters = dict[str, object]


@dataclass(frozen=True, slots=True)
class Somebody:
    """A member of a crew, and one of its trips."""

    person: UUID
    number: int
    trip: UUID


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who opens lists: the members of every so many-th crew, spread over the years and over all pages."""

    size: Size
    every: int = 1

    def anybody(self, rng: random.Random) -> Somebody:
        crew = rng.randrange(1, self._crews // self.every) * self.every
        return self._member(crew, rng.randrange(TRIPS_PER_PERSON - 1), rng.randrange(MEMBERS))

    def everybody(self) -> Iterator[Somebody]:
        """Each trip once, with each member in turn."""
        for crew in range(self.every, self._crews, self.every):
            for trip in range(TRIPS_PER_PERSON - 1):
                yield self._member(crew, trip, trip % MEMBERS)

    @property
    def _crews(self) -> int:
        return self.size.people // MEMBERS

    def _member(self, crew: int, trip: int, place: int) -> Somebody:
        number = crew + trip * self._crews
        person = 1 + (number * MEMBERS + place) * SCATTER % self.size.people
        return Somebody(bench_id(PERSON, person), person, bench_id(TRIP, number))


@dataclass(frozen=True, slots=True)
class List:
    """A list, and how somebody asks for it."""

    name: str
    statement: Statement
    parameters: Callable[[Somebody, random.Random, Size], Parameters]


def bench_id(kind: int, n: int) -> UUID:
    """The id that SQL's `bench_id` gives."""
    return UUID(f"019a00{kind:02x}-0000-7000-8000-{n:012x}")


def _on_trip(who: Somebody) -> Parameters:
    return {"trip_id": who.trip, "caller": who.person, "min_rank": 1}


def _search(who: Somebody, text: str) -> Parameters:
    """As `PostgresProfiles.search` asks: two letters have to begin a word."""
    pattern = f"%{text}%" if len(text) >= 3 else f"% {text}%"
    return {"pattern": pattern, "prefix": f"{text}%", "caller": who.person, "trip_id": None, "limit": 10}


def _nearly_a_username(who: Somebody, *_: object) -> Parameters:
    return _search(who, f"{NAMES[who.number * 13 % len(NAMES)]}{who.number}"[:-1])


def _one_of(*texts: str) -> Callable[[Somebody, random.Random, Size], Parameters]:
    return lambda who, rng, _: _search(who, rng.choice(texts))


_TRIPS, _TODOS, _OUTBOX = statements("trips"), statements("todos"), statements("outbox")
_MEMBERS, _INVITATIONS = statements("members"), statements("invitations")
_NOTIFICATIONS, _PROFILES = statements("notifications"), statements("profiles")
_LOCATIONS = statements("locations")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_FIND = _PROFILES["search"]

LISTS = (
    List("trips", _TRIPS["of"], lambda who, *_: {"caller": who.person, "max_trips": MAX_TRIPS_PER_USER}),
    List("trip", _TRIPS["one"], lambda who, *_: _on_trip(who)),
    List("members", _MEMBERS["of"], lambda who, *_: _on_trip(who)),
    List("last positions", _LOCATIONS["crew"], lambda who, *_: _on_trip(who)),
    List(
        "a track",
        _LOCATIONS["track"],
        lambda who, *_: {
            **_on_trip(who),
            "user_id": who.person,
            "start": NOON - timedelta(days=1),
            "end": NOON,
            "max_points": MAX_READ,
        },
    ),
    List("invitations", _INVITATIONS["of"], lambda who, *_: {**_on_trip(who), "limit": 200}),
    List("to-dos", _TODOS["page"], lambda who, *_: {**_on_trip(who), "limit": 100, "offset": 0}),
    List(
        "notifications",
        _NOTIFICATIONS["page"],
        lambda who, *_: {"caller": who.person, "is_read": None, "limit": 20, "offset": 0},
    ),
    List("unread notifications", _NOTIFICATIONS["unread"], lambda who, *_: {"caller": who.person}),
    List(
        "events after",
        _OUTBOX["after"],
        # From half-way through the week, so that there is always something to catch up on.
        lambda who, _, size: {
            "caller": who.person,
            "cursor": bench_id(EVENT, size.trips * EVENTS // 2),
            "limit": 101,
        },
    ),
    List(
        "what a notification says",
        _NOTIFICATIONS["facts"],
        lambda who, *_: {"trip_id": who.trip, "people": f'["{who.person}"]'},
    ),
    List("people, by nearly all of a username", _FIND, _nearly_a_username),
    List("people, by a first name", _FIND, _one_of("petra", "sven", "tara")),
    List("people, by a last name", _FIND, _one_of("tanaka", "silva", "novak")),
    List("people, by two letters", _FIND, _one_of("an", "li", "ok")),
    List("people, by two letters nobody has", _FIND, _one_of("qx", "zj", "vw")),
)
