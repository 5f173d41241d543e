"""Sends frames to sockets that API Gateway holds, through its management API."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections, newest
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.realtime import Connection

log = logging.getLogger("nomadcrew.sockets")

AT_ONCE = 25
# API Gateway answers 410 for a new socket until the function for its connection has returned.
SETTLING = timedelta(seconds=15)
# Clients drop a silent socket after one minute; after two, they have reconnected or left.
AWAY_AFTER = timedelta(minutes=2)


class GatewaySockets:
    """`Sockets` of an API Gateway WebSocket API."""

    def __init__(self, connections: DynamoConnections, gateway: AwsClient) -> None:
        """`gateway` calls the management endpoint of the API's stage."""
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
        connections = await self._connections.of(user_ids, now=now)
        unmuted = [connection for connection in connections if trip_id not in connection.muted]
        return [connection.user_id for connection, delivered in await self._send_to(unmuted, frame) if delivered]

    async def deliver_to_all(self, frame: str, *, now: datetime) -> Sequence[Connection]:
        connections = await self._connections.noted(now=now)
        sent = await self._send_to(newest(each for each in connections if each.expires_at > now), frame)
        dead = [each for each, delivered in sent if delivered is False and now - each.connected_at > SETTLING]
        return dead + [each for each in connections if each.expires_at <= now - AWAY_AFTER]

    async def _send_to(
        self, connections: Sequence[Connection], frame: str
    ) -> Sequence[tuple[Connection, bool | None]]:
        """The connections with the result of each: delivered, dead (False), or a failure of the gateway (None)."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def send(connection: Connection) -> tuple[Connection, bool | None]:
            async with limit:
                try:
                    return connection, await self.send(connection.id, frame)
                except Unavailable as error:
                    log.warning("frame dropped", extra={"fields": {"reason": error.details}})
                    return connection, None

        return await asyncio.gather(*map(send, connections))
