"""`ChatLog` in PostgreSQL and in DynamoDB."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec.structs import replace

from infrastructure.functions import BY_NAME
from nomadcrew.adapters.aws.dynamodb import chat_items as chat_table
from nomadcrew.adapters.aws.dynamodb.chat import DynamoChat
from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.attachments import PostgresAttachments
from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.model import (
    MAX_EDITS,
    MAX_REACTIONS,
    Attachment,
    AttachmentNotFound,
    AttachmentUsed,
    BadCursor,
    Message,
    MessageIdTaken,
    MessageNotFound,
    NewMessage,
    Reaction,
    ReactionCount,
    ReplyNotFound,
    TooLateToEdit,
    TooManyEdits,
    mentioned,
    words_of,
)
from nomadcrew.core.chat.ports import Attachments, ChatLog
from nomadcrew.core.errors import Forbidden, Invalid, NotFound, NotTripMember
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN, OWN_OR_ADMIN, Role
from nomadcrew.core.text import comparison_key
from nomadcrew.wire.events import unpack
from tests.contract.cloud import Cloud
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, CountingOutbox
from tests.postgres import Postgres


@dataclass
class Store:
    """A chat in one store: the log of two processes, and its events so far."""

    log: ChatLog
    again: ChatLog
    events: Callable[[], Awaitable[list[dict[str, Any]]]]
    attachments: Attachments


@pytest_asyncio.fixture(loop_scope="session")
async def db(postgres: Postgres, template: str) -> AsyncIterator[TripDb]:
    """Users and trips, which are in SQL for either store of messages."""
    connect = await postgres.fresh_database(template)
    database = Database(connect, size=8)
    yield TripDb(database)
    await database.close()
    await postgres.drop_database(connect)


@pytest_asyncio.fixture(loop_scope="session", params=["postgresql", "dynamodb"])
async def store(request: pytest.FixtureRequest, db: TripDb) -> Store:
    attachments = PostgresAttachments(db.pool)
    if request.param == "postgresql":
        return Store(
            PostgresChat(db.pool, CountingOutbox()), PostgresChat(db.pool, CountingOutbox()), db.events, attachments
        )
    cloud: Cloud = request.getfixturevalue("cloud")
    name = await cloud.chat_table()
    table = ChatTable(cloud.client(DYNAMODB), name)
    members = PostgresMembers(db.pool)

    async def events() -> list[dict[str, Any]]:
        unpacked = [unpack(text) for text in cloud.streamed(name, "event")]
        return [{"type": event.type, "payload": json.loads(event.payload)} for event in unpacked]

    note = PostgresSyncPoints(db.pool).note_messages
    log, again = (DynamoChat(table, members, attachments, note) for _ in range(2))
    return Store(log, again, events, attachments)


@pytest.fixture
def chat(store: Store) -> ChatLog:
    return store.log


def draft(trip: TripId, by: UserId, text: str = "hello", at_s: float = 0, **fields: object) -> NewMessage:
    made = NewMessage(
        MessageId(uuid7()), trip, by, text, None, [], EventId(uuid7()), NOON + timedelta(seconds=at_s)
    )
    return replace(made, **fields)


async def post(chat: ChatLog, trip: TripId, by: UserId, text: str = "hello", at_s: float = 0) -> Message:
    return await chat.add(draft(trip, by, text, at_s), MEMBER)


async def texts(chat: ChatLog, trip: TripId, by: UserId) -> list[str]:
    return [message.text for message in (await chat.before(Access(trip, by, MEMBER), None, limit=100)).messages]


async def edit(chat: ChatLog, message: Message, by: UserId, text: str, at_s: float = 60) -> Message:
    return await chat.edit(
        Command(message.trip_id, by, OWN, EventId(uuid7()), NOON + timedelta(seconds=at_s)), message.id, text
    )


async def delete(chat: ChatLog, message: Message, by: UserId) -> AttachmentId | None:
    return await chat.delete(Command(message.trip_id, by, OWN_OR_ADMIN, EventId(uuid7()), NOON), message.id)


async def react(chat: ChatLog, message: Message, by: UserId, emoji: str, at_s: float = 0) -> Reaction:
    reaction = Reaction(message.id, message.trip_id, by, emoji, NOON + timedelta(seconds=at_s))
    return await chat.add_reaction(reaction, MEMBER, EventId(uuid7()))


async def unreact(chat: ChatLog, message: Message, by: UserId, emoji: str) -> None:
    await chat.remove_reaction(Reaction(message.id, message.trip_id, by, emoji, NOON), MEMBER, EventId(uuid7()))


async def read(chat: ChatLog, message: Message, by: UserId, at_s: float = 0) -> None:
    now = NOON + timedelta(seconds=at_s)
    await chat.mark_read(Command(message.trip_id, by, MEMBER, EventId(uuid7()), now), message.id)


async def payloads_of(store: Store, type_: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in await store.events() if event["type"] == type_]


async def test_a_message_is_read_back_and_its_event_has_both_forms(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    message = await chat.add(draft(trip, ana, "hello @ben", mentions=[("ben-", "ben"), ("nobody",)]), MEMBER)
    assert message.sender is not None
    assert (message.sender.name, message.text, message.created_at) == ("ana", "hello @ben", NOON)
    assert (await chat.before(Access(trip, ben, MEMBER), None, limit=10)).messages == [message]
    sender = {"id": str(ana), "name": "ana"}
    at = "2026-07-01T12:00:00.000000Z"
    assert await payloads_of(store, "CHAT_MESSAGE_SENT") == [
        {
            "messageId": str(message.id), "tripId": str(trip), "content": "hello @ben", "user": sender,
            "timestamp": at, "mentions": [str(ben)],
            "message": {"id": str(message.id), "trip_id": str(trip), "content": "hello @ben", "sender": sender,
                        "created_at": at},
        }
    ]  # fmt: skip


async def test_a_repeated_message_is_stored_and_broadcast_once(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    message = draft(trip, ana)
    repeats = [replace(message, event_id=EventId(uuid7()), now=NOON + timedelta(seconds=n)) for n in range(5)]
    stored = await asyncio.gather(*(chat.add(one, MEMBER) for one in (message, *repeats)))
    assert len({one.id for one in stored} | {one.created_at for one in stored}) == 2
    assert await texts(chat, trip, ana) == ["hello"]
    assert len(await payloads_of(store, "CHAT_MESSAGE_SENT")) == 1


async def test_a_repeat_without_a_client_id_is_recognised_by_its_fingerprint(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    stored = await asyncio.gather(*(chat.add(draft(trip, ana, fingerprint=b"f"), MEMBER) for _ in range(5)))
    assert len({one.id for one in stored}) == 1
    later = await chat.add(draft(trip, ana, fingerprint=b"f", at_s=31), MEMBER)
    assert later.id != stored[0].id
    assert await texts(chat, trip, ana) == ["hello", "hello"]


async def test_a_conflicting_put_does_not_return_a_message_older_than_the_window(
    db: TripDb, chat: ChatLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    first = await chat.add(draft(trip, ana, fingerprint=b"f"), MEMBER)
    put, refused = ChatTable.put, [True]

    async def conflicting_put(*given: Any) -> bool:
        return not (refused and refused.pop()) and await put(*given)

    monkeypatch.setattr(ChatTable, "put", conflicting_put)
    later = await chat.add(draft(trip, ana, fingerprint=b"f", at_s=31), MEMBER)
    assert later.id != first.id
    assert await texts(chat, trip, ana) == ["hello", "hello"]


async def test_an_id_used_by_another_author_or_trip_is_refused(db: TripDb, chat: ChatLog) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip, elsewhere = await db.trip(ana), await db.trip(ana)
    await db.join(trip, ben, ana)
    message = await post(chat, trip, ana)
    for duplicate in (draft(trip, ben, "mine", id=message.id), draft(elsewhere, ana, "here too", id=message.id)):
        with pytest.raises(MessageIdTaken):
            await chat.add(duplicate, MEMBER)
    assert (await texts(chat, trip, ana), await texts(chat, elsewhere, ana)) == (["hello"], [])


@pytest.mark.contract("rest-activity.chat.send.fix-reply")
async def test_a_reply_refers_to_a_message_of_the_same_trip(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip, elsewhere = await db.trip(ana), await db.trip(ana)
    message, foreign, deleted = (
        await post(chat, trip, ana),
        await post(chat, elsewhere, ana),
        await post(chat, trip, ana),
    )
    await delete(chat, deleted, ana)
    assert (await chat.add(draft(trip, ana, reply_to_id=message.id), MEMBER)).reply_to_id == message.id
    for wrong in (foreign.id, deleted.id, MessageId(uuid4())):
        with pytest.raises(ReplyNotFound):
            await chat.add(draft(trip, ana, reply_to_id=wrong), MEMBER)


async def test_all_members_read_concurrent_messages_in_one_order(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    other = store.again
    sent = await asyncio.gather(
        *(
            post(log, trip, by, f"{name} {n}")
            for n in range(6)
            for name, by, log in (("a", ana, chat), ("b", ben, other))
        )
    )
    page = (await chat.before(Access(trip, ana, MEMBER), None, limit=100)).messages
    assert {message.id for message in page} == {message.id for message in sent}
    times = [message.created_at for message in page]
    assert times == sorted(times, reverse=True)
    assert (await other.before(Access(trip, ben, MEMBER), None, limit=100)).messages == page
    first = (await chat.after(Access(trip, ben, MEMBER), str(page[-1].id), limit=100)).messages
    assert [page[-1].id, *(message.id for message in first)] == [message.id for message in reversed(page)]
    events = [str(event["messageId"]) for event in await payloads_of(store, "CHAT_MESSAGE_SENT")]
    assert sorted(events) == sorted(str(message.id) for message in sent)


async def test_a_refused_message_does_not_affect_concurrent_ones(db: TripDb, chat: ChatLog) -> None:
    ana, eve = await db.user("ana"), await db.user("eve")
    trip = await db.trip(ana)
    outcomes = await asyncio.gather(
        post(chat, trip, ana, "one"), post(chat, trip, eve, "intruder"),
        chat.add(draft(trip, ana, reply_to_id=MessageId(uuid4())), MEMBER), post(chat, trip, ana, "two"),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(outcome) for outcome in outcomes] == [Message, NotTripMember, ReplyNotFound, Message]
    assert sorted(await texts(chat, trip, ana)) == ["one", "two"]


async def test_pages_by_cursor_or_id_are_stable_while_others_write(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    made = [await post(chat, trip, ana, str(n), at_s=n) for n in range(5)]
    first = await chat.before(Access(trip, ana, MEMBER), None, limit=2)
    assert [message.text for message in first.messages] == ["4", "3"]
    await post(chat, trip, ana, "new", at_s=9)
    assert first.next is not None
    for cursor in (first.next, str(made[3].id)):
        second = await chat.before(Access(trip, ana, MEMBER), cursor, limit=2)
        assert [message.text for message in second.messages] == ["2", "1"]
    assert second.next is not None
    last = await chat.before(Access(trip, ana, MEMBER), second.next, limit=2)
    assert ([message.text for message in last.messages], last.next) == (["0"], None)
    with_offset = await chat.before(Access(trip, ana, MEMBER), None, limit=2, offset=1)
    assert [message.text for message in with_offset.messages] == ["4", "3"]


async def test_after_returns_all_missed_messages_oldest_first(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    # Further apart than the overlap that a store may repeat.
    made = [await post(chat, trip, ana, str(n), at_s=20 * n) for n in range(6)]
    page = await chat.after(Access(trip, ana, MEMBER), str(made[1].id), limit=2)
    assert [message.text for message in page.messages] == ["2", "3"]
    assert page.next is not None
    rest = await chat.after(Access(trip, ana, MEMBER), page.next, limit=2)
    assert ([message.text for message in rest.messages], rest.next) == (["4", "5"], None)
    end = await chat.after(Access(trip, ana, MEMBER), str(made[5].id), limit=2)
    assert (list(end.messages), end.next) == ([], None)


async def test_a_message_of_the_slowest_function_is_in_the_next_page(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    longest_s = max(BY_NAME[name].timeout_s for name in ("chat", "websocket"))
    quick = await post(chat, trip, ana, "quick", at_s=longest_s)
    slow = await post(chat, trip, ana, "slow", at_s=0)
    page = await chat.after(Access(trip, ana, MEMBER), str(quick.id), limit=10)
    assert slow.id in [message.id for message in page.messages]


@pytest.mark.parametrize("cursor", ["", "m", "m-1", "x9", "m1234567890123456789012", str(uuid4())])
async def test_an_invalid_cursor_is_refused(db: TripDb, chat: ChatLog, cursor: str) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    with pytest.raises(BadCursor):
        await chat.before(Access(trip, ana, MEMBER), cursor, limit=2)
    with pytest.raises(BadCursor):
        await chat.after(Access(trip, ana, MEMBER), cursor, limit=2)


async def test_a_cursor_of_another_trip_is_refused(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip, elsewhere = await db.trip(ana), await db.trip(ana)
    foreign = await post(chat, elsewhere, ana)
    with pytest.raises(BadCursor):
        await chat.before(Access(trip, ana, MEMBER), str(foreign.id), limit=2)


async def test_search_finds_messages_with_all_words_in_any_case_newest_first(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip, elsewhere = await db.trip(ana), await db.trip(ana)
    for n, text in enumerate(
        ("Meet at the STRASSE 5", "the straße is long", "100% of them meet", "meet_me", "else")
    ):
        await post(chat, trip, ana, text, at_s=n)
    await post(chat, elsewhere, ana, "meet elsewhere")
    deleted = await post(chat, trip, ana, "meet later", at_s=9)
    await delete(chat, deleted, ana)

    async def find(*words: str) -> list[str]:
        page = await chat.search(Access(trip, ana, MEMBER), words, None, limit=10)
        return [message.text for message in page.messages]

    assert await find("strasse") == ["the straße is long", "Meet at the STRASSE 5"]
    assert await find("meet", "the") == ["100% of them meet", "Meet at the STRASSE 5"]
    assert await find("0%") == ["100% of them meet"]
    assert await find("t_m") == ["meet_me"]
    assert await find("later") == []
    first = await chat.search(Access(trip, ana, MEMBER), ["meet"], None, limit=2)
    assert first.next is not None
    rest = await chat.search(Access(trip, ana, MEMBER), ["meet"], first.next, limit=2)
    assert [message.text for message in rest.messages] == ["Meet at the STRASSE 5"]


@pytest.mark.parametrize(("text", "query"), [
    ("Caf\u00e9", "cafe\u0301"), ("Cafe\u0301", "caf\u00e9"), ("Caf\u00e9", "cafe"), ("ΚΑΛΗΜΕΡΑ ΝΙΚΟΣ", "νίκος"),
    ("Straße", "STRASSE"), ("Łódź", "lodz"), ("น้ำฝน", "น้ำฝน"), ("ca\u00adf\u200be", "cafe"),
])  # fmt: skip
async def test_search_finds_any_spelling_of_a_word(db: TripDb, chat: ChatLog, text: str, query: str) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    message = await post(chat, trip, ana, "hello")
    await post(chat, trip, ana, "another", at_s=1)
    await edit(chat, message, ana, text)
    page = await chat.search(Access(trip, ana, MEMBER), words_of(query), None, limit=10)
    assert [found.text for found in page.messages] == [text]


@pytest.mark.parametrize(("name", "text"), [
    ("น้ำฝน", "@น้ำฝน ดู"), ("zo\u00eb", "hi @zoe\u0308!"), ("a+b", "(@a+b)"), ("ΝΙΚΟΣ", "@νικος"), ("straße",
    "@STRASSE,"),
    ("ana\U0001f600", "@ana\U0001f600 look"), ("ana\U0001f600", "@ANA\U0001f600."), ("o'brien", "@o'brien"),
    ("a.b-c", "@a.b-c..."),
    ("\u2764\ufe0f", "@\u2764"), ("ana!", "@ana!"), ("علی\u200cرضا", "@علی\u200cرضا"),
])  # fmt: skip
async def test_every_username_can_be_mentioned(db: TripDb, store: Store, name: str, text: str) -> None:
    ben, cem = await db.user("ben"), await db.user("cem")
    trip = await db.trip(ben)
    await db.join(trip, cem, ben)
    await db.run(
        "UPDATE user_profiles SET username = :name::text, username_key = :key::text WHERE id = :id::uuid",
        name=name, key=comparison_key(name), id=cem,
    )  # fmt: skip
    await store.log.add(draft(trip, ben, text, mentions=mentioned(text)), MEMBER)
    [sent] = await payloads_of(store, "CHAT_MESSAGE_SENT")
    assert sent["mentions"] == [str(cem)]


async def test_a_mention_means_the_longest_name_of_a_member(db: TripDb, store: Store) -> None:
    ana, other, stranger = await db.user("ana"), await db.user("ana-lu"), await db.user("ana-lu-x")
    trip = await db.trip(ana)
    await db.join(trip, other, ana)
    assert stranger
    for text, expected in (
        ("@ana-lu-x", [other]), ("@ana-lu @ana", [other, ana]), ("@ana's @ANA @ana", [ana]), ("@an @anab a@ana",
        []),
    ):  # fmt: skip
        await store.log.add(draft(trip, ana, text, mentions=mentioned(text)), MEMBER)
        assert (await payloads_of(store, "CHAT_MESSAGE_SENT"))[-1]["mentions"] == [str(one) for one in expected]


async def test_a_search_stops_after_its_limit_and_continues_from_its_cursor(
    db: TripDb, chat: ChatLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_table, "SEARCHED", 4)
    monkeypatch.setattr(chat_table, "PAGE", 2)
    ana = await db.user("ana")
    trip = await db.trip(ana)
    for n in range(11):
        await post(chat, trip, ana, "treasure" if n in (0, 5) else "sand", at_s=n)
    found: list[Message] = []
    page = await chat.search(Access(trip, ana, MEMBER), ["treasure"], None, limit=10)
    found += page.messages
    while page.next is not None:
        page = await chat.search(Access(trip, ana, MEMBER), ["treasure"], page.next, limit=10)
        found += page.messages
    assert [message.created_at for message in found] == [NOON + timedelta(seconds=5), NOON]


@pytest.mark.contract("rest-activity.chat.edit-window")
async def test_only_the_author_edits_and_for_fifteen_minutes(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    message = await post(chat, trip, ben, "helo")
    edited = await edit(chat, message, ben, "hello", at_s=899)
    assert (edited.text, edited.edited_at, edited.created_at) == ("hello", NOON + timedelta(seconds=899), NOON)
    assert (await chat.before(Access(trip, ana, MEMBER), None, limit=1)).messages == [edited]
    [payload] = await payloads_of(store, "CHAT_MESSAGE_EDITED")
    assert (payload["messageId"], payload["content"]) == (str(message.id), "hello")
    with pytest.raises(TooLateToEdit):
        await edit(chat, message, ben, "too late", at_s=901)
    assert (await edit(chat, message, ben, "hello", at_s=901)).text == "hello"
    assert len(await payloads_of(store, "CHAT_MESSAGE_EDITED")) == 1
    with pytest.raises(Forbidden):
        await edit(chat, message, ana, "as I wanted it")


async def test_the_number_of_edits_of_a_message_is_limited(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    message = await post(chat, await db.trip(ana), ana, "0")
    for n in range(1, MAX_EDITS + 1):
        await edit(chat, message, ana, str(n))
    with pytest.raises(TooManyEdits):
        await edit(chat, message, ana, "one more")
    assert (await edit(chat, message, ana, str(MAX_EDITS))).text == str(MAX_EDITS)


async def test_authors_and_admins_delete_a_message_with_its_text_and_reactions(
    db: TripDb, chat: ChatLog, store: Store
) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana, Role.ADMIN)
    await db.join(trip, eve, ana)
    bens, eves = await post(chat, trip, ben, "by ben"), await post(chat, trip, eve, "secret")
    await edit(chat, eves, eve, "secret, edited")
    await react(chat, eves, ben, "🎉")
    with pytest.raises(Forbidden):
        await delete(chat, bens, eve)
    await delete(chat, eves, ben)
    await delete(chat, eves, ben)
    newest, _ = (await chat.before(Access(trip, ana, MEMBER), None, limit=10)).messages
    assert (newest.id, newest.text, newest.deleted_at) == (eves.id, TOMBSTONE, NOON)
    assert newest.reactions == ()
    assert await payloads_of(store, "CHAT_MESSAGE_DELETED") == [{"messageId": str(eves.id), "tripId": str(trip)}]
    for action in (edit(chat, eves, eve, "again"), react(chat, eves, eve, "🎉")):
        with pytest.raises(MessageNotFound):
            await action


@pytest.mark.contract("rest-activity.chat.react.fix-repeat", "rest-activity.chat.unreact")
async def test_reactions_are_added_once_counted_listed_and_removed(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    message = await post(chat, trip, ana)
    for at_s, (by, emoji) in enumerate(((ana, "👍🏽"), (ben, "👍🏽"), (ben, "🎉"), (ben, "🎉"))):
        await react(chat, message, by, emoji, at_s)
    [shown] = (await chat.before(Access(trip, ana, MEMBER), None, limit=1)).messages
    assert shown.reactions == (ReactionCount("👍🏽", 2, True), ReactionCount("🎉", 1, False))
    listed = await chat.list_reactions(Access(trip, ana, MEMBER), message.id)
    assert [(one.user_id, one.emoji) for one in listed] == [(ana, "👍🏽"), (ben, "👍🏽"), (ben, "🎉")]
    assert listed[2].created_at == NOON + timedelta(seconds=2)
    assert len(await payloads_of(store, "CHAT_REACTION_ADDED")) == 3
    for _ in range(2):
        await chat.remove_reaction(Reaction(message.id, trip, ben, "🎉", NOON), MEMBER, EventId(uuid7()))
    [payload] = await payloads_of(store, "CHAT_REACTION_REMOVED")
    assert payload == {
        "messageId": str(message.id), "tripId": str(trip), "reaction": "🎉",
        "user": {"id": str(ben), "name": "ben"},
    }  # fmt: skip
    assert len(await chat.list_reactions(Access(trip, ana, MEMBER), message.id)) == 2


async def test_the_number_of_reactions_to_a_message_is_limited(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    message = await post(chat, await db.trip(ana), ana)
    for n in range(MAX_REACTIONS):
        await react(chat, message, ana, str(n))
    with pytest.raises(Invalid):
        await react(chat, message, ana, "one more")
    await react(chat, message, ana, "0")


async def test_reactions_at_the_same_moment_stay_within_the_limit(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    message = await post(chat, trip, ana)
    results = await asyncio.gather(
        *(react(chat, message, ana, str(n)) for n in range(2 * MAX_REACTIONS)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == (
        ["Reaction"] * MAX_REACTIONS + ["TooManyReactions"] * MAX_REACTIONS
    )
    stored = await chat.list_reactions(Access(trip, ana, MEMBER), message.id)
    assert len(stored) == len(await payloads_of(store, "CHAT_REACTION_ADDED")) == MAX_REACTIONS
    await asyncio.gather(*(unreact(chat, message, ana, one.emoji) for one in stored for _ in range(2)))
    assert await chat.list_reactions(Access(trip, ana, MEMBER), message.id) == []
    assert len(await payloads_of(store, "CHAT_REACTION_REMOVED")) == MAX_REACTIONS
    for n in range(MAX_REACTIONS):
        await react(chat, message, ana, str(n))


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("\u2764\ufe0f", "\u2764"),
        ("\u2764", "\u2764\ufe0f"),
        ("\u263a\ufe0e", "\u263a\ufe0f"),
        ("e\u0301", "\u00e9"),
    ],
)
async def test_spellings_of_one_emoji_are_one_reaction(
    db: TripDb, chat: ChatLog, store: Store, spelling: str, other: str
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    message = await post(chat, trip, ana)
    for at_s, (by, emoji) in enumerate(((ana, spelling), (ana, other), (ben, other))):
        await react(chat, message, by, emoji, at_s)
    [shown] = (await chat.before(Access(trip, ben, MEMBER), None, limit=1)).messages
    assert shown.reactions == (ReactionCount(spelling, 2, True),)
    await unreact(chat, message, ana, other)
    await unreact(chat, message, ben, spelling)
    assert await chat.list_reactions(Access(trip, ana, MEMBER), message.id) == []
    assert [one["reaction"] for one in await payloads_of(store, "CHAT_REACTION_REMOVED")] == [spelling, other]


async def test_edits_at_the_same_moment_stay_within_the_limit(
    db: TripDb, chat: ChatLog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("postgres.chat", "aws.dynamodb.chat"):
        monkeypatch.setattr(f"nomadcrew.adapters.{module}.MAX_EDITS", 5)
    ana = await db.user("ana")
    message = await post(chat, await db.trip(ana), ana)
    await asyncio.gather(*(edit(chat, message, ana, str(n)) for n in range(12)), return_exceptions=True)
    assert 1 <= len(await payloads_of(store, "CHAT_MESSAGE_EDITED")) <= 5


async def test_a_deletion_beside_edits_and_reactions_leaves_nothing_of_them(db: TripDb, chat: ChatLog) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    for _ in range(10):
        message = await post(chat, trip, ana, "secret")
        await asyncio.gather(
            *(edit(chat, message, ana, f"secret {n}") for n in range(3)),
            *(react(chat, message, ben, str(n)) for n in range(3)),
            delete(chat, message, ana),
            return_exceptions=True,
        )
    assert await texts(chat, trip, ana) == [TOMBSTONE] * 10
    left = await db.rows("SELECT body FROM chat_edits UNION ALL SELECT emoji FROM chat_reactions")
    assert left == []
    assert "secret" not in str(await db.events())
    page = await chat.before(Access(trip, ana, MEMBER), None, limit=10)
    assert [message.reactions for message in page.messages] == [()] * 10


@pytest.mark.contract("rest-activity.chat.read.forward")
async def test_receipts_move_forward_only_and_are_broadcast_only_when_they_move(
    db: TripDb, chat: ChatLog, store: Store
) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    first, second = await post(chat, trip, ana), await post(chat, trip, ana, at_s=1)
    await read(chat, second, ben, at_s=2)
    await read(chat, first, ben, at_s=3)
    await read(chat, second, ben, at_s=4)
    await read(chat, first, ana, at_s=5)
    receipts = await chat.list_receipts(Access(trip, ana, MEMBER))
    assert [(one.reader.id, one.message_id) for one in receipts] == [(ana, first.id), (ben, second.id)]
    assert receipts[1].read_at == NOON + timedelta(seconds=2)
    payload, _ = await payloads_of(store, "CHAT_READ_RECEIPT")
    assert payload == {
        "messageId": str(second.id), "tripId": str(trip), "userId": str(ben), "userName": "ben",
        "timestamp": "2026-07-01T12:00:02.000000Z", "user": {"id": str(ben), "name": "ben"},
    }  # fmt: skip
    await db.leave(trip, ben, ana)
    assert [one.reader.id for one in await chat.list_receipts(Access(trip, ana, MEMBER))] == [ana]


@pytest.mark.contract("rest-activity.chat.react.fix-repeat")
async def test_a_message_is_found_on_its_own_trip_only(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    here, there = await db.trip(ana), await db.trip(ana)
    message = await post(chat, here, ana)
    for stray in (replace(message, trip_id=there), replace(message, id=MessageId(uuid4()))):
        for action in (edit(chat, stray, ana, "x"), delete(chat, stray, ana), react(chat, stray, ana, "x"),
                       read(chat, stray, ana),
                       chat.list_reactions(Access(stray.trip_id, ana, MEMBER), stray.id)):  # fmt: skip
            with pytest.raises(MessageNotFound):
                await action


@pytest.mark.contract("permissions.active-only")
async def test_non_members_and_former_members_can_do_nothing(db: TripDb, chat: ChatLog, store: Store) -> None:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    message = await post(chat, trip, ben)
    await db.leave(trip, ben, ana)
    before = len(await store.events())
    for outsider in (ben, eve):
        for action in (
            post(chat, trip, outsider), edit(chat, message, outsider, "x"), delete(chat, message, outsider),
            react(chat, message, outsider, "x"), read(chat, message, outsider), texts(chat, trip, outsider),
            chat.remove_reaction(Reaction(message.id, trip, outsider, "x", NOON), MEMBER, EventId(uuid7())),
            chat.after(Access(trip, outsider, MEMBER), str(message.id), limit=1),
            chat.search(Access(trip, outsider, MEMBER), ["hello"], None, limit=1),
            chat.list_reactions(Access(trip, outsider, MEMBER), message.id),
            chat.list_receipts(Access(trip, outsider, MEMBER)),
        ):  # fmt: skip
            with pytest.raises(NotTripMember):
                await action
    assert len(await store.events()) == before


@pytest.mark.contract("permissions.fix-deleted", "rest-activity.guards.fix-deleted")
async def test_the_chat_of_a_deleted_trip_is_not_found(db: TripDb, chat: ChatLog) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    await db.run("UPDATE trips SET deleted_at = created_at WHERE id = :id::uuid", id=trip)
    with pytest.raises(NotFound):
        await post(chat, trip, ana)
    with pytest.raises(NotFound):
        await texts(chat, trip, ana)


async def test_a_deleted_text_is_removed_from_stored_events(db: TripDb) -> None:
    ana = await db.user("ana")
    chat = PostgresChat(db.pool, CountingOutbox())
    message = await post(chat, await db.trip(ana), ana, "secret")
    await edit(chat, message, ana, "secret, edited")
    assert "secret" in str(await db.events())
    await delete(chat, message, ana)
    assert "secret" not in str(await db.events())
    assert str(await db.events()).count(TOMBSTONE) == 4


async def file_of(store: Store, trip: TripId, by: UserId, at_s: float = 0) -> Attachment:
    made = Attachment(AttachmentId(uuid7()), FileKind.JPEG, 12_345, "the bridge.jpg")
    now = NOON + timedelta(seconds=at_s)
    return await store.attachments.add(Access(trip, by, MEMBER), made, fingerprint=uuid7().bytes, now=now)


async def test_a_message_carries_a_file_with_or_without_text(db: TripDb, store: Store) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    file = await file_of(store, trip, ana)
    message = await store.log.add(draft(trip, ana, "", attachment_id=file.id), MEMBER)
    assert (message.text, message.attachment) == ("", file)
    assert (await store.again.before(Access(trip, ben, MEMBER), None, limit=10)).messages == [message]
    assert (await edit(store.log, message, ana, "look")).attachment == file
    [sent] = await payloads_of(store, "CHAT_MESSAGE_SENT")
    attachment = {"id": str(file.id), "type": "image/jpeg", "name": "the bridge.jpg"}
    assert (sent["content"], sent["message"]["content"]) == ("", "")
    assert sent["attachment"] == attachment | {"sizeBytes": 12_345}
    assert sent["message"]["attachment"] == attachment | {"size_bytes": 12_345}
    [edited] = await payloads_of(store, "CHAT_MESSAGE_EDITED")
    assert edited["attachment"] == sent["attachment"]


async def test_a_file_is_sent_once_by_its_uploader_on_its_trip(db: TripDb, store: Store) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip, elsewhere = await db.trip(ana), await db.trip(ana)
    await db.join(trip, ben, ana)
    file = await file_of(store, trip, ana)
    for not_theirs in (draft(trip, ben, attachment_id=file.id), draft(elsewhere, ana, attachment_id=file.id)):
        with pytest.raises(AttachmentNotFound):
            await store.log.add(not_theirs, MEMBER)
    with pytest.raises(AttachmentNotFound):
        await store.log.add(draft(trip, ana, attachment_id=AttachmentId(uuid7())), MEMBER)
    await store.log.add(draft(trip, ana, attachment_id=file.id), MEMBER)
    with pytest.raises(AttachmentUsed):
        await store.log.add(draft(trip, ana, attachment_id=file.id), MEMBER)
    assert await texts(store.log, trip, ana) == ["hello"]


async def test_one_of_concurrent_messages_gets_the_file(db: TripDb, store: Store) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    file = await file_of(store, trip, ana)
    drafts = [draft(trip, ana, f"{n}", attachment_id=file.id) for n in range(6)]
    logs = (store.log, store.again) * 3
    sent = await asyncio.gather(
        *(log.add(one, MEMBER) for log, one in zip(logs, drafts, strict=True)), return_exceptions=True
    )
    assert sum(isinstance(one, AttachmentUsed) for one in sent) == 5
    [message] = [one for one in sent if isinstance(one, Message)]
    assert await texts(store.log, trip, ana) == [message.text]


async def test_a_repeat_returns_the_same_message_with_its_file(db: TripDb, store: Store) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    with_id = draft(trip, ana, attachment_id=(await file_of(store, trip, ana)).id)
    first = await store.log.add(with_id, MEMBER)
    assert first == await store.again.add(replace(with_id, event_id=EventId(uuid7())), MEMBER)
    without = draft(trip, ana, "and", attachment_id=(await file_of(store, trip, ana)).id, fingerprint=uuid7().bytes)
    first = await store.log.add(without, MEMBER)
    again = replace(without, id=MessageId(uuid7()), event_id=EventId(uuid7()))
    assert first == await store.again.add(again, MEMBER)
    assert await texts(store.log, trip, ana) == ["and", "hello"]


async def test_a_deleted_message_releases_its_file(db: TripDb, store: Store) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    file = await file_of(store, trip, ana)
    message = await store.log.add(draft(trip, ana, attachment_id=file.id), MEMBER)
    assert await store.attachments.get(Access(trip, ana, MEMBER), file.id) == file
    assert await delete(store.log, message, ana) == file.id
    await delete(store.log, message, ana)
    assert await delete(store.log, await store.log.add(draft(trip, ana), MEMBER), ana) is None
    _, left = (await store.log.before(Access(trip, ana, MEMBER), None, limit=10)).messages
    assert (left.text, left.attachment) == (TOMBSTONE, None)
    with pytest.raises(AttachmentNotFound):
        await store.attachments.get(Access(trip, ana, MEMBER), file.id)
    assert (trip, file.id) in await store.attachments.list_deleted(limit=1000)
    await store.attachments.forget([file.id])
    assert await store.attachments.list_deleted(limit=1000) == []


async def test_an_expired_file_cannot_be_sent(db: TripDb, store: Store) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    old, new = await file_of(store, trip, ana), await file_of(store, trip, ana, at_s=60)
    since = NOON + timedelta(seconds=30)
    assert await store.attachments.expire(since, now=NOON, limit=10) == 1
    with pytest.raises(AttachmentNotFound):
        await store.log.add(draft(trip, ana, attachment_id=old.id), MEMBER)
    await store.log.add(draft(trip, ana, attachment_id=new.id), MEMBER)
    await store.attachments.forget([new.id])  # without effect: it is not deleted
    assert await store.attachments.expire(NOON + timedelta(days=9), now=NOON, limit=10) == 0
    assert await store.attachments.get(Access(trip, ana, MEMBER), new.id) == new


async def test_the_readers_of_a_message_have_read_it_or_a_later_one(db: TripDb, chat: ChatLog) -> None:
    ana, ben, cleo = [await db.user(name) for name in ("ana", "ben", "cleo")]
    trip, other = await db.trip(ana), await db.trip(ana)
    for member in (ben, cleo):
        await db.join(trip, member, ana)
    first, second = await post(chat, trip, ana), await post(chat, trip, ana, at_s=1)
    assert await chat.readers(trip, first.id) == frozenset()
    await read(chat, second, ben, at_s=2)
    await read(chat, first, cleo, at_s=3)
    assert await chat.readers(trip, first.id) == {ben, cleo}
    assert await chat.readers(trip, second.id) == {ben}
    assert await chat.readers(other, second.id) == frozenset()
    assert await chat.readers(trip, MessageId(uuid4())) == frozenset()
