"""Frames to sockets that API Gateway holds, through its management API."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import compress

from nomadcrew.adapters.aws.client import AwsClient, AwsError
from nomadcrew.adapters.aws.connections import DynamoConnections
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.realtime import Connection

log = logging.getLogger("nomadcrew.sockets")

AT_ONCE = 25
# The gateway knows a socket only once the function that was asked about it has answered; until then it says "gone".
SETTLING = timedelta(seconds=15)


class GatewaySockets:
    """`Sockets` of a WebSocket API."""

    def __init__(self, connections: DynamoConnections, gateway: AwsClient, *, clock: Clock) -> None:
        """`gateway` calls the management address of the API's stage."""
        self._connections = connections
        self._gateway = gateway
        self._clock = clock

    async def add(self, connection: Connection) -> None:
        await self._connections.add(connection)

    async def forget(self, connection_id: str) -> None:
        await self._connections.forget(connection_id)

    async def send(self, connection_id: str, frame: str) -> bool:
        try:
            await self._gateway.request("POST", f"/@connections/{connection_id}", frame.encode())
        except AwsError as error:
            if error.status == 410:
                return False
            raise Unavailable(details=f"sockets: {error.code}") from error
        return True

    async def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, *, now: datetime
    ) -> Sequence[UserId]:
        found = await self._connections.of(user_ids, now=now)
        return await self._send_to([one for one in found if trip_id not in one.muted], frame)

    async def deliver_to_all(self, frame: str, *, now: datetime) -> int:
        return len(await self._send_to(await self._connections.live(now=now), frame))

    async def _send_to(self, connections: Sequence[Connection], frame: str) -> Sequence[UserId]:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(connection: Connection) -> bool:
            async with free:
                return await self._try(connection, frame)

        taken = await asyncio.gather(*map(one, connections))
        return [connection.user_id for connection in compress(connections, taken)]

    async def _try(self, connection: Connection, frame: str) -> bool:
        """Send, and forget a socket that is gone; what the gateway does not take after three times is dropped."""
        try:
            if await self.send(connection.id, frame):
                return True
            if self._clock() - connection.connected_at > SETTLING:
                await self.forget(connection.id)
        except Unavailable as error:
            log.warning("a frame was dropped", extra={"fields": {"reason": error.details}})
        return False
