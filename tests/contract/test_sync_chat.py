"""`ChangeLog` with the chat in PostgreSQL and in DynamoDB: its messages are those of `ChatLog`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.chat import DynamoChat
from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable
from nomadcrew.adapters.aws.dynamodb.synced_chat import DynamoSyncedChat
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.attachments import PostgresAttachments
from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.outbox import PostgresEventLog
from nomadcrew.adapters.postgres.sync import PostgresChangeLog
from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints
from nomadcrew.core.access import Access, Command
from nomadcrew.core.chat.model import Message, NewMessage, Reaction, Transcribed
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.ids import EventId, MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN, OWN_OR_ADMIN, Rule
from nomadcrew.core.sync.cursors import Cursor
from nomadcrew.core.sync.model import Kind, SyncedMessage
from nomadcrew.wire.events import unpack
from tests.contract.cloud import Cloud
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, CountingOutbox
from tests.postgres import Postgres


async def _nothing() -> None:
    """The triggers of the database note its changes."""


@dataclass
class Here:
    """A trip of ana and ben, and ben's copy of its chat."""

    db: TripDb
    chat: ChatLog
    log: PostgresChangeLog
    trip: TripId
    ana: UserId
    ben: UserId
    publish: Callable[[], Awaitable[None]] = _nothing
    cursor: Cursor | None = None
    copy: dict[tuple[Kind, UUID], object] = field(default_factory=dict)
    changed: set[UUID] = field(default_factory=set)

    def command(self, by: UserId, rule: Rule = MEMBER) -> Command:
        return Command(self.trip, by, rule, EventId(uuid7()), NOON + timedelta(seconds=9))

    async def post(self, text: str, at_s: int = 0) -> Message:
        now = NOON + timedelta(seconds=at_s)
        new = NewMessage(MessageId(uuid7()), self.trip, self.ana, text, None, [], EventId(uuid7()), now)
        return await self.chat.add(new, MEMBER)

    async def sync(self, limit: int = 100) -> None:
        """Bring the copy up to date, and compare it with the lists of the chat."""
        await self.publish()
        self.changed.clear()
        while True:
            page = await self.log.page(self.ben, self.cursor, trips=None, limit=limit, now=NOON)
            for change in page.changes:
                self.changed.add(change.id)
                self.copy[change.kind, change.id] = change.entity
            self.cursor = page.cursor
            if not page.has_more:
                break
        assert self.entities(Kind.MESSAGE) == await self._messages()
        receipts = await self.chat.list_receipts(self._access)
        assert self.entities(Kind.RECEIPT) == {receipt.reader.id: receipt for receipt in receipts}

    def entities(self, kind: Kind) -> dict[UUID, object]:
        return {id_: entity for (of, id_), entity in self.copy.items() if of is kind and entity is not None}

    @property
    def _access(self) -> Access:
        return Access(self.trip, self.ben, MEMBER)

    async def _messages(self) -> dict[UUID, object]:
        page = await self.chat.before(self._access, None, limit=100)
        transcript = await self.chat.transcript(self._access, None, limit=100)
        reactions = {each.message.id: each.reactions for each in transcript.messages}
        return {one.id: SyncedMessage(one, list(reactions[one.id])) for one in page.messages}


@pytest_asyncio.fixture(loop_scope="session", params=["postgresql", "dynamodb"])
async def here(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> AsyncIterator[Here]:
    connect = await postgres.fresh_database(template)
    database = Database(connect, size=8)
    db = TripDb(database)
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    if request.param == "postgresql":
        yield Here(db, PostgresChat(database, CountingOutbox()), PostgresChangeLog(database), trip, ana, ben)
    else:
        cloud: Cloud = request.getfixturevalue("cloud")
        table = await cloud.chat_table()
        client = cloud.client(DYNAMODB)
        chat = DynamoChat(
            ChatTable(client, table),
            PostgresMembers(database),
            PostgresAttachments(database),
            PostgresSyncPoints(database).note_messages,
        )
        log = PostgresChangeLog(database, DynamoSyncedChat(client, table, max_bytes=700))

        async def publish() -> None:
            """As the fan-out; the stream repeats all that it ever had."""
            events = [unpack(text) for text in cloud.streamed(table, "event") if text]
            await PostgresEventLog(database).record(events)

        yield Here(db, chat, log, trip, ana, ben, publish)
    await database.close()
    await postgres.drop_database(connect)


async def test_each_change_of_the_chat_is_synchronised(here: Here) -> None:
    first, second = await here.post("train at nine"), await here.post("or ten?", 1)
    await here.sync()
    assert {first.id, second.id} <= here.changed
    reaction = Reaction(first.id, here.trip, here.ana, "👍", NOON)
    await here.chat.add_reaction(reaction, MEMBER, EventId(uuid7()))
    await here.chat.mark_read(here.command(here.ben), first.id)
    await here.sync()
    assert {first.id, here.ben} <= here.changed
    await here.chat.edit(here.command(here.ana, OWN), second.id, "at ten")
    await here.chat.mark_read(here.command(here.ben), second.id)
    await here.chat.remove_reaction(reaction, MEMBER, EventId(uuid7()))
    await here.sync()
    await here.chat.delete(here.command(here.ana, OWN_OR_ADMIN), first.id)
    await here.sync()
    assert first.id in here.changed


async def test_a_receipt_ends_with_the_membership(here: Here) -> None:
    message = await here.post("hello")
    await here.chat.mark_read(here.command(here.ana), message.id)
    await here.sync()
    assert set(here.entities(Kind.RECEIPT)) == {here.ana}
    await here.db.run(
        "UPDATE trip_memberships SET status = 'INACTIVE' WHERE user_id = :id::uuid AND trip_id = :trip_id::uuid",
        id=here.ana, trip_id=here.trip,
    )  # fmt: skip
    await here.sync()
    assert here.entities(Kind.RECEIPT) == {}


async def test_a_long_chat_comes_page_by_page(here: Here) -> None:
    for n in range(7):
        await here.post(str(n) * 300, n)
    await here.sync(limit=3)
    assert len(here.entities(Kind.MESSAGE)) == 7


async def test_restored_messages_are_synchronised(here: Here) -> None:
    await here.db.run(
        """INSERT INTO trip_imports (fingerprint, user_id, trip_id, begun_at)
           VALUES ('a', :user_id::uuid, :trip_id::uuid, :now::timestamptz)""",
        user_id=here.ana, trip_id=here.trip, now=NOON,
    )  # fmt: skip
    posted = await here.post("before")
    restored = Message(MessageId(uuid7()), here.trip, posted.sender, "long ago", None, NOON - timedelta(days=9))
    await here.chat.restore(here.trip, [Transcribed(restored)], first_number=1000)
    await here.sync()
    assert len(here.entities(Kind.MESSAGE)) == 2


async def test_messages_from_before_their_changes_were_noted_are_synchronised(here: Here) -> None:
    messages = [await here.post(str(n), n) for n in range(3)]
    await here.chat.mark_read(here.command(here.ana), messages[0].id)
    await here.publish()
    if here.publish is not _nothing:
        await here.db.run("DELETE FROM sync_changes WHERE kind IN ('message', 'receipt')")
        here.publish = _nothing
    for changed in (True, False):
        await here.sync()
        assert len(here.entities(Kind.MESSAGE)) == 3
        assert bool(here.changed) == changed
