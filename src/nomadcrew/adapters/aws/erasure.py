"""Erasure of users from DynamoDB and Cognito.

The history of positions in Timestream cannot be deleted; its retention ends it after 30 days.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from msgspec import Struct

from nomadcrew.adapters.aws.cognito.user_pool import UserPool, delete_user
from nomadcrew.adapters.aws.dynamodb.chat_erasure import ErasedChat
from nomadcrew.adapters.aws.dynamodb.connections import BY_USER
from nomadcrew.adapters.aws.dynamodb.erased_items import ErasedItems, Item
from nomadcrew.adapters.aws.dynamodb.suppression import digest
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.core.clock import Clock
from nomadcrew.core.erasure.model import Person


class UserTables(Struct, frozen=True):
    """Names of tables. `history` is None if another store has the history of positions."""

    chat: str
    connections: str
    history: str | None
    positions: str
    presence: str
    profiles: str
    sessions: str
    suppression: str


class AwsPersonalCopies:
    """`PersonalCopies` in tables and a user pool."""

    def __init__(self, dynamodb: AwsClient, tables: UserTables, pool: UserPool, *, clock: Clock) -> None:
        def items(table: str) -> ErasedItems:
            return ErasedItems(dynamodb, table)

        self._pool = pool
        self._chat = ErasedChat(items(tables.chat), clock)
        self._connections = items(tables.connections)
        self._history = None if tables.history is None else items(tables.history)
        self._positions = items(tables.positions)
        self._presence = items(tables.presence)
        self._profiles = items(tables.profiles)
        self._sessions = items(tables.sessions)
        self._suppression = items(tables.suppression)

    async def erase(self, person: Person) -> Mapping[str, int]:
        # The user of the pool first: it could sign in until then.
        await delete_user(self._pool, person.id)
        me = {"userId": {"S": str(person.id)}}
        counts = {
            "sockets": await _delete_found(
                self._connections, self._connections.of("userId", str(person.id), index=BY_USER), "connectionId"
            ),
            "sessions": await _delete_found(
                self._sessions, self._sessions.of("userId", str(person.id)), "userId", "sessionId"
            ),
            "refreshTokens": await _delete_found(
                self._sessions, self._sessions.with_value("ownerId", str(person.id)), "userId", "sessionId"
            ),
            "presence": await self._presence.delete(me),
            "cachedProfiles": await self._profiles.delete(me),
            "suppressedAddresses": await self._suppression.delete_all(
                {"address": {"S": digest(address)}} for address in person.addresses
            ),
            "lastPositions": await self._positions.delete_all(
                {"tripId": {"S": str(trip.trip_id)}, **me} for trip in person.trips
            ),
            "positions": await self._delete_history(person),
        }
        return counts | await self._chat.erase(person)

    async def _delete_history(self, person: Person) -> int:
        """Delete the history, an item for each hundred seconds. Returns the number of items."""
        if self._history is None:
            return 0
        return sum(
            [
                await _delete_found(
                    self._history, self._history.of("track", f"{trip.trip_id}#{person.id}"), "track", "bucket"
                )
                for trip in person.trips
            ]
        )


async def _delete_found(items: ErasedItems, found: AsyncIterator[dict[str, Any]], *key: str) -> int:
    """Delete the found items, of which `key` names the attributes of the key; returns their number."""
    keys: list[Item] = [{name: item[name] for name in key} async for item in found]
    return await items.delete_all(keys)
