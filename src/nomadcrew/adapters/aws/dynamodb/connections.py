"""Open sockets, in `WebSocketConnections`.

The item of a socket has `connectionId`, `userId`, `sessionId`, the `muted` trips, and in Unix seconds
`connectedAt`, `expiresAt` (end of its token or session, after which nothing is sent to it) and `ttl` (when the
gateway closes it at the latest). The index `ByUser` finds a user's sockets; it lags by a moment, which is harmless,
as a client fetches stored events after it connects.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.ids import SessionId, TripId, UserId
from nomadcrew.core.realtime import MAX_SOCKETS, Connection

BY_USER = "ByUser"
# API Gateway closes every socket after two hours.
LIFETIME = timedelta(hours=2)
AT_ONCE = 25

Item = Mapping[str, Any]


class DynamoConnections:
    """`Connections` in a table."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def add(self, connection: Connection) -> None:
        now = connection.connected_at
        item = {
            "connectionId": {"S": connection.id},
            "userId": {"S": str(connection.user_id)},
            "expiresAt": _seconds(connection.expires_at),
            "connectedAt": _seconds(connection.connected_at),
            "ttl": _seconds(connection.connected_at + LIFETIME),
        }
        if connection.session_id is not None:
            item["sessionId"] = {"S": str(connection.session_id)}
        await self._call("PutItem", Item=item)
        # The index may lag and hide sockets of the same moment; `newest` leaves them out until one more is added.
        others = [other for other in await self._of(connection.user_id, now) if other.id != connection.id]
        await self._end(_newest_first(others)[MAX_SOCKETS - 1 :], now=now)

    async def forget(self, connection_id: str) -> None:
        await self._call("DeleteItem", Key=_key(connection_id))

    async def mute(self, connection_id: str, trip_id: TripId) -> bool:
        return await self._change(
            connection_id, "ADD muted :set", "NOT contains(muted, :trip)",
            {":set": {"SS": [str(trip_id)]}, ":trip": {"S": str(trip_id)}},
        )  # fmt: skip

    async def unmute(self, connection_id: str, trip_id: TripId) -> None:
        trips = {":set": {"SS": [str(trip_id)]}}
        await self._change(connection_id, "DELETE muted :set", "attribute_exists(muted)", trips)

    async def end_session(self, user_id: UserId, session_id: SessionId, *, now: datetime) -> None:
        """Send nothing more to the sockets of a session that has ended.

        They are not closed: the gateway's close code would stop the app from ever reconnecting, even after another
        sign-in.
        """
        sockets = [connection for connection in await self._of(user_id, now) if connection.session_id == session_id]
        await self._end(sockets, now=now)

    async def of(self, user_ids: Iterable[UserId], *, now: datetime) -> Sequence[Connection]:
        """The sockets of these users that may still be sent to, at most `MAX_SOCKETS` of each."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def of_user(user_id: UserId) -> Sequence[Connection]:
            async with limit:
                return newest(await self._of(user_id, now))

        by_user = await asyncio.gather(*(of_user(user_id) for user_id in user_ids))
        return [connection for connections in by_user for connection in connections]

    async def noted(self, *, now: datetime) -> Sequence[Connection]:
        """All sockets, including those that may not be sent to any more."""
        return await self._pages("Scan", now, FilterExpression="#ttl > :now")

    async def connected_users(self, *, now: datetime) -> Sequence[UserId]:
        return list({each.user_id for each in await self.noted(now=now) if each.expires_at > now})

    async def _end(self, connections: Iterable[Connection], *, now: datetime) -> None:
        """Send nothing more to these sockets; the keep-alive drops them once their clients have noticed."""
        values = {":now": _seconds(now)}
        await asyncio.gather(
            *(
                self._change(each.id, "SET expiresAt = :now", "attribute_exists(userId)", values)
                for each in connections
            )
        )

    async def _of(self, user_id: UserId, now: datetime) -> Sequence[Connection]:
        return await self._pages(
            "Query",
            now,
            {":user": {"S": str(user_id)}},
            IndexName=BY_USER,
            KeyConditionExpression="userId = :user",
            FilterExpression="#ttl > :now AND expiresAt > :now",
        )

    async def _pages(
        self, operation: str, now: datetime, values: Mapping[str, Any] | None = None, **parameters: Any
    ) -> list[Connection]:
        connections: list[Connection] = []
        start: dict[str, Any] = {}
        while True:
            page = await self._call(
                operation,
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={":now": _seconds(now), **(values or {})},
                **parameters,
                **start,
            )
            connections += map(_connection, page["Items"])
            if "LastEvaluatedKey" not in page:
                return connections
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def _change(self, connection_id: str, update: str, condition: str, values: Mapping[str, Any]) -> bool:
        """Change the item of a socket; False if it does not exist or the condition failed."""
        try:
            await self._call(
                "UpdateItem",
                Key=_key(connection_id),
                UpdateExpression=update,
                ConditionExpression=f"attribute_exists(connectionId) AND {condition}",
                ExpressionAttributeValues=values,
            )
        except AwsError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    async def _call(self, operation: str, **body: Any) -> dict[str, Any]:
        return await self._dynamodb.call(operation, {"TableName": self._table, **body})


def newest(connections: Iterable[Connection]) -> Sequence[Connection]:
    """The newest of these sockets, at most `MAX_SOCKETS` of each user."""
    by_user: dict[UserId, list[Connection]] = {}
    for connection in connections:
        by_user.setdefault(connection.user_id, []).append(connection)
    return [each for sockets in by_user.values() for each in _newest_first(sockets)[:MAX_SOCKETS]]


def _newest_first(connections: Iterable[Connection]) -> Sequence[Connection]:
    return sorted(connections, key=lambda each: (each.connected_at, each.id), reverse=True)


def _key(connection_id: str) -> dict[str, Any]:
    return {"connectionId": {"S": connection_id}}


def _connection(item: Item) -> Connection:
    session_id = item.get("sessionId")
    return Connection(
        item["connectionId"]["S"],
        UserId(UUID(item["userId"]["S"])),
        None if session_id is None else SessionId(UUID(session_id["S"])),
        _moment(item["expiresAt"]),
        _moment(item["connectedAt"]),
        frozenset(TripId(UUID(text)) for text in item.get("muted", {}).get("SS", ())),
    )


def _seconds(moment: datetime) -> dict[str, str]:
    return {"N": str(int(moment.timestamp()))}


def _moment(number: Mapping[str, str]) -> datetime:
    return datetime.fromtimestamp(int(number["N"]), UTC)
