"""Transcripts and restored messages of `ChatLog`, in PostgreSQL and in DynamoDB."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import BadCursor, Edit, Message, Reaction, Sender, Transcribed
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.errors import NotTripMember
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.ids import MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER
from tests.contract.test_chat import Store, chat, db, delete, edit, post, react, store, texts
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

__all__ = ["chat", "db", "store"]


async def transcript(chat: ChatLog, trip: TripId, by: UserId, limit: int = 100) -> list[Transcribed]:
    """All pages of a transcript."""
    messages: list[Transcribed] = []
    cursor, more = None, True
    while more:
        page = await chat.transcript(Access(trip, by, MEMBER), cursor, limit=limit)
        assert len(page.messages) <= limit
        messages += page.messages
        cursor, more = page.next, page.next is not None
    return messages


async def import_into(db: TripDb, trip: TripId, by: UserId, *, finished: bool = False) -> None:
    """Mark a trip as one that is imported."""
    await db.run(
        "INSERT INTO trip_imports (fingerprint, user_id, trip_id, begun_at, finished_at)"
        " VALUES (:key::bytea, :by::uuid, :trip::uuid, :now::timestamptz,"
        " CASE WHEN :finished::boolean THEN :now::timestamptz END)",
        key=trip.bytes, by=by, trip=trip, now=NOON, finished=finished,
    )  # fmt: skip


def written(trip: TripId, by: Sender | None, text: str, at_s: float, **fields: object) -> Message:
    at = NOON + timedelta(seconds=at_s)
    return replace(Message(MessageId(uuid7()), trip, by, text, None, at), **fields)


async def test_a_transcript_has_every_message_once_with_each_reaction(db: TripDb, chat: ChatLog) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    made = [await post(chat, trip, by, f"{n}", at_s=n) for n, by in enumerate((ana, ben, ana, ben, ana))]
    await edit(chat, made[0], ana, "edited")
    await edit(chat, made[1], ben, "edited too")
    for by, emoji in ((ana, "👍"), (ben, "👍"), (ben, "🎉")):
        await react(chat, made[1], by, emoji)
    await delete(chat, made[2], ana)
    for limit in (1, 2, 5, 100):
        read = await transcript(chat, trip, ana, limit)
        assert [one.message.id for one in read] == [message.id for message in made]
    assert [one.message.text for one in read] == ["edited", "edited too", TOMBSTONE, "3", "4"]
    assert [edit.text for edit in read[0].edits] == ["0"]
    assert list(read[1].edits) == []  # those of another author are hidden
    assert {(one.user_id, one.emoji) for one in read[1].reactions} == {(ana, "👍"), (ben, "👍"), (ben, "🎉")}
    assert [edit.text for edit in (await transcript(chat, trip, ben))[1].edits] == ["1"]


async def test_only_members_read_a_transcript(db: TripDb, chat: ChatLog) -> None:
    ana, eve = await db.user("ana"), await db.user("eve")
    trip = await db.trip(ana)
    with pytest.raises(NotTripMember):
        await chat.transcript(Access(trip, eve, MEMBER), None, limit=1)
    with pytest.raises(BadCursor):
        await chat.transcript(Access(trip, ana, MEMBER), "nonsense", limit=1)


async def test_restored_messages_are_read_as_they_were_and_cause_no_event(
    db: TripDb, chat: ChatLog, store: Store
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await import_into(db, trip, ana)
    me, former = Sender(ana, "ana", ""), Sender(ben, "ben", "")
    first = written(trip, me, "first", 0, edited_at=NOON)
    second = written(trip, former, "second", 1, reply_to_id=first.id)
    gone = written(trip, former, TOMBSTONE, 2, deleted_at=NOON)
    messages = [
        Transcribed(first, [Reaction(first.id, trip, ben, "👍", NOON)], [Edit("frist", NOON)]),
        Transcribed(second, [Reaction(second.id, trip, user_id, "🎉", NOON) for user_id in sorted((ana, ben))], []),
        Transcribed(gone, [], []),
    ]
    for part, first_number in ((messages[:2], 1), (messages, 1), (messages[2:], 3)):
        await chat.restore(trip, part, first_number=first_number)
    read = await transcript(chat, trip, ana)
    assert [Transcribed(one.message, list(one.reactions), list(one.edits)) for one in read] == messages
    assert not [event for event in await store.events() if event["type"].startswith("CHAT")]
    await post(chat, trip, ana, "later", at_s=60)
    assert await texts(chat, trip, ana) == ["later", TOMBSTONE, "second", "first"]
    await react(chat, first, ana, "👍")
    assert len((await transcript(chat, trip, ana))[0].reactions) == 2


async def test_more_messages_than_a_transaction_holds_are_restored(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    await import_into(db, trip, ana)
    messages = [Transcribed(written(trip, Sender(ana, "ana", ""), f"{n}", n)) for n in range(120)]
    await chat.restore(trip, messages, first_number=1)
    assert [one.message.text for one in await transcript(chat, trip, ana)] == [f"{n}" for n in range(120)]


async def test_a_message_without_an_author_is_restored(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    await import_into(db, trip, ana)
    await chat.restore(trip, [Transcribed(written(trip, None, "hello", 0))], first_number=1)
    [read] = await transcript(chat, trip, ana)
    assert read.message.sender is None or read.message.sender.name == "Former member"


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
async def test_the_database_restores_nothing_after_the_import(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip, other = await db.trip(ana), await db.trip(ana)
    await import_into(db, trip, ana, finished=True)
    for target in (trip, other):
        await chat.restore(target, [Transcribed(written(target, None, "hello", 0))], first_number=1)
        assert await transcript(chat, target, ana) == []
