"""Acknowledged writes survive and events arrive, however often the processes of the machine host are killed.

In a round, users write and listen, a process is killed at a random moment and restarted, and the users stop. Then
every reply they received must still be true, and every expected event must have reached its recipients.
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

from tests.e2e.active_members import ActiveMember, Journal, Phone, check_phones, check_trip, start_trip
from tests.e2e.client import Api, User, eventually
from tests.e2e.planners import Planner, Plans, check_plans, start_plans, stray_files
from tests.e2e.server import Server
from tests.e2e.writers import Ledger, Listener, Writer

CREW = 8
RETRIES = 3  # the shipped app's
BACK_S = 60.0
SETTLED_S = 60.0
# A job whose worker was killed is invisible for a minute.
NOTIFIED_S = 120.0


class Kill(Enum):
    """The process that receives SIGKILL."""

    HOST = "host"
    POSTGRES = "postgres"
    BOTH = "both"


@dataclass
class Outcome:
    """The result of rounds. `lost` and `duplicates` are descriptions."""

    kill: Kill | None = None
    downtime_s: float = 0.0
    writes: int = 0
    unacknowledged: int = 0
    expected: int = 0
    accepted: int = 0
    messages: int = 0
    positions: int = 0
    votes: int = 0
    documents: int = 0
    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)

    def count(self, ledger: Ledger) -> None:
        self.writes += ledger.writes
        self.unacknowledged += ledger.unacknowledged
        self.expected += len(ledger.expected)
        self.accepted += len(ledger.accepted)

    def add_plans(self, plans: Plans, found: tuple[list[str], list[str]]) -> None:
        """Count votes and documents, and the faults found in them."""
        self.votes += len(plans.votes)
        self.documents += len(plans.documents)
        self.lost += found[0]
        self.duplicates += found[1]

    def add_activity(self, journal: Journal, found: tuple[list[str], list[str]]) -> None:
        """Count the work of active members and the faults found in it."""
        self.messages += len(journal.acknowledged)
        self.positions += sum(map(len, journal.reported.values()))
        self.lost += found[0]
        self.duplicates += found[1]


class Trial:
    """Rounds of kills on one server."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.statuses: Counter[int] = Counter()
        self.repeats = 0
        self._random = random.Random(seed)
        self._rounds: list[tuple[list[User], Ledger, Journal, Plans]] = []

    async def round(self, kill: Kill) -> Outcome:
        """Let users write, kill a process, compare everything with the replies."""
        async with self._api() as api:
            crew = await asyncio.gather(*(api.register(f"writer{number}") for number in range(CREW)))
            ledger, journal = Ledger(), await start_trip(list(crew))
            plans = await start_plans(crew[0], journal.trip_id)
            self._rounds.append((list(crew), ledger, journal, plans))
            phones = [Phone(user, journal) for user in crew]
            async with listening(phones):
                downtime_s = await self._write_during_kill(kill, phones, ledger, journal, plans)
                missed = await _missed(phones, ledger)
                compared = await check_phones(phones, journal)
            outcome = Outcome(kill, downtime_s, lost=missed)
            outcome.add_activity(journal, compared)
            outcome.add_plans(plans, await check_plans(crew[0], plans))
            await _count(list(crew), ledger, outcome)
        return outcome

    async def recheck_all(self) -> Outcome:
        """Check the data of every round again: later kills must not have harmed it."""
        outcome = Outcome()
        async with self._api() as api:
            for crew, ledger, journal, plans in self._rounds:
                renewed = [await _renewed(api, user) for user in crew]
                await _count(renewed, ledger, outcome)
                outcome.add_activity(journal, await check_trip(renewed[0], journal))
                outcome.add_plans(plans, await check_plans(renewed[0], plans))
        outcome.lost += await stray_files(self.server)
        return outcome

    async def wrong_notifications(self) -> list[str]:
        """Accepted invitations with no or several notifications of the inviter, once all jobs are done."""
        async with self._api() as api:
            wrong: list[str] = []
            deadline_s = time.monotonic() + NOTIFIED_S
            for crew, ledger, *_ in self._rounds:
                for user in [await _renewed(api, user) for user in crew]:
                    left_s = deadline_s - time.monotonic()
                    wrong += await _wrongly_notified(user, ledger, within_s=max(left_s, 1.0))
        return wrong

    async def _write_during_kill(
        self, kill: Kill, phones: list[Phone], ledger: Ledger, journal: Journal, plans: Plans
    ) -> float:
        """Let users write, chat, walk, vote and upload during a kill; return the downtime in seconds."""
        stop = asyncio.Event()
        crew = [phone.user for phone in phones]
        acting: list[Writer | ActiveMember | Planner] = [
            *(Writer(user, crew, ledger, self._new_random()) for user in crew),
            *(ActiveMember(phone, journal, number, self._new_random()) for number, phone in enumerate(phones)),
            *(Planner(user, plans, self._new_random()) for user in crew),
        ]
        writers = [asyncio.create_task(each.run(stop)) for each in acting]
        try:
            # The random moment is the subject of the test, so there is no condition to wait for.
            await asyncio.sleep(self._random.uniform(0.2, 1.2))
            began_s, killed_pid = time.monotonic(), None if kill is Kill.HOST else self.server.postmaster
            await self._kill(kill)
            await self._wait_until_ready(killed_pid)
            downtime_s = time.monotonic() - began_s
            await asyncio.sleep(self._random.uniform(0.2, 0.6))
        finally:
            stop.set()
            await asyncio.gather(*writers)
        return downtime_s

    def _new_random(self) -> random.Random:
        return random.Random(self._random.random())

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

    async def _wait_until_ready(self, killed_pid: int | None) -> None:
        """Wait until the host serves with a new PostgreSQL; it must restart it by itself."""
        async with self._api(retries=0) as api:

            async def ready() -> bool:
                reply = await api.send("GET", "/health/readiness")
                return reply.status_code == 200 and self.server.postmaster not in (None, killed_pid)

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
    """Run the listeners during the block."""
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        yield
    finally:
        for listener in listeners:
            await listener.stop()
        await asyncio.gather(*tasks)


async def _missed(listeners: Sequence[Listener], ledger: Ledger) -> list[str]:
    """Expected events that did not reach their recipients, neither by socket nor by `GET /v1/events`."""
    by_user = {listener.user.id: listener for listener in listeners}
    deadline_s = time.monotonic() + SETTLED_S
    while missing := [
        f"{key} was not delivered to {user_id}"
        for user_id, key in ledger.expected
        if key not in by_user[user_id].received
    ]:
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(0.05)
    return missing


async def _count(crew: list[User], ledger: Ledger, outcome: Outcome) -> None:
    """Compare the API's replies with the acknowledged writes."""
    outcome.count(ledger)
    for user in crew:
        await _count_trips(user, ledger, outcome)
        await _count_events(user, ledger, outcome)


async def _count_trips(user: User, ledger: Ledger, outcome: Outcome) -> None:
    listed = {trip["id"]: trip for trip in await user.ask("GET", "/v1/trips")}
    own = [trip for trip in listed.values() if trip["createdBy"] == user.id]
    outcome.duplicates += _duplicates("trip", (trip["name"] for trip in own))
    for trip_id, acknowledged in ledger.trips.items():
        if acknowledged["createdBy"] != user.id:
            continue
        shown = listed.get(trip_id, {})
        outcome.lost += [
            f"trip {trip_id}: {name} is not {acknowledged[name]!r}"
            for name in ("name", "description", "startDate", "endDate", "createdAt", "status")
            if shown.get(name) != acknowledged[name]
        ]
    for trip in own:
        await _count_one_trip(user, trip["id"], ledger, outcome)


async def _count_one_trip(user: User, trip_id: str, ledger: Ledger, outcome: Outcome) -> None:
    todos = await _pages(user, f"/v1/trips/{trip_id}/todos")
    outcome.duplicates += _duplicates("to-do", (todo["text"] for todo in todos))
    outcome.lost += _differences("to-do", trip_id, ledger.todos, todos, ledger.unconfirmed)

    members = [m["membership"] for m in await user.ask("GET", f"/v1/trips/{trip_id}/members")]
    outcome.duplicates += _duplicates("membership", (member["userId"] for member in members))
    outcome.lost += _differences("membership", trip_id, ledger.memberships, members)

    invitations = await user.ask("GET", f"/v1/trips/{trip_id}/invitations")
    outcome.duplicates += _duplicates("invitation", (i["inviteeEmail"] for i in invitations))
    shown = {invitation["id"] for invitation in invitations}
    outcome.lost += [
        f"invitation {invitation_id}"
        for invitation_id, invitation in ledger.invitations.items()
        if invitation["tripId"] == trip_id and invitation_id not in shown
    ]


async def _count_events(user: User, ledger: Ledger, outcome: Outcome) -> None:
    """Read all events from the start: every expected one is there, once."""
    events = await user.events()
    keys = Counter(filter(None, map(Listener.key_of, events)))
    outcome.duplicates += [f"event {key} for {user.id}" for key, count in keys.items() if count > 1]
    outcome.lost += [
        f"{key} is not among the events of {user.id}"
        for user_id, key in ledger.expected
        if user_id == user.id and key not in keys
    ]


def _differences(
    what: str,
    trip_id: str,
    acknowledged: dict[str, dict[str, Any]],
    shown: list[dict[str, Any]],
    unconfirmed: Iterable[str] = (),
) -> list[str]:
    """Acknowledged objects of a trip that differ from what was acknowledged.

    `unconfirmed` ones may have changed by a write without a reply.
    """
    by_id = {item["id"]: item for item in shown}
    lost = []
    for id_, reply in acknowledged.items():
        if reply["tripId"] != trip_id:
            continue
        found = by_id.get(id_)
        if found is not None and id_ in unconfirmed:
            found = found | {name: reply[name] for name in ("status", "updatedAt")}
        if found != reply:
            lost.append(f"{what}: acknowledged {reply}, found {found}")
    return lost


def _duplicates(what: str, names: Iterable[str]) -> list[str]:
    return [f"{what} {name!r}: {count} times" for name, count in Counter(names).items() if count > 1]


async def _pages(user: User, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await user.ask("GET", f"{path}?limit=100&offset={len(found)}")
        found += page["data"]
        if len(found) >= page["pagination"]["total"] or not page["data"]:
            return found


async def _renewed(api: Api, user: User) -> User:
    """The same user with a fresh token."""
    reply = await api.send("POST", "/v1/auth/refresh", json={"refresh_token": user.refresh_token})
    assert reply.status_code == 200, reply.text
    renewed = User.of(api, reply.json())
    user.refresh_token = renewed.refresh_token
    return renewed


async def _wrongly_notified(user: User, ledger: Ledger, *, within_s: float) -> list[str]:
    """A user's accepted invitations with other than one notification."""
    expected = {id_ for id_ in ledger.accepted if ledger.invitations[id_]["inviterId"] == user.id}

    async def counted() -> Counter[str]:
        found: list[dict[str, Any]] = []
        while page := await user.ask("GET", f"/v1/notifications?limit=100&offset={len(found)}"):
            found += page
        return Counter(n["metadata"]["invitationID"] for n in found if n["type"] == "TRIP_INVITATION_ACCEPTED")

    deadline_s = time.monotonic() + within_s
    while expected - (counts := await counted()).keys() and time.monotonic() < deadline_s:
        await asyncio.sleep(0.5)
    return [f"invitation {id_}: {counts[id_]} notifications" for id_ in expected if counts[id_] != 1]
