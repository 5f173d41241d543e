"""The minimum cost of a fan-out with this WebSocket library: each frame is broadcast unchanged to all clients."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from nomadcrew.hosts.machine.open_files import allow_open_files


async def main(port: int) -> None:
    connections: set[ServerConnection] = set()

    async def stay(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            async for frame in connection:
                broadcast(connections, frame)
        finally:
            connections.discard(connection)

    async with serve(stay, "127.0.0.1", port, compression=None, ping_interval=None, backlog=2048):
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    allow_open_files()
    uvloop.run(main(int(sys.argv[1])))
