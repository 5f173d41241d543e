"""A walk whose functions are killed and whose stream tells twice: what was acknowledged is there once, for all."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import LocationRecord, Privacy, StoredPoint
from nomadcrew.wire.location_records import pack_record
from rehearsal.running import Rehearsal
from tests.e2e.client import Api, Person, Socket, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.test_positions import now_ms
from tests.rehearsal.account import client
from tests.rehearsal.test_chaos import kill_workers

ROUNDS = 10
# About a metre: whatever the pace, nobody is faster than people are.
STEP_DEG = 1e-5
FUNCTIONS = ("locations", "location_stream")

Place = tuple[float, float]


class Walker:
    """Somebody who walks northward on a longitude of their own; what was sent and kept, by the millisecond."""

    def __init__(self, person: Person, trip_id: str, number: int) -> None:
        self.person = person
        self.path = f"/v1/trips/{trip_id}/locations"
        self.sent: dict[int, Place] = {}
        self.kept: set[int] = set()
        self._longitude = round(-8.6 - number / 1000, 3)

    def step(self) -> dict[str, Any]:
        at_ms = max(now_ms(), max(self.sent, default=0) + 1)
        self.sent[at_ms] = place = (round(41.1 + len(self.sent) * STEP_DEG, 5), self._longitude)
        return {"latitude": place[0], "longitude": place[1], "timestamp": at_ms}

    async def round(self) -> None:
        """Report steps one by one and together, some of them late, some twice and none in order."""
        late, first, *others = [self.step() for _ in range(5)]
        await self.report(first)
        some = [*others, first, late]
        random.shuffle(some)
        await self.report_together(some)
        last = self.step()
        await asyncio.gather(self.report(last), self.report(last))

    async def report(self, step: dict[str, Any]) -> bool:
        reply = await self._post(self.path, step)
        if reply is None:
            return False
        self.kept.add(step["timestamp"])
        return True

    async def report_together(self, steps: list[dict[str, Any]]) -> None:
        reply = await self._post(f"{self.path}:batch", {"locations": steps})
        if reply is not None:
            assert [one["status"] for one in reply["results"]] == ["accepted"] * len(steps)
            self.kept.update(step["timestamp"] for step in steps)

    async def arrive(self) -> None:
        """Report one more step, until it is acknowledged."""
        step = self.step()
        await eventually(lambda: self.report(step))

    @property
    def end(self) -> tuple[int, Place]:
        return max(self.sent.items())

    async def track(self, by: Person) -> list[tuple[int, Place]]:
        page = await by.ask("GET", f"{self.path}/track?user={self.person.id}&points=1000")
        return [(one["timestamp"], (one["latitude"], one["longitude"])) for one in page["points"]]

    async def _post(self, path: str, body: object) -> Any:
        """What the server acknowledged; None if it never did, whatever it did."""
        try:
            reply = await self.person.send("POST", path, body)
        except httpx.TransportError:
            return None
        return reply.json() if reply.is_success else None


def heard(socket: Socket, of: Person) -> dict[int, Place]:
    """Where a client was told somebody is, by the millisecond: a client shows the newest."""
    found: dict[int, Place] = {}
    for at in told(socket, of):
        place = found.setdefault(at["timestamp"], (at["latitude"], at["longitude"]))
        assert place == (at["latitude"], at["longitude"])
    return found


def told(socket: Socket, of: Person) -> list[dict[str, Any]]:
    """Every position of somebody that a client was told, in that order."""
    payloads = [event["payload"] for event in socket.events if event["type"] == "LOCATION_UPDATED"]
    return [payload["location"] for payload in payloads if payload["userId"] == of.id]


async def have_heard(sockets: list[Socket], walker: Walker) -> None:
    """Wait until each client shows somebody where they are."""
    for socket in sockets:

        def shows(socket: Socket = socket) -> bool:
            return max(heard(socket, walker.person).items(), default=None) == walker.end

        await socket.until(shows, within_s=60)


async def crew(register: Register, phone: Api | None = None) -> list[Walker]:
    people = [await register(name) for name in ("ana", "ben", "cleo")]
    trip_id = await people[0].new_trip()
    for guest in people[1:]:
        await people[0].bring(trip_id, guest)
    for person in people:
        person.api = phone or person.api
    return [Walker(person, trip_id, number) for number, person in enumerate(people)]


async def all_is_right(walkers: list[Walker], sockets: list[Socket]) -> None:
    """What everybody sees and hears of everybody is what was acknowledged, and nothing that never was."""
    everybody = {one.person.id for one in walkers}
    for one in walkers:
        await have_heard(sockets, one)

        async def knows_who_heard(one: Walker = one) -> bool:
            views = (await one.person.ask("GET", f"{one.path}/views"))["views"]
            return {view["userId"] for view in views} == everybody - {one.person.id}

        async def has_the_track(one: Walker = one) -> bool:
            return one.kept <= dict(await one.track(one.person)).keys()

        await eventually(knows_who_heard)
        await eventually(has_the_track, within_s=60)
    for one in walkers:
        for by in walkers:
            track = await one.track(by.person)
            assert track == sorted(dict(track).items())
            assert one.kept <= dict(track).keys()
            assert dict(track).items() <= one.sent.items()
            page = await by.person.ask("GET", f"{one.path}/members")
            last = {row["userId"]: row["location"] for row in page}[one.person.id]
            assert (last["timestamp"], (last["latitude"], last["longitude"])) == one.end
        for socket in sockets:
            assert heard(socket, one.person).items() <= one.sent.items()


async def test_functions_of_positions_that_die_midway_lose_no_step_and_double_none(
    api: Api, register: Register, connect: Connect
) -> None:
    phone = Api(api.url, retries=3, sockets=api.sockets)
    walkers = await crew(register, phone)
    sockets = [await connect(one.person) for one in walkers]
    stop = asyncio.Event()

    async def kill_now_and_then() -> Counter[str]:
        killed: Counter[str] = Counter()
        while not stop.is_set():
            await asyncio.sleep(1)
            killed.update({name: kill_workers(f"nomadcrew-rehearsal-{name}") for name in FUNCTIONS})
        return killed

    async def walk(walker: Walker) -> None:
        for _ in range(ROUNDS):
            await walker.round()

    killer = asyncio.create_task(kill_now_and_then())
    await asyncio.gather(*map(walk, walkers))
    stop.set()
    killed = await killer
    assert all(killed[name] for name in FUNCTIONS), killed
    assert all(walker.kept for walker in walkers)
    await asyncio.gather(*(walker.arrive() for walker in walkers))
    await all_is_right(walkers, sockets)
    await phone.close()


async def test_records_of_the_stream_that_come_again_and_late_change_no_view(
    rehearsal: Rehearsal, register: Register, connect: Connect
) -> None:
    walkers = await crew(register)
    sockets = [await connect(one.person) for one in walkers]
    ana, *_ = walkers
    for walker in walkers:
        for _ in range(3):
            await walker.arrive()
        await have_heard(sockets, walker)
    latest_ms = ana.end[0]
    stream = client(rehearsal, "kinesis")
    trip_id = ana.path.split("/")[3]
    for at_ms, place in sorted(ana.sent.items(), reverse=True):
        for _ in range(2):
            stream.put_record(
                StreamName="nomadcrew-rehearsal-locations",
                PartitionKey=trip_id,
                Data=pack_record(carried(trip_id, ana.person.id, at_ms, place)),
            )
    # The stream keeps a trip's order, so what is told after those comes after them.
    for walker in walkers:
        await walker.arrive()
    await all_is_right(walkers, sockets)
    for socket in sockets:
        times = Counter(at["timestamp"] for at in told(socket, ana.person))
        assert all(count == 1 for at_ms, count in times.items() if at_ms < latest_ms), times


def carried(trip_id: str, user_id: str, at_ms: int, place: Place) -> LocationRecord:
    taken_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    point = StoredPoint(*place, taken_at, taken_at, Privacy.PRECISE)
    return LocationRecord(TripId(UUID(trip_id)), UserId(UUID(user_id)), [point])
