"""What is acknowledged stays, and what happened is told, however often the machine's processes are killed.

A round: people write and listen, something is killed at a random moment and comes back, the people stop, and then
every reply they ever got must be true and every event they were owed must have reached them.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.e2e.client import Api, Person, eventually
from tests.e2e.server import Server
from tests.e2e.travellers import Diary, Phone, Traveller, account, compare, setting_out
from tests.e2e.writers import Ledger, Listener, Writer

CREW = 8
RETRIES = 3  # the shipped app's
BACK_S = 60.0
SETTLED_S = 60.0
# A job whose worker was killed is invisible for a minute, and then has to be done.
NOTIFIED_S = 120.0


class Kill(Enum):
    """What is ended at once, by its kernel's hand."""

    HOST = "host"
    POSTGRES = "postgres"
    BOTH = "both"


@dataclass
class Outcome:
    """What rounds showed. `lost` and `doubled` say what, in words."""

    kill: Kill | None = None
    away_s: float = 0.0
    writes: int = 0
    unacknowledged: int = 0
    owed: int = 0
    accepted: int = 0
    messages: int = 0
    positions: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    def count(self, ledger: Ledger) -> None:
        self.writes += ledger.writes
        self.unacknowledged += ledger.unacknowledged
        self.owed += len(ledger.owed)
        self.accepted += len(ledger.accepted)

    def travelled(self, diary: Diary, found: tuple[list[str], list[str]]) -> None:
        """Count what travellers did, and what was found wrong with it."""
        self.messages += len(diary.acknowledged)
        self.positions += sum(map(len, diary.reported.values()))
        self.lost += found[0]
        self.doubled += found[1]


class Trial:
    """Rounds of kills on one server."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.statuses: Counter[int] = Counter()
        self.repeats = 0
        self._random = random.Random(seed)
        self._rounds: list[tuple[list[Person], Ledger, Diary]] = []

    async def round(self, kill: Kill) -> Outcome:
        """People write, something is killed, everything is counted."""
        async with self._api() as api:
            crew = await asyncio.gather(*(api.register(f"writer{number}") for number in range(CREW)))
            ledger, diary = Ledger(), await setting_out(list(crew))
            self._rounds.append((list(crew), ledger, diary))
            phones = [Phone(person, diary) for person in crew]
            async with listening(phones):
                away_s = await self._disturbed(kill, phones, ledger, diary)
                missed = await _missed(phones, ledger)
                compared = await compare(phones, diary)
            outcome = Outcome(kill, away_s, lost=missed)
            outcome.travelled(diary, compared)
            await _count(list(crew), ledger, outcome)
        return outcome

    async def everything_again(self) -> Outcome:
        """Look at what every round left once more: later kills must not have harmed it."""
        outcome = Outcome()
        async with self._api() as api:
            for crew, ledger, diary in self._rounds:
                renewed = [await _renewed(api, person) for person in crew]
                await _count(renewed, ledger, outcome)
                outcome.travelled(diary, await account(renewed[0], diary))
        return outcome

    async def notified(self) -> list[str]:
        """Invitations whose acceptance their inviter was not told of, or told of twice, when all work is done."""
        async with self._api() as api:
            wrong: list[str] = []
            deadline_s = time.monotonic() + NOTIFIED_S
            for crew, ledger, _ in self._rounds:
                for person in [await _renewed(api, person) for person in crew]:
                    left_s = deadline_s - time.monotonic()
                    wrong += await _untold(person, ledger, within_s=max(left_s, 1.0))
        return wrong

    async def _disturbed(self, kill: Kill, phones: list[Phone], ledger: Ledger, diary: Diary) -> float:
        """Have people write, talk and walk while something is killed; returns how long the service was away."""
        stop = asyncio.Event()
        crew = [phone.person for phone in phones]
        writers = [
            asyncio.create_task(Writer(person, crew, ledger, random.Random(self._random.random())).run(stop))
            for person in crew
        ] + [
            asyncio.create_task(Traveller(phone, diary, number, random.Random(self._random.random())).run(stop))
            for number, phone in enumerate(phones)
        ]
        try:
            # The moment itself is what is tried here; nothing waits for the others by it.
            await asyncio.sleep(self._random.uniform(0.2, 1.2))
            began_s, ended = time.monotonic(), None if kill is Kill.HOST else self.server.postmaster
            await self._kill(kill)
            await self._back(ended)
            away_s = time.monotonic() - began_s
            await asyncio.sleep(self._random.uniform(0.2, 0.6))
        finally:
            stop.set()
            await asyncio.gather(*writers)
        return away_s

    async def _kill(self, kill: Kill) -> None:
        victims = {Kill.HOST: ["host"], Kill.POSTGRES: ["postgres"], Kill.BOTH: ["host", "postgres"]}[kill]
        self._random.shuffle(victims)
        for victim in victims:
            if victim == "host":
                await self.server.kill_host()
            else:
                self.server.kill_postgres()
            await asyncio.sleep(self._random.uniform(0, 0.05))
        if kill is Kill.POSTGRES:
            assert self.server.running, "the host died with its PostgreSQL"
        else:
            await self.server.start()

    async def _back(self, ended: int | None) -> None:
        """Wait until the host serves, without the PostgreSQL that was ended; it must do so by itself."""
        async with self._api(retries=0) as api:

            async def ready() -> bool:
                reply = await api.send("GET", "/health/readiness")
                return reply.status_code == 200 and self.server.postmaster not in (None, ended)

            await eventually(ready, within_s=BACK_S)

    @asynccontextmanager
    async def _api(self, retries: int = RETRIES) -> AsyncIterator[Api]:
        api = Api(self.server.url, retries=retries)
        try:
            yield api
        finally:
            self.statuses += api.statuses
            self.repeats += api.repeats
            await api.close()


@asynccontextmanager
async def listening(listeners: Iterable[Listener]) -> AsyncIterator[None]:
    """Have people listen while the block runs."""
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        yield
    finally:
        for listener in listeners:
            await listener.stop()
        await asyncio.gather(*tasks)


async def _missed(listeners: Sequence[Listener], ledger: Ledger) -> list[str]:
    """Owed events that did not reach those they were owed to, by socket or on asking after their last one."""
    by_person = {listener.person.id: listener for listener in listeners}
    deadline_s = time.monotonic() + SETTLED_S
    while missing := [
        f"{key} was not delivered to {person_id}"
        for person_id, key in ledger.owed
        if key not in by_person[person_id].heard
    ]:
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(0.05)
    return missing


async def _count(crew: list[Person], ledger: Ledger, outcome: Outcome) -> None:
    """Compare what the API shows with what it acknowledged."""
    outcome.count(ledger)
    for person in crew:
        await _count_trips(person, ledger, outcome)
        await _count_events(person, ledger, outcome)


async def _count_trips(person: Person, ledger: Ledger, outcome: Outcome) -> None:
    listed = {trip["id"]: trip for trip in await person.ask("GET", "/v1/trips")}
    own = [trip for trip in listed.values() if trip["createdBy"] == person.id]
    outcome.doubled += _doubles("trip", (trip["name"] for trip in own))
    for trip_id, promised in ledger.trips.items():
        if promised["createdBy"] != person.id:
            continue
        shown = listed.get(trip_id, {})
        outcome.lost += [
            f"trip {trip_id}: {name} is not {promised[name]!r}"
            for name in ("name", "description", "startDate", "endDate", "createdAt", "status")
            if shown.get(name) != promised[name]
        ]
    for trip in own:
        await _count_one_trip(person, trip["id"], ledger, outcome)


async def _count_one_trip(person: Person, trip_id: str, ledger: Ledger, outcome: Outcome) -> None:
    todos = await _pages(person, f"/v1/trips/{trip_id}/todos")
    outcome.doubled += _doubles("to-do", (todo["text"] for todo in todos))
    outcome.lost += _differing("to-do", trip_id, ledger.todos, todos, ledger.doubtful)

    members = [m["membership"] for m in await person.ask("GET", f"/v1/trips/{trip_id}/members")]
    outcome.doubled += _doubles("membership", (member["userId"] for member in members))
    outcome.lost += _differing("membership", trip_id, ledger.memberships, members)

    invitations = await person.ask("GET", f"/v1/trips/{trip_id}/invitations")
    outcome.doubled += _doubles("invitation", (i["inviteeEmail"] for i in invitations))
    shown = {invitation["id"] for invitation in invitations}
    outcome.lost += [
        f"invitation {invitation_id}"
        for invitation_id, invitation in ledger.invitations.items()
        if invitation["tripId"] == trip_id and invitation_id not in shown
    ]


async def _count_events(person: Person, ledger: Ledger, outcome: Outcome) -> None:
    """The record from its beginning: everything owed, each once."""
    events = await person.events()
    keys = Counter(filter(None, map(Listener.key_of, events)))
    outcome.doubled += [f"event {key} for {person.id}" for key, count in keys.items() if count > 1]
    outcome.lost += [
        f"{key} is not in the record of {person.id}"
        for person_id, key in ledger.owed
        if person_id == person.id and key not in keys
    ]


def _differing(
    what: str,
    trip_id: str,
    promised: dict[str, dict[str, Any]],
    shown: list[dict[str, Any]],
    doubtful: Iterable[str] = (),
) -> list[str]:
    """Acknowledged things of a trip that are not exactly what was acknowledged.

    `doubtful` ones may have changed since, by a write that was never acknowledged.
    """
    by_id = {item["id"]: item for item in shown}
    lost = []
    for id_, reply in promised.items():
        if reply["tripId"] != trip_id:
            continue
        found = by_id.get(id_)
        if found is not None and id_ in doubtful:
            found = found | {name: reply[name] for name in ("status", "updatedAt")}
        if found != reply:
            lost.append(f"{what}: acknowledged was {reply}, there is {found}")
    return lost


def _doubles(what: str, names: Iterable[str]) -> list[str]:
    return [f"{what} {name!r}: {count} times" for name, count in Counter(names).items() if count > 1]


async def _pages(person: Person, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await person.ask("GET", f"{path}?limit=100&offset={len(found)}")
        found += page["data"]
        if len(found) >= page["pagination"]["total"] or not page["data"]:
            return found


async def _renewed(api: Api, person: Person) -> Person:
    """The same person, with a token that has not expired."""
    reply = await api.send("POST", "/v1/auth/refresh", json={"refresh_token": person.refresh_token})
    assert reply.status_code == 200, reply.text
    renewed = Person.of(api, reply.json())
    person.refresh_token = renewed.refresh_token
    return renewed


async def _untold(person: Person, ledger: Ledger, *, within_s: float) -> list[str]:
    """Accepted invitations of a person's that they were not told of exactly once."""
    expected = {id_ for id_ in ledger.accepted if ledger.invitations[id_]["inviterId"] == person.id}

    async def told() -> Counter[str]:
        found: list[dict[str, Any]] = []
        while page := await person.ask("GET", f"/v1/notifications?limit=100&offset={len(found)}"):
            found += page
        return Counter(n["metadata"]["invitationID"] for n in found if n["type"] == "TRIP_INVITATION_ACCEPTED")

    deadline_s = time.monotonic() + within_s
    while expected - (counts := await told()).keys() and time.monotonic() < deadline_s:
        await asyncio.sleep(0.5)
    return [f"invitation {id_}: {counts[id_]} notifications" for id_ in expected if counts[id_] != 1]
