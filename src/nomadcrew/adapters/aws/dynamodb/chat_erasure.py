"""Erasure of a user from `ChatMessages`: a former member becomes the author of the messages."""

from datetime import datetime
from typing import Any

from nomadcrew.adapters.aws.dynamodb.chat_items import Item, key_of_item, message_id_in
from nomadcrew.adapters.aws.dynamodb.erased_items import ErasedItems
from nomadcrew.core.archives.model import FORMER_MEMBER
from nomadcrew.core.chat.events import utc_text
from nomadcrew.core.clock import Clock
from nomadcrew.core.erasure.model import FormerMembership, Person
from nomadcrew.core.erasure.texts import unmentioned
from nomadcrew.core.events import TOMBSTONE


class ErasedChat:
    """Erases a user from chats, item by item. An item without `event` causes no event in the table's stream."""

    def __init__(self, items: ErasedItems, clock: Clock) -> None:
        self._items = items
        self._clock = clock

    async def erase(self, person: Person) -> dict[str, int]:
        """Erase a user from all chats, and the chats of trips that are over. Returns counts by kind."""
        counts = {"authorshipOfMessages": 0, "mentions": 0, "reactions": 0, "readMessages": 0}
        for trip in person.trips:
            if trip.is_over:
                counts["authorshipOfMessages"] += await self._delete_chat(trip)
            else:
                counts["readMessages"] += await self._items.delete(
                    key_of_item(f"receipts#{trip.trip_id}", str(person.id))
                )
                async for item in self._items.of("tripId", str(trip.trip_id)):
                    await self._change(item, person, trip, counts)
        return counts

    async def _delete_chat(self, trip: FormerMembership) -> int:
        """Delete all messages of a trip, their guards and the receipts. Returns the number of messages."""
        messages = 0
        async for receipt in self._items.of("tripId", f"receipts#{trip.trip_id}"):
            await self._items.delete(key_of_item(f"receipts#{trip.trip_id}", receipt["sortKey"]["S"]))
        async for item in self._items.of("tripId", str(trip.trip_id)):
            sort_key = item["sortKey"]["S"]
            # The guard first: without the item, a repeat would not find it.
            await self._items.delete(key_of_item(f"id#{message_id_in(sort_key)}", "guard"))
            messages += await self._items.delete(key_of_item(str(trip.trip_id), sort_key))
        return messages

    async def _change(self, item: Item, person: Person, trip: FormerMembership, counts: dict[str, int]) -> None:
        sort_key = item["sortKey"]["S"]
        change = _Change()
        text = item["text"]["S"]
        if item["userId"]["S"] == str(person.id):
            stand_in = {"S": str(trip.stand_in_id)}
            guard = key_of_item(f"id#{message_id_in(sort_key)}", "guard")
            # The guard first: without the author in the item, a repeat would not find it.
            await self._items.change(guard, "SET author = :author", {":author": stand_in})
            counts["authorshipOfMessages"] += 1
            change.set("userId", stand_in)
            change.set("senderName", {"S": FORMER_MEMBER})
            change.set("senderAvatar", {"S": ""})
            change.set("edits", {"L": []})
            if "attachment" in item:
                text = text or _tombstone(change, item, self._clock())
                change.remove("attachment")
        elif (edits := [_unmentioned(edit, person) for edit in item["edits"]["L"]]) != item["edits"]["L"]:
            change.set("edits", {"L": edits})
        if (shown := unmentioned(text, person)) != item["text"]["S"]:
            counts["mentions"] += shown != text
            change.set("text", {"S": shown})
        for reaction in item["reactions"]["M"]:
            if reaction.startswith(f"{person.id} "):
                counts["reactions"] += 1
                change.remove("reactions", reaction)
        if (counter := f"reactionsOf#{person.id}") in item:
            change.remove(counter)
        event = item.get("event", {"S": ""})["S"]
        if change.clauses or str(person.id) in event:
            change.remove("event")
        if change.clauses:
            await self._items.change(
                key_of_item(str(trip.trip_id), sort_key), change.expression, change.values, change.names
            )


def _unmentioned(edit: Item, person: Person) -> Item:
    version = edit["M"]
    return {"M": version | {"text": {"S": unmentioned(version["text"]["S"], person)}}}


def _tombstone(change: "_Change", item: Item, now: datetime) -> str:
    """A message that was only a file is as good as deleted without it. Returns its text."""
    if "deletedAt" not in item:
        change.set("deletedAt", {"S": utc_text(now)})
    return TOMBSTONE


class _Change:
    """An update expression."""

    def __init__(self) -> None:
        self.clauses: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    @property
    def expression(self) -> str:
        return " ".join(f"{verb} {', '.join(parts)}" for verb, parts in self.clauses.items())

    def set(self, name: str, value: Item) -> None:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        self.clauses.setdefault("SET", []).append(f"{self._path(name)} = {placeholder}")

    def remove(self, *path: str) -> None:
        self.clauses.setdefault("REMOVE", []).append(self._path(*path))

    def _path(self, *names: str) -> str:
        placeholders = []
        for name in names:
            placeholder = f"#n{len(self.names)}"
            self.names[placeholder] = name
            placeholders.append(placeholder)
        return ".".join(placeholders)
