"""Stops of the host and outages of its PostgreSQL at moments that random kills seldom hit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from nomadcrew.hosts.machine.postgres.cluster import DATABASE, PORT, ROLE, socket_folder_named
from nomadcrew.hosts.machine.postgres.process import read_pid_file
from tests.e2e.client import Api, User, eventually
from tests.e2e.server import Server

BACK = "PostgreSQL is back after"  # what the host logs

pytestmark = pytest.mark.one_machine("stops and kills processes")


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[Server]:
    """A server for one test, which may stop and kill it."""
    async with Server(NOMADCREW_RATE_LIMITS="off") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def api(server: Server) -> AsyncIterator[Api]:
    made = Api(server.url)
    yield made
    await made.close()


@asynccontextmanager
async def row_lock(home: Path, trip_id: str) -> AsyncIterator[None]:
    """Lock a trip, so that writes to it wait."""
    note = read_pid_file(home / "postgres")
    assert note is not None
    folder = socket_folder_named(note.socket, home / "postgres").path
    connection: Any = await asyncpg.connect(host=str(folder), port=PORT, user=ROLE, database=DATABASE)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM trips WHERE id = $1::uuid FOR UPDATE", trip_id)
            yield
    finally:
        await connection.close()


async def update_is_waiting(api: Api) -> None:
    """Wait until the update is in the database."""

    async def found() -> bool:
        text = (await api.send("GET", "/metrics")).text
        return 'nomadcrew_statements_total{name="change"} 1' in text

    await eventually(found)


async def refuses(url: str) -> bool:
    """True if nothing listens at the address any more."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{url}/health/liveness")
    except httpx.ConnectError:
        return True
    except httpx.RemoteProtocolError:  # accepted while the listener closed
        return False
    return False


async def kill_postgres_and_wait(server: Server, user: User, trip_id: str) -> None:
    """Kill PostgreSQL and wait until the host serves with a new one.

    Until then it replies 503 with Retry-After.
    """
    killed, log_count = server.kill_postgres(), server.log.count(BACK)

    async def recovered() -> bool:
        reply = await user.send("GET", f"/v1/trips/{trip_id}")
        if reply.status_code != 200:
            assert (reply.status_code, reply.json()["type"]) == (503, "SERVER")
            assert int(reply.headers["retry-after"]) > 0
            assert (await user.api.send("GET", "/health/liveness")).status_code == 200
        # Connections survive the killed process for a moment and serve. The new process serves a moment before the
        # host notices; killed in that moment, it counts as a failed start.
        back = server.postmaster not in (None, killed) and server.log.count(BACK) > log_count
        return reply.status_code == 200 and back

    await eventually(recovered, within_s=60)


async def test_ctrl_c_waits_for_a_running_request(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    trip_id = await ana.new_trip()
    async with row_lock(server.home, trip_id):
        request = asyncio.create_task(ana.send("PUT", f"/v1/trips/{trip_id}", {"name": "By boat"}))
        await update_is_waiting(api)
        stopping = asyncio.create_task(server.stop())
        await eventually(lambda: refuses(server.url))
    reply = await request
    assert (reply.status_code, reply.json()["name"]) == (200, "By boat")
    assert await stopping == 0
    assert server.errors == []


async def test_sockets_survive_postgresql_and_receive_later_events(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    trip_id = await ana.new_trip()
    socket = await ana.connect()
    await ana.new_todo(trip_id, "before")
    await socket.event("TODO_CREATED", trip_id, text="before")
    await kill_postgres_and_wait(server, ana, trip_id)
    await ana.new_todo(trip_id, "after")
    await socket.event("TODO_CREATED", trip_id, text="after")
    assert socket.open
    await socket.close()
    assert server.errors == []


async def test_the_host_recovers_from_repeated_kills_of_postgresql(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    trip_id = await ana.new_trip()
    for number in range(3):
        await kill_postgres_and_wait(server, ana, trip_id)
        await ana.new_todo(trip_id, str(number))
    assert server.errors == []


async def test_ctrl_c_exits_cleanly_without_postgresql(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    await ana.new_trip()
    socket = await ana.connect()
    server.kill_postgres()
    assert await server.stop() == 0
    assert await socket.closed() == 1012
    assert server.postmaster is None
    assert server.errors == []


async def test_a_killed_host_leaves_nothing_that_prevents_the_next_start(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    trip_id = await ana.new_trip()
    for _ in range(3):
        await server.kill_host()
        await server.start()
        assert [trip["id"] for trip in await ana.ask("GET", "/v1/trips")] == [trip_id]
    assert await server.stop() == 0
    assert server.errors == []


@pytest.mark.contract("jobs.shutdown.fix")
async def test_ctrl_c_closes_sockets_with_1012_and_they_reconnect(server: Server, api: Api) -> None:
    ana = await api.register("ana")
    trip_id = await ana.new_trip()
    sockets = [await ana.connect() for _ in range(3)]
    assert await server.stop() == 0
    assert [await socket.closed() for socket in sockets] == [1012] * 3
    assert server.postmaster is None

    await server.start()
    for socket in sockets:
        await socket.connect()
    await ana.new_todo(trip_id, "boots")
    for socket in sockets:
        await socket.event("TODO_CREATED", trip_id, text="boots")
        await socket.close()
    assert server.errors == []
