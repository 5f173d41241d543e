"""The lists that users open: their statements with a user's parameters.

In this data five users travel together on ten trips: crew c of C has the trips c, c + C, c + 2C and so on.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from bench.data_fill import EVENT, EVENTS, MEMBERS, NAMES, PERSON, SCATTER, TRIP, TRIPS_PER_PERSON, Size
from nomadcrew.adapters.postgres.sql import Statement, statements
from nomadcrew.core.find.model import SEARCHED, SEARCHED_POLLS
from nomadcrew.core.locations.model import MAX_READ
from nomadcrew.core.polls.model import MAX_LISTED_VOTES
from nomadcrew.core.trips.model import MAX_LISTED_MEMBERS, MAX_TRIPS_PER_USER

Parameters = dict[str, object]


@dataclass(frozen=True, slots=True)
class Traveller:
    """A member of a crew, and one of its trips."""

    person: UUID
    number: int
    trip: UUID


@dataclass(frozen=True, slots=True)
class Crowd:
    """The users traveller open lists: the members of every n-th crew, spread over the years and over all pages."""

    size: Size
    every: int = 1

    def random_member(self, rng: random.Random) -> Traveller:
        crew = rng.randrange(1, self._crews // self.every) * self.every
        return self._member(crew, rng.randrange(TRIPS_PER_PERSON - 1), rng.randrange(MEMBERS))

    def members(self) -> Iterator[Traveller]:
        """A member for each trip, in turn."""
        for crew in range(self.every, self._crews, self.every):
            for trip in range(TRIPS_PER_PERSON - 1):
                yield self._member(crew, trip, trip % MEMBERS)

    @property
    def _crews(self) -> int:
        return self.size.people // MEMBERS

    def _member(self, crew: int, trip: int, index: int) -> Traveller:
        number = crew + trip * self._crews
        person = 1 + (number * MEMBERS + index) * SCATTER % self.size.people
        return Traveller(bench_id(PERSON, person), person, bench_id(TRIP, number))


@dataclass(frozen=True, slots=True)
class List:
    """A list, with the parameters of a user's query."""

    name: str
    statement: Statement
    parameters: Callable[[Traveller, random.Random, Size], Parameters]


def bench_id(kind: int, n: int) -> UUID:
    """The id that the SQL function `bench_id` returns."""
    return UUID(f"019a00{kind:02x}-0000-7000-8000-{n:012x}")


def _on_trip(traveller: Traveller) -> Parameters:
    return {"trip_id": traveller.trip, "caller": traveller.person, "min_rank": 1}


def _search(traveller: Traveller, text: str) -> Parameters:
    """The parameters of `PostgresProfiles.search`: two letters must begin a word."""
    pattern = f"%{text}%" if len(text) >= 3 else f"% {text}%"
    return {
        "pattern": pattern,
        "prefix": f"{text}%",
        "email_key": text,
        "caller": traveller.person,
        "trip_id": None,
        "limit": 10,
    }


def _found(word: str) -> Callable[[Traveller, random.Random, Size], Parameters]:
    return lambda traveller, *_: {
        **_on_trip(traveller),
        "patterns": json.dumps([f"%{word}%"]),
        "searched": SEARCHED,
        "searched_polls": SEARCHED_POLLS,
        "limit": 6,
    }


def _username_prefix(traveller: Traveller, *_: object) -> Parameters:
    return _search(traveller, f"{NAMES[traveller.number * 13 % len(NAMES)]}{traveller.number}"[:-1])


def _one_of(*texts: str) -> Callable[[Traveller, random.Random, Size], Parameters]:
    return lambda traveller, rng, _: _search(traveller, rng.choice(texts))


_TRIPS, _TODOS, _OUTBOX = statements("trips"), statements("todos"), statements("outbox")
_MEMBERS, _INVITATIONS = statements("members"), statements("invitations")
_NOTIFICATIONS, _PROFILES = statements("notifications"), statements("profiles")
_LOCATIONS, _SEARCH_OF_A_TRIP = statements("locations"), statements("find")["find"]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
_POLLS, _DOCUMENTS, _PICTURES = statements("polls"), statements("documents"), statements("pictures")
_FIND = _PROFILES["search"]
_FIRST_PAGE: Parameters = {"after_at": None, "after_id": None}

LISTS = (
    List(
        "trips",
        _TRIPS["of"],
        lambda traveller, *_: {
            "caller": traveller.person,
            "limit": MAX_TRIPS_PER_USER,
            "max_members": MAX_LISTED_MEMBERS,
            **_FIRST_PAGE,
        },
    ),
    List("trip", _TRIPS["one"], lambda traveller, *_: _on_trip(traveller)),
    List("members", _MEMBERS["of"], lambda traveller, *_: _on_trip(traveller)),
    List("last positions", _LOCATIONS["crew"], lambda traveller, *_: _on_trip(traveller)),
    List(
        "a track",
        _LOCATIONS["track"],
        lambda traveller, *_: {
            **_on_trip(traveller),
            "user_id": traveller.person,
            "start": NOON - timedelta(days=1),
            "end": NOON,
            "max_points": MAX_READ,
        },
    ),
    List("invitations", _INVITATIONS["of"], lambda traveller, *_: {**_on_trip(traveller), "limit": 200}),
    List(
        "to-dos",
        _TODOS["page"],
        lambda traveller, *_: {**_on_trip(traveller), "limit": 100, "offset": 0, **_FIRST_PAGE},
    ),
    List(
        "polls",
        _POLLS["page"],
        lambda traveller, *_: {
            **_on_trip(traveller),
            "limit": 20,
            "offset": 0,
            "max_votes": MAX_LISTED_VOTES,
            **_FIRST_PAGE,
        },
    ),
    List(
        "documents",
        _DOCUMENTS["page"],
        lambda traveller, *_: {**_on_trip(traveller), "limit": 20, "offset": 0, **_FIRST_PAGE},
    ),
    List("photos", _PICTURES["page"], lambda traveller, *_: {**_on_trip(traveller), "limit": 50, **_FIRST_PAGE}),
    List("things of a trip, by a word of all", _SEARCH_OF_A_TRIP, _found("number")),
    List("things of a trip, by a word of none", _SEARCH_OF_A_TRIP, _found("zeppelin")),
    List(
        "notifications",
        _NOTIFICATIONS["page"],
        lambda traveller, *_: {
            "caller": traveller.person,
            "is_read": None,
            "limit": 20,
            "offset": 0,
            **_FIRST_PAGE,
        },
    ),
    List("unread notifications", _NOTIFICATIONS["unread"], lambda traveller, *_: {"caller": traveller.person}),
    List(
        "events after",
        _OUTBOX["after"],
        # From the middle of the week, so that there are always events to return.
        lambda traveller, _, size: {
            "caller": traveller.person,
            "cursor": bench_id(EVENT, size.trips * EVENTS // 2),
            "limit": 101,
        },
    ),
    List(
        "facts of a notification",
        _NOTIFICATIONS["facts"],
        lambda traveller, *_: {
            "questions": json.dumps(
                [{"n": 0, "trip_id": str(traveller.trip), "people": [str(traveller.person)], "invitation_id": None}]
            )
        },
    ),
    List("people, by nearly all of a username", _FIND, _username_prefix),
    List("people, by a first name", _FIND, _one_of("petra", "sven", "tara")),
    List("people, by a last name", _FIND, _one_of("tanaka", "silva", "novak")),
    List("people, by two letters", _FIND, _one_of("an", "li", "ok")),
    List("people, by two letters without a match", _FIND, _one_of("qx", "zj", "vw")),
)
