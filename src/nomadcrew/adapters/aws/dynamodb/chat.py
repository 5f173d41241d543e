"""The chat on DynamoDB. Membership and rights come from SQL; each change is one conditional write.

Messages are ordered by the times of the functions that stored them. Clocks differ slightly, so a message can become
visible after a younger one: a reader that resumes after a message reads the preceding seconds again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from nomadcrew.adapters.aws.dynamodb import chat_items as table
from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable, Guard, Item, message_of
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat import events
from nomadcrew.core.chat.model import (
    MAX_EDITS,
    MAX_REACTIONS,
    BadCursor,
    Message,
    MessageIdTaken,
    MessageNotFound,
    MessagePage,
    NewMessage,
    Reaction,
    Receipt,
    ReplyNotFound,
    Sender,
    TooLateToEdit,
    TooManyEdits,
    TooManyReactions,
    Transcribed,
    TranscriptPage,
    editable_since,
    emoji_key,
)
from nomadcrew.core.chat.ports import Attachments
from nomadcrew.core.errors import Forbidden, Unavailable
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId, parse_uuid
from nomadcrew.core.members.ports import Members
from nomadcrew.core.names import display_name
from nomadcrew.core.permissions import MEMBER, Role, Rule
from nomadcrew.core.text import comparison_key, search_key
from nomadcrew.core.trips.model import TripMember

ATTEMPTS = 3
_START, _END = "", "9999"


class DynamoChat:
    """`ChatLog` in a table whose stream reports every write."""

    def __init__(
        self,
        chat: ChatTable,
        members: Members,
        attachments: Attachments,
        note_restored: Callable[[Sequence[MessageId], TripId], Awaitable[None]],
    ) -> None:
        """`note_restored` notes messages as changed, which the stream does for all others."""
        self._table = chat
        self._note_restored = note_restored
        self._members = members
        self._attachments = attachments

    async def add(self, message: NewMessage, rule: Rule) -> Message:
        crew = await self._crew(Access(message.trip_id, message.author, rule))
        if message.reply_to_id is not None:
            await self._replied_to(message.trip_id, message.reply_to_id)
        attachment = None
        if message.attachment_id is not None:
            # A repeat must be recognised first: its file already belongs to the stored message.
            stored = await self._stored(message, crew.people)
            if stored is not None:
                return stored
            attachment = await self._attachments.claim(
                message.trip_id, message.attachment_id, message.author, message.id
            )
        sender = crew.people[message.author]
        new = Message(
            message.id,
            message.trip_id,
            sender,
            message.text,
            message.reply_to_id,
            message.now,
            attachment=attachment,
        )
        mentions = crew.mentioned(message.mentions)
        event = events.sent(message.event_id, new, message.author, mentions)
        for _ in range(ATTEMPTS):
            if await self._table.put(message, sender, attachment, event):
                return new
            stored = await self._stored(message, crew.people)
            if stored is not None:
                return stored
        # Concurrent requests wrote the same message every time.
        raise Unavailable(code="busy")

    async def before(self, access: Access, cursor: str | None, *, limit: int, offset: int = 0) -> MessagePage:
        crew = await self._crew(access)
        high = _END if cursor is None else await self._sort_key(access.trip_id, cursor)
        result = await self._table.between(access.trip_id, _START, high, forward=False, limit=limit + offset)
        return _page(result.items[offset:], result.more, access.caller, crew.people)

    async def after(self, access: Access, cursor: str, *, limit: int) -> MessagePage:
        crew = await self._crew(access)
        sort_key = await self._sort_key(access.trip_id, cursor)
        # A page continues at the previous page's end; only a client that resumes reads an overlap.
        low = sort_key if parse_uuid(cursor) is None else table.just_before(sort_key)
        result = await self._table.between(access.trip_id, low, _END, forward=True, limit=limit + 1)
        items = [item for item in result.items if item["sortKey"]["S"] != sort_key]
        more = items[limit - 1]["sortKey"]["S"] if len(items) > limit or result.more else None
        return _page(items[:limit], more, access.caller, crew.people)

    async def search(self, access: Access, words: Sequence[str], cursor: str | None, *, limit: int) -> MessagePage:
        crew = await self._crew(access)
        high = _END if cursor is None else await self._sort_key(access.trip_id, cursor)

        def matches(item: Item) -> bool:
            text = search_key(item["text"]["S"])
            return "deletedAt" not in item and all(word in text for word in words)

        result = await self._table.matching(access.trip_id, high, matches, limit=limit)
        more = result.items[limit - 1]["sortKey"]["S"] if len(result.items) > limit else result.more
        return _page(result.items[:limit], more, access.caller, crew.people)

    async def transcript(self, access: Access, cursor: str | None, *, limit: int) -> TranscriptPage:
        crew = await self._crew(access)
        low = _START if cursor is None else await self._sort_key(access.trip_id, cursor)
        result = await self._table.between(access.trip_id, low, _END, forward=True, limit=limit)
        return TranscriptPage(
            [_transcribed(item, access.caller, crew.people) for item in result.items],
            None if result.more is None else table.cursor_of(result.more),
        )

    async def restore(self, trip_id: TripId, messages: Sequence[Transcribed], *, first_number: int) -> None:  # noqa: ARG002 — times are the order
        from nomadcrew.adapters.aws.dynamodb.chat_restore import MESSAGES, restored_items

        for start in range(0, len(messages), MESSAGES):
            part = messages[start : start + MESSAGES]
            await self._table.put_all([item for each in part for item in restored_items(trip_id, each)])
            await self._note_restored([each.message.id for each in part], trip_id)

    async def edit(self, command: Command, message_id: MessageId, text: str) -> Message:
        crew, guard = await self._changeable(command, message_id)
        item = await self._live_item(guard)
        old = message_of(item, command.caller, crew.people)
        if old.text == text:
            return old
        if old.created_at < editable_since(command.now):
            raise TooLateToEdit
        if len(item["edits"]["L"]) >= MAX_EDITS:
            raise TooManyEdits
        edited = replace(old, text=text, edited_at=command.now)
        values = {
            ":text": {"S": text},
            ":now": {"S": events.utc_text(command.now)},
            ":old": {"S": old.text},
            ":most": {"N": str(MAX_EDITS)},
            ":previous": {"L": [{"M": {"text": {"S": old.text}, "editedAt": {"S": events.utc_text(command.now)}}}]},
        }
        changed = await self._table.change(
            command.trip_id,
            guard.sort_key,
            "SET #text = :text, editedAt = :now, edits = list_append(edits, :previous) REMOVE folded",
            "#text = :old AND size(edits) < :most",
            values,
            {"#text": "text"},
            events.edited(command.event_id, edited, guard.author, now=command.now),
        )
        # None: a concurrent edit was faster, probably the same user's repeat.
        return message_of(changed or await self._live_item(guard), command.caller, crew.people)

    async def delete(self, command: Command, message_id: MessageId) -> AttachmentId | None:
        _, guard = await self._changeable(command, message_id)
        # Release the file first: the tombstone no longer refers to it.
        file = await self._attachments.release(message_id, now=command.now)
        values = {
            ":text": {"S": TOMBSTONE},
            ":now": {"S": events.utc_text(command.now)},
            ":none": {"L": []},
            ":no_reactions": {"M": {}},
        }
        await self._table.change(
            command.trip_id,
            guard.sort_key,
            "SET #text = :text, deletedAt = :now, edits = :none, reactions = :no_reactions"
            " REMOVE attachment, folded",  # earlier versions stored the folded text
            "attribute_exists(sortKey)",
            values,
            {"#text": "text"},
            events.deleted(command.event_id, command.trip_id, message_id, command.caller, now=command.now),
        )
        return file

    async def add_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> Reaction:
        crew = await self._crew(Access(reaction.trip_id, reaction.user_id, rule))
        guard = await self._guard(reaction.trip_id, reaction.message_id)
        own = _own_reactions(await self._live_item(guard), reaction.user_id)
        changed = None
        if emoji_key(reaction.emoji) not in own and len(own) < MAX_REACTIONS:
            event = events.reacted(event_id, reaction, crew.people[reaction.user_id])
            changed = await self._table.add_reaction(guard, reaction, len(own), event)
        if changed is not None:
            return reaction
        # It is there already, a repeat was faster, or there are too many.
        own = _own_reactions(await self._live_item(guard), reaction.user_id)
        stored = own.get(emoji_key(reaction.emoji))
        if stored is None:
            raise TooManyReactions
        return replace(reaction, created_at=stored.created_at)

    async def remove_reaction(self, reaction: Reaction, rule: Rule, event_id: EventId) -> None:
        crew = await self._crew(Access(reaction.trip_id, reaction.user_id, rule))
        guard = await self._table.guard(reaction.message_id)
        if guard is None or guard.trip_id != reaction.trip_id:
            return
        item = await self._table.message(guard.trip_id, guard.sort_key)
        stored = None if item is None else _own_reactions(item, reaction.user_id).get(emoji_key(reaction.emoji))
        if stored is None:
            return
        removed = replace(reaction, emoji=stored.emoji)
        event = events.reacted(event_id, removed, crew.people[reaction.user_id], removed=True)
        await self._table.remove_reaction(guard, removed, event)

    async def list_reactions(self, access: Access, message_id: MessageId) -> Sequence[Reaction]:
        await self._crew(access)
        item = await self._live_item(await self._guard(access.trip_id, message_id))
        return [
            Reaction(message_id, access.trip_id, one.user_id, one.emoji, one.created_at)
            for one in table.reactions_in(item)
        ]

    async def mark_read(self, command: Command, message_id: MessageId) -> None:
        crew = await self._crew(command)
        guard, reader = await self._guard(command.trip_id, message_id), crew.people[command.caller]
        event = events.read(command.event_id, command.trip_id, message_id, reader, now=command.now)
        await self._table.read_up_to(command.trip_id, reader, guard.sort_key, event, command.now)

    async def list_receipts(self, access: Access) -> Sequence[Receipt]:
        crew = await self._crew(access)
        stored = [table.receipt_of(item) for item in await self._table.receipts(access.trip_id)]
        people = crew.people
        receipts = [
            Receipt(people[user_id], message_id, at) for user_id, message_id, at in stored if user_id in people
        ]
        return sorted(receipts, key=lambda receipt: receipt.read_at, reverse=True)

    async def readers(self, trip_id: TripId, message_id: MessageId) -> frozenset[UserId]:
        guard = await self._table.guard(message_id)
        if guard is None or guard.trip_id != trip_id:
            return frozenset()
        return frozenset(
            table.receipt_of(item)[0]
            for item in await self._table.receipts(trip_id)
            if item["target"]["S"] >= guard.sort_key
        )

    async def _crew(self, access: Access) -> "_Crew":
        """Raises DomainError: the caller lacks the right."""
        return _Crew(await self._members.list_for_trip(access))

    async def _changeable(self, access: Access, message_id: MessageId) -> tuple["_Crew", Guard]:
        """The members, and the guard of a message that the caller may change.

        Raises:
            Forbidden: the author is another user, and the caller's role is too low.
        """
        crew = await self._crew(Access(access.trip_id, access.caller, MEMBER))
        guard = await self._guard(access.trip_id, message_id)
        if not access.rule.allows(crew.ranks[access.caller], is_creator=guard.author == access.caller):
            raise Forbidden
        return crew, guard

    async def _guard(self, trip_id: TripId, message_id: MessageId) -> Guard:
        guard = await self._table.guard(message_id)
        if guard is None or guard.trip_id != trip_id:
            raise MessageNotFound
        return guard

    async def _live_item(self, guard: Guard) -> Item:
        item = await self._table.message(guard.trip_id, guard.sort_key)
        if item is None or "deletedAt" in item:
            raise MessageNotFound
        return item

    async def _replied_to(self, trip_id: TripId, message_id: MessageId) -> None:
        try:
            await self._live_item(await self._guard(trip_id, message_id))
        except MessageNotFound:
            raise ReplyNotFound from None

    async def _stored(self, message: NewMessage, people: Mapping[UserId, Sender]) -> Message | None:
        """The message that an earlier request stored; None if there is none.

        Raises:
            MessageIdTaken: the id belongs to another message.
        """
        message_id = message.id
        if message.fingerprint is not None:
            message_id = await self._table.repeated(message.fingerprint, message.now) or message_id
        guard = await self._table.guard(message_id)
        if guard is None:
            return None
        if (guard.trip_id, guard.author) != (message.trip_id, message.author):
            raise MessageIdTaken
        item = await self._table.message(guard.trip_id, guard.sort_key)
        return None if item is None else message_of(item, message.author, people)

    async def _sort_key(self, trip_id: TripId, cursor: str) -> str:
        """The sort key of a cursor."""
        message_id = parse_uuid(cursor)
        if message_id is None:
            return table.sort_key_in(cursor)
        guard = await self._table.guard(MessageId(message_id))
        if guard is None or guard.trip_id != trip_id:
            raise BadCursor
        return guard.sort_key


def _own_reactions(item: Item, user_id: UserId) -> dict[str, table.StoredReaction]:
    """A user's reactions to a message, by the key of their emoji."""
    return {emoji_key(one.emoji): one for one in table.reactions_in(item) if one.user_id == user_id}


def _transcribed(item: Item, caller: UserId, people: Mapping[UserId, Sender]) -> Transcribed:
    message = replace(message_of(item, caller, people), reactions=())
    reactions = [
        Reaction(message.id, message.trip_id, one.user_id, one.emoji, one.created_at)
        for one in table.reactions_in(item)
    ]
    is_own = message.sender is not None and message.sender.id == caller
    return Transcribed(message, reactions, table.edits_in(item) if is_own else ())


def _page(items: Sequence[Item], more: str | None, caller: UserId, people: Mapping[UserId, Sender]) -> MessagePage:
    return MessagePage(
        [message_of(item, caller, people) for item in items], None if more is None else table.cursor_of(more)
    )


class _Crew:
    """The members of a trip: as senders, by the key of their username, and by rank."""

    def __init__(self, members: Sequence[TripMember]) -> None:
        self.people = {
            member.user_id: Sender(
                member.user_id,
                display_name(member.first_name, member.last_name, member.username),
                member.avatar_url,
            )
            for member in members
        }
        self._names = {comparison_key(member.username): member.user_id for member in members}
        self.ranks = {member.user_id: Role(member.role).rank for member in members}

    def mentioned(self, mentions: Sequence[Sequence[str]]) -> list[UserId]:
        """The members that mentions mean: of the names that one may mean, the longest that a member has."""
        found = (next((self._names[name] for name in names if name in self._names), None) for names in mentions)
        return list(dict.fromkeys(user_id for user_id in found if user_id is not None))
