"""`Attachments` over every driver; `test_chat.py` covers attachments of messages."""

from datetime import timedelta

import pytest

from nomadcrew.adapters.postgres.attachments import PostgresAttachments
from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import Attachment, AttachmentNotFound, AttachmentUsed
from nomadcrew.core.errors import NotTripMember
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import AttachmentId, MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


@pytest.fixture
def attachments(db: TripDb) -> PostgresAttachments:
    return PostgresAttachments(db.pool)


async def add(
    attachments: PostgresAttachments, trip: TripId, by: UserId, fingerprint: bytes | None = None
) -> Attachment:
    made = Attachment(AttachmentId(uuid7()), FileKind.PDF, 10 * 2**20, "Fahrplan für Grün.pdf")
    return await attachments.add(Access(trip, by, MEMBER), made, fingerprint=fingerprint or uuid7().bytes, now=NOON)


async def test_only_the_uploader_sees_a_file_until_it_is_sent(db: TripDb, attachments: PostgresAttachments) -> None:
    ana, ben, eve = [await db.user(name) for name in ("ana", "ben", "eve")]
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    with pytest.raises(NotTripMember):
        await add(attachments, trip, eve)
    file = await add(attachments, trip, ana)
    assert await attachments.get(Access(trip, ana, MEMBER), file.id) == file
    with pytest.raises(AttachmentNotFound):
        await attachments.get(Access(trip, ben, MEMBER), file.id)
    assert await attachments.claim(trip, file.id, ana, MessageId(uuid7())) == file
    assert await attachments.get(Access(trip, ben, MEMBER), file.id) == file
    with pytest.raises(NotTripMember):
        await attachments.get(Access(trip, eve, MEMBER), file.id)


async def test_a_repeated_upload_returns_the_first_file(db: TripDb, attachments: PostgresAttachments) -> None:
    ana = await db.user("ana")
    trip, fingerprint = await db.trip(ana), uuid7().bytes
    first = await add(attachments, trip, ana, fingerprint)
    assert await add(attachments, trip, ana, fingerprint) == first


async def test_a_file_belongs_to_one_message_and_is_deleted_with_it(
    db: TripDb, attachments: PostgresAttachments
) -> None:
    ana, message = await db.user("ana"), MessageId(uuid7())
    trip = await db.trip(ana)
    file = await add(attachments, trip, ana)
    for _ in range(2):
        assert await attachments.claim(trip, file.id, ana, message) == file
    with pytest.raises(AttachmentUsed):
        await attachments.claim(trip, file.id, ana, MessageId(uuid7()))
    for released in (file.id, None):
        assert await attachments.release(message, now=NOON) == released
        assert await attachments.list_deleted(limit=10) == [(trip, file.id)]
    with pytest.raises(AttachmentNotFound):
        await attachments.claim(trip, file.id, ana, message)
    for _ in range(2):
        await attachments.forget([file.id])
        assert await attachments.list_deleted(limit=10) == []


async def test_an_unused_file_expires(db: TripDb, attachments: PostgresAttachments) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    unused, used = await add(attachments, trip, ana), await add(attachments, trip, ana)
    await attachments.claim(trip, used.id, ana, MessageId(uuid7()))
    assert await attachments.expire(NOON, now=NOON, limit=10) == 0
    later = NOON + timedelta(seconds=1)
    assert [await attachments.expire(later, now=later, limit=10) for _ in range(2)] == [1, 0]
    assert await attachments.list_deleted(limit=10) == [(trip, unused.id)]
