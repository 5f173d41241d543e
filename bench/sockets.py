"""The time from a to-do's request to the frames on the other members' sockets."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect

from bench.listeners import Receiver, open_listeners
from bench.load import SETTLE_S, Sample, settle_server
from bench.machine import CannotMeasure, Server
from bench.world import CREWS, World

EVENT_TIMEOUT_S = 10.0


@dataclass(slots=True)
class Crew:
    """A member who writes, and the sockets of all others."""

    trip: UUID
    token: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sockets: Sequence[ClientConnection]

    async def write_and_receive(self, server: Server, text: str) -> list[float]:
        """Create a to-do; returns the milliseconds until each other member's socket received it."""
        body = b'{"text":"%s"}' % text.encode()
        head = (
            f"POST /v1/trips/{self.trip}/todos HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        sent_s = time.perf_counter()
        self.writer.write(head.encode() + body)
        async with asyncio.timeout(EVENT_TIMEOUT_S):
            received = asyncio.gather(*(_received_s(socket, text) for socket in self.sockets))
            await _created(self.reader, server)
            return [(received_s - sent_s) * 1000 for received_s in await received]


async def _received_s(socket: ClientConnection, text: str) -> float:
    """The time at which a frame with this text arrived; other frames are skipped."""
    while text not in str(await socket.recv()):
        pass
    return time.perf_counter()


async def _created(reader: asyncio.StreamReader, server: Server) -> None:
    """Read the reply, so that the connection can be reused."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if " 201 " not in head.partition("\r\n")[0]:
        raise CannotMeasure(f"{server.name} refused a to-do: {head}")
    await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))


async def measure(server: Server, world: World, *, crews: int, seconds: float) -> Sample:
    """Members of `crews` crews create one to-do after another; the figures are per event and per delivery.

    `per_s` counts events, `cpu_us` is the server's for the request and all of its deliveries, and the latencies are
    from the request to each delivery. All clients share this process, so with many crews the latencies include its
    queueing.
    """
    tokens = await world.tokens()
    async with AsyncExitStack() as stack:
        writers = [await _crew(stack, server, world, tokens, number) for number in range(crews)]
        await asyncio.gather(*(_keep_writing(crew, server, until_s=0) for crew in writers))
        await asyncio.sleep(SETTLE_S)
        cpu_s, postgres_s, began_s = server.cpu_seconds(), server.postgres_seconds(), time.perf_counter()
        until_s = began_s + seconds
        received = await asyncio.gather(*(_keep_writing(crew, server, until_s) for crew in writers))
        took_s = time.perf_counter() - began_s
        await asyncio.to_thread(settle_server, server)
        used_s, postgres_used_s = server.cpu_seconds() - cpu_s, server.postgres_seconds() - postgres_s
    times_ms = sorted(ms for crew_times in received for event in crew_times for ms in event)
    events = sum(len(crew_times) for crew_times in received)
    return Sample(
        events / took_s,
        used_s / events * 1e6,
        statistics.median(times_ms),
        times_ms[len(times_ms) * 99 // 100],
        postgres_used_s / events * 1e6,
    )


async def with_open_sockets(server: Server, world: World, run: Callable[[], Sample]) -> Sample:
    """The sample of `run` while every user has a socket open."""
    tokens = await world.tokens()
    paths = [f"/v1/ws?token={tokens[person.id]}" for person in world.people]
    listeners = await open_listeners(*server.host_and_port, paths, Receiver())
    try:
        await asyncio.to_thread(settle_server, server)  # the users come online
        return await asyncio.to_thread(run)
    finally:
        for listener in listeners:
            listener.transport.abort()
        await asyncio.to_thread(settle_server, server)


async def _keep_writing(crew: Crew, server: Server, until_s: float) -> list[list[float]]:
    """Write until `until_s`, at least once. Texts differ: a repeated one would be a replay without an event."""
    times: list[list[float]] = []
    while not times or time.perf_counter() < until_s:
        times.append(await crew.write_and_receive(server, f"{crew.trip} {time.time_ns()}."))
    return times


async def _crew(stack: AsyncExitStack, server: Server, world: World, tokens: dict[UUID, str], number: int) -> Crew:
    """A crew's connections; with more writers than crews, a crew writes to a second trip."""
    people = world.crew(number % CREWS)
    trip = world.trips[people[0].crew][number // CREWS]
    host, port = server.host_and_port
    reader, writer = await asyncio.open_connection(host, port)
    stack.callback(writer.close)
    sockets = []
    for person in people[1:]:
        address = f"ws://{host}:{port}/v1/ws?token={tokens[person.id]}"
        socket = await stack.enter_async_context(connect(address, compression=None, ping_interval=None))
        await socket.recv()
        sockets.append(socket)
    return Crew(trip, tokens[people[0].id], reader, writer, sockets)
