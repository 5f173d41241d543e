"""Frames to sockets that API Gateway holds, through its management API."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.realtime import Connection

log = logging.getLogger("nomadcrew.sockets")

AT_ONCE = 25
# The gateway knows a socket only once the function that was asked about it has answered; until then it says "gone".
SETTLING = timedelta(seconds=15)
# Clients leave a socket that says nothing for a minute; after two they are on another one, or away.
AWAY_AFTER = timedelta(minutes=2)


class GatewaySockets:
    """`Sockets` of a WebSocket API."""

    def __init__(self, connections: DynamoConnections, gateway: AwsClient) -> None:
        """`gateway` calls the management address of the API's stage."""
        self._connections = connections
        self._gateway = gateway

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
        found = [one for one in await self._connections.of(user_ids, now=now) if trip_id not in one.muted]
        return [one.user_id for one, taken in await self._send_to(found, frame) if taken]

    async def deliver_to_all(self, frame: str, *, now: datetime) -> Sequence[Connection]:
        noted = await self._connections.noted(now=now)
        sent = await self._send_to([one for one in noted if one.expires_at > now], frame)
        gone = [one for one, taken in sent if taken is False and now - one.connected_at > SETTLING]
        return gone + [one for one in noted if one.expires_at <= now - AWAY_AFTER]

    async def _send_to(
        self, connections: Sequence[Connection], frame: str
    ) -> Sequence[tuple[Connection, bool | None]]:
        """Sockets, and whether each took the frame; None where the gateway itself failed three times."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(connection: Connection) -> tuple[Connection, bool | None]:
            async with free:
                try:
                    return connection, await self.send(connection.id, frame)
                except Unavailable as error:
                    log.warning("a frame was dropped", extra={"fields": {"reason": error.details}})
                    return connection, None

        return await asyncio.gather(*map(one, connections))
