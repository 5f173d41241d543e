"""Several workers on one port: events, ended sessions and limits cross them, and a killed worker is replaced."""

import asyncio
import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.e2e.client import Api, Socket, User, eventually
from tests.e2e.server import Server

pytestmark = pytest.mark.one_machine("on AWS every function is a separate process")

WORKERS = 3
# With 36 sockets, the probability that a worker gets none is negligible.
SOCKETS = 36


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    # These tests register more users per hour than one address may.
    async with Server(NOMADCREW_WORKERS=str(WORKERS), NOMADCREW_RATE_LIMITS="register=1000/3600") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def api(server: Server) -> AsyncIterator[Api]:
    api = Api(server.url, retries=3)
    yield api
    await api.close()


def host_of(server: Server) -> int:
    return int((server.home / "host.lock").read_text().partition(" ")[0])


def workers_of(server: Server) -> dict[int, int]:
    """Worker pids of the host, and the number of open client sockets of each."""
    port = int(server.url.rpartition(":")[2])
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (folder / "stat").read_text().rpartition(") ")[2].split()[1]
            if (
                int(parent) == host_of(server)
                and b"hosts.machine.workers.worker" in (folder / "cmdline").read_bytes()
            ):
                found[int(folder.name)] = _open_at(int(folder.name), port)
    return found


def _open_at(pid: int, port: int) -> int:
    """The number of established connections at a port that a process holds."""
    established = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "01" and int(line.split()[1].partition(":")[2], 16) == port
    }
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.removeprefix("socket:[").removesuffix("]") in established for link in links)


async def trip_of(api: Api, *names: str) -> tuple[str, list[User]]:
    users = [await api.register(name) for name in names]
    trip_id = await users[0].new_trip()
    for guest in users[1:]:
        await users[0].add_member(trip_id, guest)
    return trip_id, users


async def spread_sockets(server: Server, user: User, count: int = SOCKETS) -> list[Socket]:
    """Open `count` sockets, so that every worker has some."""
    sockets = [await user.connect() for _ in range(count)]
    assert len(workers_of(server)) == WORKERS
    assert all(workers_of(server).values()), workers_of(server)
    return sockets


async def test_an_event_reaches_every_socket_of_every_worker_once(server: Server, api: Api) -> None:
    trip_id, [ana, ben] = await trip_of(api, "ana", "ben")
    sockets = await spread_sockets(server, ben)
    texts = [f"number {number}" for number in range(20)]
    async with httpx.AsyncClient(base_url=server.url) as first, httpx.AsyncClient(base_url=server.url) as second:
        for number, text in enumerate(texts):
            client = (first, second)[number % 2]
            reply = await client.post(
                f"/v1/trips/{trip_id}/todos", json={"text": text}, headers={"authorization": f"Bearer {ana.token}"}
            )
            assert reply.status_code == 201
    for socket in sockets:
        await socket.event("TODO_CREATED", trip_id, text=texts[-1])
        received = [event["payload"]["text"] for event in socket.events if event["type"] == "TODO_CREATED"]
        assert received == texts
        await socket.close()


async def test_live_viewers_are_listed_across_workers(server: Server, api: Api) -> None:
    trip_id, [ana, ben] = await trip_of(api, "ana", "ben")
    sockets = await spread_sockets(server, ben)
    position = {"latitude": 41.15, "longitude": -8.61}
    await ana.ask("POST", f"/v1/trips/{trip_id}/locations", position, status=201)
    for socket in sockets:
        await socket.event("LOCATION_UPDATED", trip_id, userId=ana.id)

    async def viewers() -> list[str]:
        views = (await ana.ask("GET", f"/v1/trips/{trip_id}/locations/views"))["views"]
        return [view["userId"] for view in views]

    assert set(await eventually(viewers)) == {ben.id}
    for socket in sockets:
        await socket.close()


async def test_a_session_that_ends_ends_in_every_worker(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    tablet = await ana.sign_in()
    phones = await spread_sockets(server, ana)
    tablet_socket = await tablet.connect()
    await ana.ask("POST", "/v1/auth/logout", {"refresh_token": ana.refresh_token})
    for phone in phones:
        assert await phone.closed() == 4401
    for _ in range(WORKERS * 4):
        async with httpx.AsyncClient(base_url=server.url) as client:
            reply = await client.get("/v1/users/me", headers={"authorization": f"Bearer {ana.token}"})
        assert reply.status_code == 401
    await tablet_socket.catch_up()
    await tablet_socket.close()


async def test_a_rate_limit_counts_across_workers(server: Server) -> None:
    statuses: Counter[int] = Counter()
    body = {"email": "nobody@example.org", "password": "Not-this-one-7"}
    for _ in range(14):
        async with httpx.AsyncClient(base_url=server.url) as client:
            statuses[(await client.post("/v1/auth/login", json=body)).status_code] += 1
    # An account may fail five times per 15 minutes; the address may ask ten times a minute.
    assert statuses == {401: 5, 429: 9}


async def test_metrics_and_health_cover_all_workers(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    sockets = await spread_sockets(server, ana)

    async def counted() -> bool:
        return f"\nnomadcrew_sockets {SOCKETS}.0\n" in (await api.send("GET", "/metrics")).text

    await eventually(counted)
    page = (await api.send("GET", "/metrics")).text
    assert len(re.findall(r"^nomadcrew_build_info\{.*\} 1\.0$", page, re.MULTILINE)) == 1
    assert page.count("# TYPE nomadcrew_requests_total counter") == 1
    health = (await api.send("GET", "/health")).json()
    assert health["status"] == "UP", health
    assert {"database", "relay", "sockets", "notifications", "email"} <= health["components"].keys()
    for socket in sockets:
        await socket.close()


async def test_every_worker_knows_who_is_online(server: Server, api: Api) -> None:
    trip_id, [ana, ben] = await trip_of(api, "ana", "ben")
    sockets = await spread_sockets(server, ben)

    async def everywhere(online: bool) -> bool:
        seen = []
        for _ in range(WORKERS * 4):
            async with httpx.AsyncClient(base_url=server.url) as client:
                reply = await client.get(
                    f"/v1/trips/{trip_id}/presence", headers={"authorization": f"Bearer {ana.token}"}
                )
            seen += [one["isOnline"] for one in reply.json() if one["userId"] == ben.id]
        return seen == [online] * WORKERS * 4

    await eventually(lambda: everywhere(True))
    for socket in sockets:
        await socket.close()
    await eventually(lambda: everywhere(False))


async def test_a_killed_worker_is_restarted_and_its_clients_miss_nothing(server: Server, api: Api) -> None:
    trip_id, [ana, ben] = await trip_of(api, "ana", "ben")
    sockets = await spread_sockets(server, ben)
    before = workers_of(server)
    victim = max(before, key=lambda pid: before[pid])
    os.kill(victim, signal.SIGKILL)

    async def all_back() -> bool:
        now = workers_of(server)
        return victim not in now and len(now) == WORKERS

    await eventually(all_back)
    lost = [socket for socket in sockets if not socket.open]
    assert 0 < len(lost) < SOCKETS
    await ana.new_todo(trip_id, "while away")
    for socket in lost:
        assert socket.close_code == 1006
        await socket.connect()
    await ana.new_todo(trip_id, "after")
    for socket in sockets:
        await socket.event("TODO_CREATED", trip_id, text="after")
        if socket not in lost:
            await socket.event("TODO_CREATED", trip_id, text="while away")
        await socket.close()
    assert {"while away", "after"} <= {event["payload"].get("text") for event in await ben.events()}
    assert server.errors == []


async def test_ctrl_c_drains_every_worker(api: Api) -> None:
    async with Server(NOMADCREW_WORKERS=str(WORKERS)) as server:
        own = Api(server.url, retries=3)
        ana = await own.register("ana")
        sockets = await spread_sockets(server, ana)
        workers = workers_of(server)
        assert await server.stop() == 0
        assert {await socket.closed() for socket in sockets} == {1012}
        assert server.postmaster is None
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        assert server.errors == []
        await own.close()


async def test_workers_end_with_a_killed_host_and_the_next_host_serves() -> None:
    async with Server(NOMADCREW_WORKERS=str(WORKERS)) as server:
        api = Api(server.url, retries=3)
        ana = await api.register("ana")
        trip_id = await ana.new_trip()
        workers = workers_of(server)
        await server.kill_host()

        async def ended() -> bool:
            return not [pid for pid in workers if Path(f"/proc/{pid}").exists()]

        await eventually(ended, within_s=5)
        await server.start()
        assert [trip["id"] for trip in await ana.ask("GET", "/v1/trips")] == [trip_id]
        assert await server.stop() == 0
        await api.close()
    await asyncio.sleep(0)
