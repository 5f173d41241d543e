"""The fan-out from one write to all sockets of a crew, and the cost of thousands of idle sockets.

Compared with a bare server of the same WebSocket library that forwards frames (`bench.echo`).
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from websockets.asyncio.client import connect

from bench.listeners import Listener, Receiver, open_listeners
from bench.load import SETTLE_S, Sample, settle_server
from bench.machine import CannotMeasure, Server, rss_mib
from bench.world import World
from nomadcrew.core.realtime import MAX_SOCKETS

SOCKETS = (5, 100, 1_000)
IDLE_SOCKETS = 5_000
IDLE_SETTLE_S = 3.0

Write = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Idle:
    """The memory of open sockets without traffic, per socket and in total, and the CPU for keeping them open."""

    sockets: int
    kib_each: float
    rss_mib: float
    cpu_percent: float


async def host_fanout(server: Server, world: World, *, sockets: int, seconds: float) -> Sample:
    """A member writes to a trip's chat; the other members' sockets receive each message."""
    async with AsyncExitStack() as stack:
        paths, write = await _crew(stack, server, world, sockets)
        return await _fanout(stack, server, paths, write, seconds)


async def echo_fanout(server: Server, *, sockets: int, seconds: float) -> Sample:
    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(
            connect(f"ws{server.url.removeprefix('http')}", compression=None, ping_interval=None, max_queue=None)
        )
        body = "x" * 400

        async def write(marker: str) -> None:
            await writer.send(f'{{"text":"{marker}","body":"{body}"}}')
            await writer.recv()  # the writer's own copy

        return await _fanout(stack, server, ["/"] * sockets, write, seconds)


async def host_idle(server: Server, world: World, *, sockets: int = IDLE_SOCKETS) -> Idle:
    async with AsyncExitStack() as stack:
        return await _idle(stack, server, await _paths(world, sockets))


async def echo_idle(server: Server, *, sockets: int = IDLE_SOCKETS) -> Idle:
    async with AsyncExitStack() as stack:
        return await _idle(stack, server, ["/"] * sockets)


async def _fanout(
    stack: AsyncExitStack, server: Server, paths: Sequence[str], write: Write, seconds: float
) -> Sample:
    """One event after another; figures are per event, latencies per delivery."""
    receiver = Receiver()
    await _listen(stack, server, paths, receiver)
    await _event(receiver, write, len(paths))
    await asyncio.sleep(SETTLE_S)
    cpu_s, postgres_s, began_s = server.cpu_seconds(), server.postgres_seconds(), time.perf_counter()
    times_ms: list[float] = []
    events = 0
    while time.perf_counter() < began_s + seconds:
        times_ms += await _event(receiver, write, len(paths))
        events += 1
    took_s = time.perf_counter() - began_s
    await asyncio.to_thread(settle_server, server)
    used_s, postgres_used_s = server.cpu_seconds() - cpu_s, server.postgres_seconds() - postgres_s
    times_ms.sort()
    return Sample(
        events / took_s,
        used_s / events * 1e6,
        statistics.median(times_ms),
        times_ms[len(times_ms) * 99 // 100],
        postgres_used_s / events * 1e6,
    )


async def _event(receiver: Receiver, write: Write, expected: int) -> list[float]:
    marker = f"~{time.time_ns()}~"
    receiver.before_write(marker.encode(), expected)
    sent_s = time.perf_counter()
    await write(marker)
    return [(received_s - sent_s) * 1000 for received_s in await receiver.all_received()]


async def _idle(stack: AsyncExitStack, server: Server, paths: Sequence[str]) -> Idle:
    before_mib = rss_mib(server.pid)
    await _listen(stack, server, paths, Receiver())
    await asyncio.sleep(IDLE_SETTLE_S)
    used_mib = rss_mib(server.pid)
    before_s, began_s = server.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(IDLE_SETTLE_S)
    busy = (server.cpu_seconds() - before_s) / (time.perf_counter() - began_s)
    return Idle(len(paths), (used_mib - before_mib) * 1024 / len(paths), used_mib, busy * 100)


async def _listen(stack: AsyncExitStack, server: Server, paths: Sequence[str], receiver: Receiver) -> None:
    host, port = server.host_and_port
    listeners = await open_listeners(host, port, paths, receiver)
    stack.push_async_callback(_leave, listeners)


async def _leave(listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        listener.transport.abort()
    await asyncio.sleep(SETTLE_S)  # until the server has noticed


async def _paths(world: World, sockets: int) -> list[str]:
    tokens = await world.tokens()
    by_user = [f"/v1/ws?token={tokens[person.id]}" for person in (*world.people, *world.crowd)]
    return [by_user[number % len(by_user)] for number in range(sockets)]


async def _crew(stack: AsyncExitStack, server: Server, world: World, sockets: int) -> tuple[Sequence[str], Write]:
    """The paths of a crew's sockets, spread evenly over all members but the writer, and the writer's function.

    The crowd is the crew of more sockets than a crew of five may open.
    """
    tokens = await world.tokens()
    people, trip = world.crew(0), world.trips[0][0]
    if sockets > MAX_SOCKETS * (len(people) - 1):
        people, trip = world.crowd, world.crowd_trip
    author, *readers = people
    paths = [f"/v1/ws?token={tokens[readers[number % len(readers)].id]}" for number in range(sockets)]
    host, port = server.host_and_port
    reader, writer = await asyncio.open_connection(host, port)
    stack.callback(writer.close)
    token = tokens[author.id]

    async def write(marker: str) -> None:
        body = b'{"content":"%s"}' % marker.encode()
        head = (
            f"POST /v1/trips/{trip}/chat/messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if " 201 " not in answer.partition("\r\n")[0]:
            raise CannotMeasure(f"{server.name} refused a message: {answer}")
        await reader.readexactly(int(answer.partition("content-length:")[2].partition("\r\n")[0]))

    return paths, write
