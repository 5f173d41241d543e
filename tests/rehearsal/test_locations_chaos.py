"""Positions with killed functions and duplicated stream records: every acknowledged position is stored once."""

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
from tests.e2e.client import Api, Socket, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.test_locations import now_ms
from tests.rehearsal.sdk import client
from tests.rehearsal.test_chaos import kill_workers

ROUNDS = 10
# About a metre, so that no pace exceeds the accepted speed.
STEP_DEG = 1e-5
FUNCTIONS = ("locations", "location_stream")

Position = tuple[float, float]


class Walker:
    """A member who walks northward on one longitude, with the sent and acknowledged positions by millisecond."""

    def __init__(self, user: User, trip_id: str, number: int) -> None:
        self.user = user
        self.path = f"/v1/trips/{trip_id}/locations"
        self.sent: dict[int, Position] = {}
        self.acknowledged: set[int] = set()
        self._longitude = round(-8.6 - number / 1000, 3)

    def step(self) -> dict[str, Any]:
        at_ms = max(now_ms(), max(self.sent, default=0) + 1)
        self.sent[at_ms] = position = (round(41.1 + len(self.sent) * STEP_DEG, 5), self._longitude)
        return {"latitude": position[0], "longitude": position[1], "timestamp": at_ms}

    async def round(self) -> None:
        """Report positions one by one and in a batch: some late, some twice, in random order."""
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
        self.acknowledged.add(step["timestamp"])
        return True

    async def report_together(self, steps: list[dict[str, Any]]) -> None:
        reply = await self._post(f"{self.path}:batch", {"locations": steps})
        if reply is not None:
            assert [one["status"] for one in reply["results"]] == ["accepted"] * len(steps)
            self.acknowledged.update(step["timestamp"] for step in steps)

    async def arrive(self) -> None:
        """Report one more position until it is acknowledged."""
        step = self.step()
        await eventually(lambda: self.report(step))

    @property
    def end(self) -> tuple[int, Position]:
        return max(self.sent.items())

    async def track(self, by: User) -> list[tuple[int, Position]]:
        page = await by.ask("GET", f"{self.path}/track?user={self.user.id}&points=1000")
        return [(one["timestamp"], (one["latitude"], one["longitude"])) for one in page["points"]]

    async def _post(self, path: str, body: object) -> Any:
        """The acknowledged reply; None if no attempt was acknowledged, even if it was carried out."""
        try:
            reply = await self.user.send("POST", path, body)
        except httpx.TransportError:
            return None
        return reply.json() if reply.is_success else None


def received(socket: Socket, of: User) -> dict[int, Position]:
    """A user's positions as a client received them, by millisecond; a client shows the newest."""
    found: dict[int, Position] = {}
    for at in broadcasts(socket, of):
        position = found.setdefault(at["timestamp"], (at["latitude"], at["longitude"]))
        assert position == (at["latitude"], at["longitude"])
    return found


def broadcasts(socket: Socket, of: User) -> list[dict[str, Any]]:
    """Every position of a user that a client received, in order."""
    payloads = [event["payload"] for event in socket.events if event["type"] == "LOCATION_UPDATED"]
    return [payload["location"] for payload in payloads if payload["userId"] == of.id]


async def wait_for_end(sockets: list[Socket], walker: Walker) -> None:
    """Wait until each client shows the walker's last position."""
    for socket in sockets:

        def shows(socket: Socket = socket) -> bool:
            return max(received(socket, walker.user).items(), default=None) == walker.end

        await socket.until(shows, within_s=60)


async def trip_of_two(register: Register, phone: Api | None = None) -> list[Walker]:
    users = [await register(name) for name in ("ana", "ben", "cleo")]
    trip_id = await users[0].new_trip()
    for guest in users[1:]:
        await users[0].add_member(trip_id, guest)
    for user in users:
        user.api = phone or user.api
    return [Walker(user, trip_id, number) for number, user in enumerate(users)]


async def check_all(walkers: list[Walker], sockets: list[Socket]) -> None:
    """Every member reads and receives all acknowledged positions, and only sent ones."""
    user_ids = {one.user.id for one in walkers}
    for one in walkers:
        await wait_for_end(sockets, one)

        async def has_all_viewers(one: Walker = one) -> bool:
            views = (await one.user.ask("GET", f"{one.path}/views"))["views"]
            return {view["userId"] for view in views} == user_ids - {one.user.id}

        async def has_all_points(one: Walker = one) -> bool:
            return one.acknowledged <= dict(await one.track(one.user)).keys()

        await eventually(has_all_viewers)
        await eventually(has_all_points, within_s=60)
    for one in walkers:
        for by in walkers:
            track = await one.track(by.user)
            assert track == sorted(dict(track).items())
            assert one.acknowledged <= dict(track).keys()
            assert dict(track).items() <= one.sent.items()
            page = await by.user.ask("GET", f"{one.path}/members")
            last = {row["userId"]: row["location"] for row in page}[one.user.id]
            assert (last["timestamp"], (last["latitude"], last["longitude"])) == one.end
        for socket in sockets:
            assert received(socket, one.user).items() <= one.sent.items()


async def test_killed_location_functions_lose_no_position_and_duplicate_none(
    api: Api, register: Register, connect: Connect
) -> None:
    phone = Api(api.url, retries=3, sockets=api.sockets)
    walkers = await trip_of_two(register, phone)
    sockets = [await connect(one.user) for one in walkers]
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
    assert all(walker.acknowledged for walker in walkers)
    await asyncio.gather(*(walker.arrive() for walker in walkers))
    await check_all(walkers, sockets)
    await phone.close()


async def test_duplicate_and_late_stream_records_do_not_change_any_client(
    rehearsal: Rehearsal, register: Register, connect: Connect
) -> None:
    walkers = await trip_of_two(register)
    sockets = [await connect(one.user) for one in walkers]
    ana, *_ = walkers
    for walker in walkers:
        for _ in range(3):
            await walker.arrive()
        await wait_for_end(sockets, walker)
    latest_ms = ana.end[0]
    stream = client(rehearsal, "kinesis")
    trip_id = ana.path.split("/")[3]
    for at_ms, position in sorted(ana.sent.items(), reverse=True):
        for _ in range(2):
            stream.put_record(
                StreamName="nomadcrew-rehearsal-locations",
                PartitionKey=trip_id,
                Data=pack_record(record_of(trip_id, ana.user.id, at_ms, position)),
            )
    # The stream is ordered per trip, so these broadcasts follow the duplicates.
    for walker in walkers:
        await walker.arrive()
    await check_all(walkers, sockets)
    for socket in sockets:
        times = Counter(at["timestamp"] for at in broadcasts(socket, ana.user))
        assert all(count == 1 for at_ms, count in times.items() if at_ms < latest_ms), times


def record_of(trip_id: str, user_id: str, at_ms: int, position: Position) -> LocationRecord:
    taken_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    point = StoredPoint(*position, taken_at, taken_at, Privacy.PRECISE)
    return LocationRecord(TripId(UUID(trip_id)), UserId(UUID(user_id)), [point])
