"""Changed messages and receipts from the chat's table. SQL notes that they changed, when the stream reports it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from nomadcrew.adapters.aws.dynamodb.chat_items import (
    Item,
    key_of_item,
    message_id_in,
    message_of,
    reactions_in,
    receipt_of,
)
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.core.chat.model import Reaction, Receipt, Sender
from nomadcrew.core.ids import MessageId, TripId, UserId
from nomadcrew.core.sync.model import MAX_PAGE_BYTES, Change, Kind, SyncedMessage

MAX_KEYS = 100  # of a request, a limit of DynamoDB


class DynamoSyncedChat:
    """`SyncedChat` in the table of `chat_items`."""

    def __init__(self, dynamodb: AwsClient, table: str, *, max_bytes: int = MAX_PAGE_BYTES) -> None:
        """`max_bytes` of messages end a page."""
        self._dynamodb = dynamodb
        self._table = table
        self._max_bytes = max_bytes

    async def fill(
        self, changes: Sequence[Change], caller: UserId, senders: Mapping[TripId, Mapping[UserId, Sender]]
    ) -> Sequence[Change]:
        messages = await self._messages([MessageId(one.id) for one in changes if one.kind is Kind.MESSAGE])
        receipts = await self._receipts(
            [
                (one.trip_id, UserId(one.id))
                for one in changes
                if one.kind is Kind.RECEIPT and one.trip_id is not None
            ]
        )
        filled: list[Change] = []
        size = 0
        for change in changes:
            people = {} if change.trip_id is None else senders.get(change.trip_id, {})
            entity = change.entity
            if change.kind is Kind.MESSAGE:
                entity = _synced(messages.get(MessageId(change.id)), caller, people)
                size += len(msgspec.json.encode(entity))
                if filled and size > self._max_bytes:
                    break
            elif change.kind is Kind.RECEIPT and change.trip_id is not None:
                entity = _receipt(receipts.get((change.trip_id, UserId(change.id))), people)
            filled.append(replace(change, entity=entity))
        return filled

    async def contents(self, trip_id: TripId) -> tuple[Sequence[MessageId], Sequence[UserId]]:
        messages = [message_id_in(key) for key in await self._sort_keys(str(trip_id))]
        readers = [UserId(UUID(key)) for key in await self._sort_keys(f"receipts#{trip_id}")]
        return messages, readers

    async def _sort_keys(self, partition: str) -> Sequence[str]:
        keys: list[str] = []
        start: dict[str, Any] = {}
        while True:
            page = await self._dynamodb.call(
                "Query",
                {
                    "TableName": self._table,
                    "KeyConditionExpression": "tripId = :partition",
                    "ExpressionAttributeValues": {":partition": {"S": partition}},
                    "ProjectionExpression": "sortKey",
                    "ConsistentRead": True,
                    **start,
                },
            )
            keys += [item["sortKey"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return keys
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def _messages(self, ids: Sequence[MessageId]) -> Mapping[MessageId, Item]:
        guards = await self._get([key_of_item(f"id#{id_}", "guard") for id_ in ids])
        items = await self._get([key_of_item(guard["of"]["S"], guard["target"]["S"]) for guard in guards])
        return {message_id_in(item["sortKey"]["S"]): item for item in items}

    async def _receipts(self, readers: Sequence[tuple[TripId, UserId]]) -> Mapping[tuple[TripId, UserId], Item]:
        items = await self._get([key_of_item(f"receipts#{trip_id}", str(reader)) for trip_id, reader in readers])
        return {
            (TripId(UUID(item["tripId"]["S"].removeprefix("receipts#"))), UserId(UUID(item["sortKey"]["S"]))): item
            for item in items
        }

    async def _get(self, keys: Sequence[Item]) -> list[Item]:
        """The items with these keys, in any order."""
        items: list[Item] = []
        for start in range(0, len(keys), MAX_KEYS):
            waiting: Any = {self._table: {"Keys": keys[start : start + MAX_KEYS], "ConsistentRead": True}}
            while waiting:
                answer = await self._dynamodb.call("BatchGetItem", {"RequestItems": waiting})
                items += answer["Responses"].get(self._table, [])
                waiting = answer.get("UnprocessedKeys")
        return items


def _synced(item: Item | None, caller: UserId, people: Mapping[UserId, Sender]) -> SyncedMessage | None:
    if item is None:
        return None
    message = message_of(item, caller, people)
    reactions = [
        Reaction(message.id, message.trip_id, one.user_id, one.emoji, one.created_at) for one in reactions_in(item)
    ]
    return SyncedMessage(message, reactions)


def _receipt(item: Item | None, people: Mapping[UserId, Sender]) -> Receipt | None:
    """The receipt of a present member."""
    if item is None:
        return None
    user_id, message_id, read_at = receipt_of(item)
    return Receipt(people[user_id], message_id, read_at) if user_id in people else None
