"""Reading, typing and files of a chat, with fakes for its ports."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat import events, service
from nomadcrew.core.chat.attachments import DELETE_BATCH, forget_files
from nomadcrew.core.chat.model import (
    MAX_QUERY,
    BadCursor,
    MessagePage,
    Reaction,
    Sender,
    checked_emoji,
    checked_text,
    key_of,
    words_of,
)
from nomadcrew.core.chat.ports import Attachments, ChatLog
from nomadcrew.core.errors import Invalid, Unavailable
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, uuid7
from nomadcrew.core.presence.model import Typist
from nomadcrew.core.presence.ports import Presence
from tests.fakes import ANA, NOON, CountingIds, RecordingBroadcaster

TRIP = TripId(uuid7())


class FakeChat:
    """`ChatLog` that answers with the name of the method that was called."""

    def __getattr__(self, name: str) -> Any:
        async def answer(*_: object, **__: object) -> Any:
            return name

        return answer


async def history(**given: Any) -> MessagePage:
    options: dict[str, Any] = {"before": None, "after": None, "query": None, "limit": 50, "offset": 0, **given}
    return await service.history(TRIP, ANA, chat=cast(ChatLog, FakeChat()), **options)


@pytest.mark.parametrize(
    ("given", "method"),
    [({}, "before"), ({"before": "c"}, "before"), ({"after": "c"}, "after"), ({"query": "hello"}, "search")],
)
async def test_history_is_read_backwards_forwards_or_by_words(given: dict[str, Any], method: str) -> None:
    assert cast(str, await history(**given)) == method


@pytest.mark.parametrize("given", [{"before": ""}, {"after": "x" * (service.MAX_CURSOR + 1)}])
async def test_an_empty_or_long_cursor_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadCursor):
        await history(**given)


@pytest.mark.parametrize("query", ["", "x" * (MAX_QUERY + 1), " ".join(map(str, range(30)))])
def test_a_query_without_words_or_with_many_is_refused(query: str) -> None:
    with pytest.raises(Invalid):
        words_of(query)


def test_a_query_has_distinct_folded_words() -> None:
    assert words_of("Hello hello Porto") == ["hello", "porto"]


@pytest.mark.parametrize("text", ["", " ", "x" * 1_001])
def test_an_empty_or_long_message_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        checked_text(text)


def test_an_emoji_is_itself_and_a_control_character_is_refused() -> None:
    assert checked_emoji("🏔️") == "🏔️"
    with pytest.raises(Invalid):
        checked_emoji("\n")


def test_the_same_reaction_has_the_same_id() -> None:
    message = MessageId(uuid7())
    assert Reaction(message, TRIP, ANA, "👍", NOON).id == Reaction(message, TRIP, ANA, "👍", NOON).id


@dataclass
class FakePresence:
    typist_: Typist | None

    async def typist(self, access: Access) -> Typist | None:
        return self.typist_


@pytest.mark.parametrize(
    ("typist", "listeners"), [(Typist("Ana", ""), True), (Typist("Ana", ""), False), (None, True)]
)
async def test_typing_is_broadcast_to_listeners_except_for_ghosts(typist: Typist | None, listeners: bool) -> None:
    broadcaster = RecordingBroadcaster(listeners=listeners)
    await service.send_typing(
        TRIP,
        ANA,
        is_typing=True,
        presence=cast(Presence, FakePresence(typist)),
        broadcaster=broadcaster,
        new_id=CountingIds(),
        now=NOON,
    )
    assert [event.type for event in broadcaster.events] == (["CHAT_TYPING_STATUS"] if typist and listeners else [])


def test_a_receipt_has_the_readers_avatar_if_there_is_one() -> None:
    def receipt(avatar: str) -> str:
        reader = Sender(ANA, "Ana", avatar)
        return events.read(EventId(uuid7()), TRIP, MessageId(uuid7()), reader, now=NOON).payload

    assert '"userAvatar"' in receipt("https://example.org/ana.png")
    assert '"userAvatar"' not in receipt("")


class FileOfMessage:
    """A chat whose message has a file, and the store of the file."""

    def __init__(self, file_id: AttachmentId | None, outage: Exception | None = None) -> None:
        self.file_id, self.outage = file_id, outage
        self.deleted: list[str] = []

    async def chat_delete(self, command: Command, message_id: MessageId) -> AttachmentId | None:
        return self.file_id

    async def delete(self, key: str) -> None:
        if self.outage is not None:
            raise self.outage
        self.deleted.append(key)


@pytest.mark.parametrize("outage", [None, Unavailable()])
@pytest.mark.parametrize("file_id", [None, AttachmentId(uuid7())])
async def test_deleting_a_message_deletes_its_file_unless_in_an_outage(
    file_id: AttachmentId | None, outage: Exception | None
) -> None:
    store = FileOfMessage(file_id, outage)
    chat: Any = SimpleNamespace(delete=store.chat_delete)
    await service.delete_message(
        TRIP, MessageId(uuid7()), ANA, chat=chat, files=cast(Files, store), new_id=CountingIds(), now=NOON
    )
    assert store.deleted == ([] if file_id is None or outage else [key_of(TRIP, file_id)])


@dataclass
class FakeAttachments:
    """`Attachments` with many expired and deleted files."""

    expired: list[int]
    files: list[tuple[TripId, AttachmentId]]
    deleted: list[str] = field(default_factory=list)

    async def expire(self, unused_since: datetime, *, now: datetime, limit: int) -> int:
        return self.expired.pop()

    async def list_deleted(self, *, limit: int) -> Sequence[tuple[TripId, AttachmentId]]:
        return self.files[:limit]

    async def forget(self, ids: Sequence[AttachmentId]) -> None:
        self.files = [row for row in self.files if row[1] not in ids]

    async def delete(self, key: str) -> None:
        self.deleted.append(key)


async def test_expired_files_are_deleted_in_batches_until_none_is_left() -> None:
    files = [(TRIP, AttachmentId(uuid7())) for _ in range(DELETE_BATCH + 1)]
    fake = FakeAttachments(expired=[1, DELETE_BATCH], files=list(files))
    total = await forget_files(attachments=cast(Attachments, fake), files=cast(Files, fake), now=NOON)
    assert total == len(files)
    assert fake.deleted == [key_of(*row) for row in files]
    assert fake.expired == []
