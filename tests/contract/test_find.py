"""`Finder` with messages in PostgreSQL and in DynamoDB."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.chat import DynamoChat
from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable
from nomadcrew.adapters.aws.find import TwoStoreFinder
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.attachments import PostgresAttachments
from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.documents import PostgresDocuments
from nomadcrew.adapters.postgres.find import PostgresFinder
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.polls import PostgresPolls
from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.model import NewMessage, words_of
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.documents.model import Description, DocumentType, NewDocument, Trace
from nomadcrew.core.documents.ports import DocumentAccess, WalletAccess
from nomadcrew.core.errors import NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.find.model import Found, Kind
from nomadcrew.core.find.ports import Finder
from nomadcrew.core.ids import AuditId, DocumentId, EventId, MessageId, PollOptionId, TodoId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN, OWN_OR_ADMIN
from nomadcrew.core.polls.model import Option, Poll
from nomadcrew.core.todos.model import Todo, TodoChange
from tests.contract.cloud import Cloud
from tests.contract.polls import a_poll
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, CountingOutbox
from tests.postgres import Postgres


@dataclass
class Here:
    """A trip of ana and ben. Each thing is a second later than the one before."""

    db: TripDb
    chat: ChatLog
    finder: Finder
    trip: TripId
    ana: UserId
    ben: UserId
    now: datetime = NOON

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def command(self) -> Command:
        return Command(self.trip, self.ana, OWN_OR_ADMIN, EventId(uuid7()), self.tick())

    async def todo(self, text: str, trip: TripId | None = None) -> Todo:
        now = self.tick()
        todo = Todo(TodoId(uuid7()), trip or self.trip, text, "INCOMPLETE", self.ana, now, now, None, None, None)
        todos = PostgresTodos(self.db.pool)
        return await todos.add(todo, MEMBER, EventId(uuid7()), now=now, fingerprint=uuid7().bytes)

    async def poll(self, question: str, *options: str) -> Poll:
        poll = a_poll(self.trip, self.ana, options, at=self.tick(), question=question)
        polls = PostgresPolls(self.db.pool)
        return await polls.add(poll, MEMBER, EventId(uuid7()), now=self.now, fingerprint=uuid7().bytes)

    async def message(self, text: str) -> MessageId:
        id_ = MessageId(uuid7())
        new = NewMessage(id_, self.trip, self.ben, text, None, [], EventId(uuid7()), self.tick())
        await self.chat.add(new, MEMBER)
        return id_

    async def document(self, name: str, trip: TripId | None, *, is_stored: bool = True) -> DocumentId:
        documents, now = PostgresDocuments(self.db.pool), self.tick()
        described = Description(DocumentType.OTHER, name, None, {}, None)
        new = NewDocument(DocumentId(uuid7()), trip, described, FileKind.PDF, 100)
        await documents.reserve(WalletAccess(trip, self.ana, MEMBER), new, fingerprint=uuid7().bytes, now=now)
        if is_stored:
            access = DocumentAccess(new.id, self.ana, MEMBER)
            await documents.complete(access, FileKind.PDF, 100, EventId(uuid7()), a_trace(now))
        return new.id

    async def find(self, query: str, *, limit: int = 10, by: UserId | None = None) -> Found:
        access = Access(self.trip, by or self.ana, MEMBER)
        return await self.finder.find(access, words_of(query), limit=limit)

    async def ids(self, query: str) -> list[tuple[Kind, UUID]]:
        return [(match.kind, match.id) for match in (await self.find(query)).matches]


def a_trace(now: datetime) -> Trace:
    return Trace(AuditId(uuid7()), "203.0.113.7", "a phone", now)


@pytest_asyncio.fixture(loop_scope="session", params=["postgresql", "dynamodb"])
async def here(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> AsyncIterator[Here]:
    connect = await postgres.fresh_database(template)
    database = Database(connect, size=8)
    db = TripDb(database)
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    if request.param == "postgresql":
        yield Here(db, PostgresChat(database, CountingOutbox()), PostgresFinder(database), trip, ana, ben)
    else:
        cloud: Cloud = request.getfixturevalue("cloud")
        table = ChatTable(cloud.client(DYNAMODB), await cloud.chat_table())
        chat = DynamoChat(
            table,
            PostgresMembers(database),
            PostgresAttachments(database),
            PostgresSyncPoints(database).note_messages,
        )
        yield Here(db, chat, TwoStoreFinder(PostgresFinder(database), chat), trip, ana, ben)
    await database.close()
    await postgres.drop_database(connect)


async def test_every_kind_is_found_by_its_texts_in_the_order_of_the_kinds(here: Here) -> None:
    message = await here.message("the café by the river")
    todo = await here.todo("book the cafe")
    poll = await here.poll("Where do we eat?", "at home", "CAFÉ Nicola")
    document = await here.document("Bill of the Café", here.trip)
    await here.todo("pack")
    await here.message("packed")
    await here.db.run(
        "UPDATE user_profiles SET last_name = 'Café', last_name_search = 'cafe' WHERE id = :id::uuid", id=here.ben
    )
    found = await here.find("cafe")
    assert [(match.kind, match.id, match.user_id) for match in found.matches] == [
        (Kind.MEMBER, here.ben, here.ben), (Kind.DOCUMENT, document, here.ana), (Kind.POLL, poll.id, here.ana),
        (Kind.TODO, todo.id, here.ana), (Kind.MESSAGE, message, here.ben),
    ]  # fmt: skip
    assert [match.text for match in found.matches] == [
        "ben Café · ben", "Bill of the Café", "Where do we eat? · at home · CAFÉ Nicola", "book the cafe",
        "the café by the river",
    ]  # fmt: skip
    assert [match.created_at for match in found.matches[1:]] == [
        NOON + timedelta(seconds=second) for second in (4, 3, 2, 1)
    ]
    assert found.more == frozenset()


@pytest.mark.parametrize(("text", "query"), [
    ("Caf\u00e9", "cafe\u0301"), ("ΚΑΛΗΜΕΡΑ ΝΙΚΟΣ", "νίκος"), ("Straße", "STRASSE"), ("Łódź", "lodz"),
    ("ca\u00adf\u200be", "cafe"), ("100% sure_thing", "0% e_t"), (r"C:\maps", r":\m"),
])  # fmt: skip
async def test_every_kind_is_found_by_any_spelling(here: Here, text: str, query: str) -> None:
    todo, poll = await here.todo(text), await here.poll("Which?", text)
    document, message = await here.document(text, here.trip), await here.message(text)
    expected = [
        (Kind.DOCUMENT, document), (Kind.POLL, poll.id), (Kind.TODO, todo.id), (Kind.MESSAGE, message)
    ]  # fmt: skip
    assert await here.ids(query) == expected


async def test_a_result_has_all_words_in_any_order_and_not_only_some(here: Here) -> None:
    todo, poll = await here.todo("sell the old tent"), await here.poll("Which tent?", "the old one", "a new one")
    await here.todo("an old boat")
    message = await here.message("our tent is not old")
    await here.message("a tent")
    assert await here.ids("old tent") == [(Kind.POLL, poll.id), (Kind.TODO, todo.id), (Kind.MESSAGE, message)]


async def test_changed_texts_are_found_by_their_new_words_only(here: Here) -> None:
    todo, poll, document = (
        await here.todo("old"), await here.poll("old?", "a", "b"), await here.document("old", here.trip)
    )  # fmt: skip
    await PostgresTodos(here.db.pool).change(here.command(), todo.id, TodoChange(text="né"))
    await PostgresPolls(here.db.pool).change(here.command(), poll.id, "né?")
    await PostgresDocuments(here.db.pool).change(
        DocumentAccess(document, here.ana, OWN),
        lambda _: Description(DocumentType.OTHER, "né", None, {}, None),
        a_trace(here.tick()),
    )
    assert await here.ids("ne") == [(Kind.DOCUMENT, document), (Kind.POLL, poll.id), (Kind.TODO, todo.id)]
    assert await here.ids("old") == []


async def test_a_to_do_whose_status_changes_keeps_its_words(here: Here) -> None:
    todo = await here.todo("né")
    await PostgresTodos(here.db.pool).change(here.command(), todo.id, TodoChange(position=1.0))
    assert await here.ids("ne") == [(Kind.TODO, todo.id)]


async def test_an_option_that_was_added_later_is_found(here: Here) -> None:
    poll = await here.poll("Which?", "a", "b")
    await here.db.run("UPDATE polls SET members_add_options = true")
    option = Option(PollOptionId(uuid7()), "Évora", 0, here.ana, here.now)
    await PostgresPolls(here.db.pool).add_option(here.command(), poll.id, option)
    assert await here.ids("evora") == [(Kind.POLL, poll.id)]


async def test_deleted_and_foreign_things_are_not_found(here: Here) -> None:
    todo, poll = await here.todo("treasure"), await here.poll("treasure?", "a", "b")
    document, message = await here.document("treasure", here.trip), await here.message("treasure")
    elsewhere = await here.db.trip(here.ana)
    await here.todo("treasure", elsewhere)
    await here.document("treasure", elsewhere)
    await here.document("treasure", None)
    await here.document("treasure", here.trip, is_stored=False)
    await PostgresTodos(here.db.pool).delete(here.command(), todo.id)
    await PostgresPolls(here.db.pool).delete(here.command(), poll.id)
    access = DocumentAccess(document, here.ana, OWN)
    await PostgresDocuments(here.db.pool).delete(access, EventId(uuid7()), a_trace(here.tick()))
    await here.chat.delete(here.command(), message)
    await here.db.leave(here.trip, here.ben, here.ana)
    assert await here.ids("treasure") == []
    assert await here.ids("ben") == []


@pytest.mark.parametrize("query", ["t_nt", "t%t", r"te\nt"])
async def test_patterns_are_words(here: Here, query: str) -> None:
    await here.todo("tent")
    await here.message("tent")
    assert await here.ids(query) == []


async def test_mail_addresses_of_members_are_not_searched(here: Here) -> None:
    assert await here.ids("example") == []


async def test_of_each_kind_the_newest_are_returned_and_the_reply_says_which_have_more(here: Here) -> None:
    todos = [await here.todo(f"buy {n}") for n in range(4)]
    messages = [await here.message(f"buy {n}") for n in range(3)]
    poll = await here.poll("What to buy?", "a", "b")
    found = await here.find("buy", limit=2)
    assert [match.id for match in found.matches] == [
        poll.id, todos[3].id, todos[2].id, messages[2], messages[1]
    ]  # fmt: skip
    assert found.more == {Kind.TODO, Kind.MESSAGE}
    found = await here.find("buy", limit=4)
    assert (len(found.matches), found.more) == (8, frozenset())


async def test_only_members_of_the_trip_find_anything(here: Here) -> None:
    await here.todo("treasure")
    outsider = await here.db.user("eve")
    for caller, refusal in ((outsider, NotTripMember), (UserId(uuid7()), NotOnboarded)):
        with pytest.raises(refusal):
            await here.find("treasure", by=caller)
    await here.db.run("UPDATE trips SET deleted_at = now() WHERE id = :id::uuid", id=here.trip)
    with pytest.raises(NotFound):
        await here.find("treasure")


async def test_rows_that_the_former_version_inserts_are_found(here: Here) -> None:
    ids = [uuid7() for _ in range(3)]
    await here.db.run(
        """WITH todo AS (
               INSERT INTO todos (id, trip_id, text, status, created_by, created_at, updated_at)
               VALUES (:todo::uuid, :trip::uuid, 'Old Tent', 'COMPLETE', :ana::uuid, now(), now())
           ), poll AS (
               INSERT INTO polls (id, trip_id, question, kind, ballot, allow_multiple_votes, members_add_options,
                                  closes_automatically, status, created_by, expires_at, created_at, updated_at)
               VALUES (:poll::uuid, :trip::uuid, 'Old?', 'choice', 'open', false, false, false, 'ACTIVE',
                       :ana::uuid, now() + interval '1 day', now(), now())
           ), option AS (
               INSERT INTO poll_options (id, poll_id, text, text_key, position, created_by, created_at)
               VALUES (:poll::uuid, :poll::uuid, 'Tent', 'tent', 0, :ana::uuid, now())
           )
           INSERT INTO documents (id, user_id, trip_id, type, name, metadata, media_type, size_bytes, created_at,
                                  updated_at, stored_at)
           VALUES (:document::uuid, :ana::uuid, :trip::uuid, 'other', 'Old Tent', '{}', 'application/pdf', 1, now(),
                   now(), now())""",
        document=ids[0], poll=ids[1], todo=ids[2], trip=here.trip, ana=here.ana,
    )  # fmt: skip
    assert [id_ for _, id_ in await here.ids("old tent")] == ids


async def test_the_oldest_of_a_long_history_are_not_searched(postgres: Postgres, template: str) -> None:
    connect = await postgres.fresh_database(template)
    database = Database(connect, size=2)
    db = TripDb(database)
    ana = await db.user("ana")
    trip = await db.trip(ana)
    chat, finder = PostgresChat(database, CountingOutbox()), PostgresFinder(database, searched=2, searched_polls=2)
    here = Here(db, chat, finder, trip, ana, ana)
    for n in range(3):
        await here.todo(f"buy {n}")
        await here.poll(f"Shall we buy {n}?", "a", "b")
        await here.message(f"buy {n}")
        assert (await here.find("nothing")).more == ({Kind.MESSAGE} if n == 2 else frozenset())
    found = await here.find("buy")
    assert [match.text.strip("?")[:13] for match in found.matches] == [
        "Shall we buy ", "Shall we buy ", "buy 2", "buy 1", "buy 2", "buy 1",
    ]  # fmt: skip
    assert found.more == {Kind.MESSAGE}
    await database.close()
    await postgres.drop_database(connect)
