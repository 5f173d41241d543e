"""The items of `ChatMessages`.

A message is an item (`tripId`, `sortKey`). The sort key is its time and id, so a trip's messages are in order;
every change of a message updates its item. `event` is the event of the last change: the table's stream passes it to
the function that fans it out. Other items:

* `id#<message>` is the guard of a message's id, written with the message: it has the message's key and author.
* `repeat#<fingerprint>` is the guard of a request without a message id, for half a minute.
* `receipts#<trip>` has the last message that each member (`sortKey`) has read.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.chat.events import attachment_json, stored_attachment, utc_text
from nomadcrew.core.chat.model import (
    MAX_REACTIONS,
    Attachment,
    BadCursor,
    Edit,
    Message,
    NewMessage,
    Reaction,
    ReactionCount,
    Sender,
    emoji_key,
)
from nomadcrew.core.events import Event
from nomadcrew.core.ids import MessageId, TripId, UserId, parse_uuid
from nomadcrew.wire.events import pack

# Clocks of writers differ, and a write may take as long as its function runs: a message with a time before this
# overlap is visible for certain.
OVERLAP = timedelta(seconds=12)
SEARCHED = 10_000  # messages
PAGE = 200
_SORT_KEY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z#[0-9a-f-]{36}", re.ASCII)
_END = "9999"

Item = dict[str, Any]


class Guard(Struct, frozen=True):
    """The key and the author of a message."""

    trip_id: TripId
    author: UserId
    sort_key: str


class Found(Struct, frozen=True):
    """Items of messages; `more` is the sort key to continue from, if there may be more."""

    items: Sequence[Item]
    more: str | None


class StoredReaction(NamedTuple):
    created_at: datetime
    user_id: UserId
    emoji: str


class ChatTable:
    """Reads and conditional writes."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def guard(self, message_id: MessageId) -> Guard | None:
        item = await self._get(f"id#{message_id}", "guard")
        if item is None:
            return None
        return Guard(TripId(UUID(item["of"]["S"])), UserId(UUID(item["author"]["S"])), item["target"]["S"])

    async def repeated(self, fingerprint: bytes, now: datetime) -> MessageId | None:
        """The message of the same request within the last half minute; expired guards may remain for days."""
        item = await self._get(f"repeat#{fingerprint.hex()}", "guard")
        if item is None or int(item["ttl"]["N"]) <= int(now.timestamp()):
            return None
        return MessageId(UUID(item["message"]["S"]))

    async def message(self, trip_id: TripId, sort_key: str) -> Item | None:
        return await self._get(str(trip_id), sort_key)

    async def put(self, new: NewMessage, sender: Sender, attachment: Attachment | None, event: Event) -> bool:
        """Store a message and the guards of its id and its request; False if one of the guards exists."""
        key = sort_key_of(new.now, new.id)
        item = {
            "tripId": {"S": str(new.trip_id)},
            "sortKey": {"S": key},
            "userId": {"S": str(new.author)},
            "senderName": {"S": sender.name},
            "senderAvatar": {"S": sender.avatar},
            "text": {"S": new.text},
            "reactions": {"M": {}},
            "edits": {"L": []},
            "event": {"S": pack(event)},
        }
        if new.reply_to_id is not None:
            item["replyTo"] = {"S": str(new.reply_to_id)}
        if attachment is not None:
            item["attachment"] = {"S": json.dumps(attachment_json(attachment))}
        guard = {
            **key_of_item(f"id#{new.id}", "guard"),
            "of": {"S": str(new.trip_id)},
            "author": {"S": str(new.author)},
            "target": {"S": key},
        }
        writes = [self._put(guard, "attribute_not_exists(tripId)"), self._put(item)]
        if new.fingerprint is not None:
            writes.append(self._repeat_guard(new, new.fingerprint))
        try:
            await self._dynamodb.call("TransactWriteItems", {"TransactItems": writes})
        except AwsError as refused:
            if refused.code != "TransactionCanceledException":
                raise
            return False
        return True

    async def put_all(self, items: Sequence[Item]) -> None:
        """Store items, at most a hundred, in place of those with their keys."""
        await self._dynamodb.call("TransactWriteItems", {"TransactItems": [self._put(item) for item in items]})

    async def change(
        self,
        trip_id: TripId,
        sort_key: str,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str],
        event: Event,
    ) -> Item | None:
        """Change a message that is not deleted, with its event; the new item, or None if the condition failed."""
        return await self._update(
            key_of_item(str(trip_id), sort_key),
            update,
            f"attribute_exists(tripId) AND attribute_not_exists(deletedAt) AND ({condition})",
            values,
            names,
            event,
        )

    async def add_reaction(self, guard: Guard, reaction: Reaction, count: int, event: Event) -> Item | None:
        """Add a reaction of which the user has fewer than `MAX_REACTIONS`; None if it exists or they have as many.

        The item counts each user's reactions, since a condition cannot. `count` is their number in an item without
        that counter, from an earlier version.
        """
        return await self.change(
            guard.trip_id,
            guard.sort_key,
            "SET reactions.#mine = :now, #count = if_not_exists(#count, :count) + :one",
            "attribute_not_exists(reactions.#mine) AND (attribute_not_exists(#count) OR #count < :most)",
            {
                ":now": {"S": utc_text(reaction.created_at)},
                ":count": {"N": str(count)},
                ":one": {"N": "1"},
                ":most": {"N": str(MAX_REACTIONS)},
            },
            _names(reaction),
            event,
        )

    async def remove_reaction(self, guard: Guard, reaction: Reaction, event: Event) -> None:
        """Remove a reaction, if it is there."""
        now: Item = {":now": {"S": utc_text(reaction.created_at)}}
        # An item from an earlier version has no counter; its next reaction makes one.
        for counted, countdown, values in (
            ("attribute_exists(#count)", ", #count = #count - :one", now | {":one": {"N": "1"}}),
            ("attribute_not_exists(#count)", "", now),
        ):
            update = f"SET unreactedAt = :now{countdown} REMOVE reactions.#mine"
            condition = f"attribute_exists(reactions.#mine) AND {counted}"
            if await self.change(guard.trip_id, guard.sort_key, update, condition, values, _names(reaction), event):
                return

    async def read_up_to(self, trip_id: TripId, reader: Sender, sort_key: str, event: Event, now: datetime) -> None:
        """Move a receipt forward; do nothing if it is as far already."""
        values = {
            ":target": {"S": sort_key},
            ":at": {"S": utc_text(now)},
            ":name": {"S": reader.name},
            ":avatar": {"S": reader.avatar},
        }
        await self._update(
            key_of_item(f"receipts#{trip_id}", str(reader.id)),
            "SET #target = :target, readAt = :at, senderName = :name, senderAvatar = :avatar",
            "attribute_not_exists(#target) OR #target < :target",
            values,
            {"#target": "target"},
            event,
        )

    async def receipts(self, trip_id: TripId) -> Sequence[Item]:
        return (await self._query(f"receipts#{trip_id}", "", _END, forward=True, limit=PAGE)).items

    async def between(self, trip_id: TripId, low: str, high: str, *, forward: bool, limit: int) -> Found:
        """Messages strictly between two sort keys."""
        return await self._query(str(trip_id), low, high, forward=forward, limit=limit)

    async def matching(self, trip_id: TripId, before: str, matches: Callable[[Item], bool], *, limit: int) -> Found:
        """The newest matching messages before a sort key, among at most about `SEARCHED` messages."""
        matching: list[Item] = []
        searched = 0
        while searched < SEARCHED:
            page = await self._query(str(trip_id), "", before, forward=False, limit=PAGE)
            searched += len(page.items)
            for item in page.items:
                if matches(item):
                    matching.append(item)
                    if len(matching) > limit:
                        return Found(matching, None)
            if page.more is None:
                return Found(matching, None)
            before = page.more
        return Found(matching, before)

    async def _query(self, partition: str, low: str, high: str, *, forward: bool, limit: int) -> Found:
        items: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            page = await self._dynamodb.call(
                "Query",
                {
                    "TableName": self._table,
                    "KeyConditionExpression": "tripId = :trip AND sortKey BETWEEN :low AND :high",
                    "ExpressionAttributeValues": {
                        ":trip": {"S": partition},
                        ":low": {"S": low + "\0"},
                        ":high": {"S": high},
                    },
                    "ScanIndexForward": forward,
                    "ConsistentRead": True,
                    "Limit": limit + 1 - len(items),
                    **start,
                },
            )
            items += (item for item in page["Items"] if item["sortKey"]["S"] != high)
            if len(items) > limit:
                return Found(items[:limit], items[limit - 1]["sortKey"]["S"])
            if "LastEvaluatedKey" not in page:
                return Found(items, None)
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def _get(self, partition: str, sort_key: str) -> Item | None:
        answer = await self._dynamodb.call(
            "GetItem", {"TableName": self._table, "Key": key_of_item(partition, sort_key), "ConsistentRead": True}
        )
        item: Item | None = answer.get("Item")
        return item

    async def _update(
        self,
        key: Item,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str],
        event: Event,
    ) -> Item | None:
        try:
            answer = await self._dynamodb.call(
                "UpdateItem",
                {
                    "TableName": self._table,
                    "Key": key,
                    "UpdateExpression": _with_event(update),
                    "ConditionExpression": condition,
                    "ExpressionAttributeValues": {":event": {"S": pack(event)}, **values},
                    "ExpressionAttributeNames": {"#event": "event", **names},
                    "ReturnValues": "ALL_NEW",
                },
            )
        except AwsError as refused:
            if refused.code != "ConditionalCheckFailedException":
                raise
            return None
        item: Item = answer["Attributes"]
        return item

    def _put(self, item: Item, condition: str | None = None) -> Item:
        put: Item = {"TableName": self._table, "Item": item}
        return {"Put": put if condition is None else put | {"ConditionExpression": condition}}

    def _repeat_guard(self, new: NewMessage, fingerprint: bytes) -> Item:
        now_s = int(new.now.timestamp())
        item = {
            **key_of_item(f"repeat#{fingerprint.hex()}", "guard"),
            "message": {"S": str(new.id)},
            "ttl": {"N": str(now_s + 30)},
        }
        put = self._put(item, "attribute_not_exists(tripId) OR #ttl <= :now")
        put["Put"]["ExpressionAttributeNames"] = {"#ttl": "ttl"}
        put["Put"]["ExpressionAttributeValues"] = {":now": {"N": str(now_s)}}
        return put


def _names(reaction: Reaction) -> dict[str, str]:
    """The attributes of a reaction and of its user's counter."""
    return {"#mine": f"{reaction.user_id} {reaction.emoji}", "#count": f"reactionsOf#{reaction.user_id}"}


def sort_key_of(moment: datetime, message_id: MessageId) -> str:
    return f"{utc_text(moment)}#{message_id}"


def message_id_in(sort_key: str) -> MessageId:
    return MessageId(UUID(sort_key.rpartition("#")[2]))


def just_before(sort_key: str) -> str:
    """The sort key from which to resume after a message, so that no late message is missed."""
    return utc_text(_moment(sort_key.partition("#")[0]) - OVERLAP)


def cursor_of(sort_key: str) -> str:
    return "k" + base64.urlsafe_b64encode(sort_key.encode()).decode().rstrip("=")


def sort_key_in(cursor: str) -> str:
    """Raises BadCursor: not a cursor of this API."""
    text = cursor[1:]
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadCursor from None
    if cursor[:1] != "k" or not _SORT_KEY.fullmatch(key):
        raise BadCursor
    return key


def reactions_in(item: Item) -> list[StoredReaction]:
    """The reactions, oldest first."""
    reactions = []
    for key, value in item["reactions"]["M"].items():
        user_id, _, emoji = key.partition(" ")
        reactions.append(StoredReaction(_moment(value["S"]), UserId(UUID(user_id)), emoji))
    return sorted(reactions)


def edits_in(item: Item) -> list[Edit]:
    """The earlier texts, oldest first."""
    versions = [version["M"] for version in item["edits"]["L"]]
    return [Edit(version["text"]["S"], _moment(version["editedAt"]["S"])) for version in versions]


def message_of(item: Item, caller: UserId, people: Mapping[UserId, Sender]) -> Message:
    """A message as the caller reads it; former members keep the name they had when they wrote it."""
    key, author = item["sortKey"]["S"], UserId(UUID(item["userId"]["S"]))
    sender = people.get(author) or Sender(author, item["senderName"]["S"], item["senderAvatar"]["S"])
    reply = item.get("replyTo")
    counts: dict[str, list[StoredReaction]] = {}
    for reaction in reactions_in(item):
        counts.setdefault(emoji_key(reaction.emoji), []).append(reaction)
    return Message(
        message_id_in(key),
        TripId(UUID(item["tripId"]["S"])),
        sender,
        item["text"]["S"],
        None if reply is None else MessageId(UUID(reply["S"])),
        _moment(key.partition("#")[0]),
        _moment_in(item, "editedAt"),
        _moment_in(item, "deletedAt"),
        tuple(
            ReactionCount(same[0].emoji, len(same), any(one.user_id == caller for one in same))
            for same in counts.values()
        ),
        None if "attachment" not in item else stored_attachment(item["attachment"]["S"]),
    )


def receipt_of(item: Item) -> tuple[UserId, MessageId, datetime]:
    reader = parse_uuid(item["sortKey"]["S"])
    assert reader is not None
    return UserId(reader), message_id_in(item["target"]["S"]), _moment(item["readAt"]["S"])


def key_of_item(partition: str, sort_key: str) -> Item:
    return {"tripId": {"S": partition}, "sortKey": {"S": sort_key}}


def _with_event(update: str) -> str:
    """The update, with the event set too."""
    return update.replace("SET ", "SET #event = :event, ", 1)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _moment_in(item: Item, name: str) -> datetime | None:
    value = item.get(name)
    return None if value is None else _moment(value["S"])
