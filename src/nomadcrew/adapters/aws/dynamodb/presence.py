"""Presence, in `Presence`.

A user's item has `userId`, the open `sockets`, `until` (when the last of them has ended at the latest),
`lastSeenAt` to the minute, both in Unix seconds, and `ttl`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws.dynamodb.connections import LIFETIME
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import UserId
from nomadcrew.core.presence.model import MemberPresence, PresenceChange, Typist, to_the_minute

_SQL = statements("presence")
REMEMBERED = timedelta(days=90)
AT_ONCE = 100  # DynamoDB's limit of keys per request
TRIES = 5

Item = Mapping[str, Any]


class DynamoPresence:
    """`Presence` in a table; SQL decides who is visible."""

    def __init__(self, sql: Sql, dynamodb: AwsClient, table: str) -> None:
        self._sql = sql
        self._dynamodb = dynamodb
        self._table = table

    async def connected(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        values = {
            ":one": {"SS": [connection_id]},
            ":until": _seconds(now + LIFETIME),
            **await self._seen_values(user_id, now),
        }
        # A first socket replaces expired ones: a broken socket may never have been removed.
        first = await self._change(
            user_id, "SET sockets = :one, #until = :until", values | {":now": _seconds(now)},
            condition="attribute_not_exists(sockets) OR #until <= :now OR sockets = :one",
        )  # fmt: skip
        if first is not None:
            return True
        item = await self._change(user_id, "ADD sockets :one SET #until = :until", values)
        # The other sockets may have closed in between; then the user was announced as offline, and this one is
        # first.
        return item is not None and item["sockets"]["SS"] == [connection_id]

    async def disconnected(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        values = {":one": {"SS": [connection_id]}, **await self._seen_values(user_id, now)}
        item = await self._change(user_id, "DELETE sockets :one", values)
        return item is None or not _online(item, now)

    async def list_for_trip(self, access: Access, *, now: datetime) -> Sequence[MemberPresence]:
        # SQL decides who is visible; it has no sockets and no `last seen` on AWS.
        members = await PostgresPresence(self._sql).members(access)
        items = await self._items([user_id for user_id, ghost in members if not ghost])
        return [_seen(user_id, None if ghost else items.get(user_id), now) for user_id, ghost in members]

    async def typist(self, access: Access) -> Typist | None:
        return await PostgresPresence(self._sql).typist(access)

    async def visible_trips(self, user_ids: Iterable[UserId], *, now: datetime) -> Sequence[PresenceChange]:
        visible = await PostgresPresence(self._sql).visible_trips(user_ids, now=now)
        items = await self._items({row.seen.user_id for row in visible})
        return [
            PresenceChange(row.trip_id, _seen(row.seen.user_id, items.get(row.seen.user_id), now))
            for row in visible
        ]

    async def _seen_values(self, user_id: UserId, now: datetime) -> dict[str, Any]:
        """`:seen` and `:ttl`; empty for a user in ghost mode, whose item keeps its values."""
        if not await self._sql.fetch(_SQL["visible"], user_id=user_id):
            return {}
        return {":seen": _seconds(to_the_minute(now)), ":ttl": _seconds(now + REMEMBERED)}

    async def _change(
        self, user_id: UserId, update: str, values: dict[str, Any], *, condition: str | None = None
    ) -> Item | None:
        """Change a user's item; returns the new item, or None if the condition failed."""
        names = {"#until": "until"} if "#until" in update + (condition or "") else {}
        if ":seen" in values:
            assignments = "lastSeenAt = :seen, #ttl = :ttl"
            update = (
                update.replace("SET ", f"SET {assignments}, ")
                if "SET " in update
                else f"{update} SET {assignments}"
            )
            names["#ttl"] = "ttl"
        body: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(user_id),
            "UpdateExpression": update,
            "ExpressionAttributeValues": values,
            "ReturnValues": "ALL_NEW",
        }
        if names:
            body["ExpressionAttributeNames"] = names
        if condition is not None:
            body["ConditionExpression"] = condition
        try:
            changed: Item = (await self._dynamodb.call("UpdateItem", body)).get("Attributes", {})
        except AwsError as error:
            if error.code == "ConditionalCheckFailedException":
                return None
            raise
        return changed

    async def _items(self, user_ids: Iterable[UserId]) -> Mapping[UserId, Item]:
        ids = list(user_ids)
        batches = [ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)]
        items = await asyncio.gather(*map(self._batch, batches))
        return {UserId(UUID(item["userId"]["S"])): item for batch in items for item in batch}

    async def _batch(self, user_ids: Sequence[UserId]) -> list[Item]:
        request: dict[str, Any] = {self._table: {"Keys": [_key(user_id) for user_id in user_ids]}}
        items: list[Item] = []
        for attempt in range(TRIES):
            reply = await self._dynamodb.call("BatchGetItem", {"RequestItems": request})
            items += reply["Responses"].get(self._table, [])
            request = reply.get("UnprocessedKeys") or {}
            if not request:
                return items
            await asyncio.sleep(0.05 * 2**attempt)
        raise Unavailable(details="presence: throttled")


def _seen(user_id: UserId, item: Item | None, now: datetime) -> MemberPresence:
    if item is None:
        return MemberPresence(user_id, False, None)
    if _online(item, now):
        return MemberPresence(user_id, True, to_the_minute(now))
    at = item.get("lastSeenAt")
    return MemberPresence(user_id, False, None if at is None else datetime.fromtimestamp(int(at["N"]), UTC))


def _online(item: Item, now: datetime) -> bool:
    return "sockets" in item and int(item["until"]["N"]) > now.timestamp()


def _key(user_id: UserId) -> dict[str, Any]:
    return {"userId": {"S": str(user_id)}}


def _seconds(moment: datetime) -> dict[str, str]:
    return {"N": str(int(moment.timestamp()))}
