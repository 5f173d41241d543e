"""`TripImports` and `TripExports` over every driver."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.postgres.archives import PostgresTripImports
from nomadcrew.adapters.postgres.documents import PostgresDocuments
from nomadcrew.adapters.postgres.exports import PostgresTripExports
from nomadcrew.adapters.postgres.integrity import PostgresIntegrity
from nomadcrew.adapters.postgres.locations import PostgresMeetingPoints
from nomadcrew.adapters.postgres.pictures import PostgresPictures
from nomadcrew.adapters.postgres.polls import PostgresPolls
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.todos import PostgresTodos
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access
from nomadcrew.core.archives.errors import ImportInterrupted, UploadNotFound
from nomadcrew.core.archives.ports import (
    Export,
    ImportedAttachment,
    ImportedDocument,
    ImportedPerson,
    ImportedPhoto,
    NewImport,
    Parts,
    PendingExport,
)
from nomadcrew.core.chat.model import Attachment
from nomadcrew.core.documents.model import Document, DocumentType
from nomadcrew.core.documents.ports import WalletAccess
from nomadcrew.core.errors import Conflict, NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import (
    AttachmentId,
    DocumentId,
    EventId,
    ExportId,
    MembershipId,
    MessageId,
    PictureId,
    PollOptionId,
    TodoId,
    TripId,
    UploadId,
    UserId,
    uuid7,
)
from nomadcrew.core.locations.model import MeetingPoint
from nomadcrew.core.permissions import MEMBER
from nomadcrew.core.polls.model import Answer, Applied, Days, Kind, Option, PollStatus, Target, Vote
from nomadcrew.core.todos.model import Todo, TodoStatus
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER
from tests.contract.polls import a_poll
from tests.contract.trip_database import TripDb, a_trip
from tests.fakes import NOON

DAY = timedelta(days=1)
LONG_AGO = NOON - 400 * DAY


@dataclass
class Here:
    db: TripDb
    imports: PostgresTripImports
    ana: UserId
    ben: UserId  # a name

    def new(self, key: bytes = b"f", **fields: object) -> NewImport:
        made = NewImport(TripId(uuid7()), a_trip(), LONG_AGO, LONG_AGO, self.ana, key, NOON)
        return replace(made, **fields)

    async def begin(self, key: bytes = b"f", **fields: object) -> NewImport:
        new = self.new(key, **fields)
        return replace(new, trip_id=(await self.imports.begin(new)).trip_id)

    async def finish(self, new: NewImport, documents: int = 0, attachments: int = 0, photos: int = 0) -> None:
        stored = Parts(documents, photos, attachments)
        await self.imports.finish(new, stored, membership_id=MembershipId(uuid7()), event_id=EventId(uuid7()))

    def access(self, new: NewImport) -> Access:
        return Access(new.trip_id, self.ana, MEMBER)


@pytest.fixture
def imports(db: TripDb) -> PostgresTripImports:
    return PostgresTripImports(db.pool)


async def prepare(db: TripDb) -> Here:
    return Here(db, PostgresTripImports(db.pool), await db.user("ana"), UserId(uuid4()))


async def test_a_trip_appears_with_its_owner_when_the_import_is_finished(db: TripDb) -> None:
    here = await prepare(db)
    new = await here.begin()
    with pytest.raises(NotTripMember):
        await PostgresTrips(db.pool).get(here.access(new))
    await here.finish(new)
    await here.finish(new)
    trip = await PostgresTrips(db.pool).get(here.access(new))
    assert (trip.name, trip.created_at, trip.created_by, trip.member_count) == ("Porto", LONG_AGO, here.ana, 1)
    assert [(member.user_id, member.role) for member in trip.members] == [(here.ana, "OWNER")]
    assert await db.types() == ["TRIP_CREATED"]
    page = await PostgresTrips(db.pool).list_for_user(here.ana)
    assert [card.id for card in page.trips] == [trip.id]


async def test_the_counts_of_a_trip_are_right_during_and_after_its_import(db: TripDb) -> None:
    here, integrity = await prepare(db), PostgresIntegrity(db.pool)
    new = await here.begin()
    assert list(await integrity.find_faults(limit=10)) == []
    await here.finish(new)
    assert list(await integrity.find_faults(limit=10)) == []


async def test_the_same_archive_continues_or_returns_its_trip_for_a_day(db: TripDb) -> None:
    here = await prepare(db)
    first = await here.begin()
    assert (await here.begin()).trip_id == first.trip_id
    await here.finish(first)
    begun = await here.imports.begin(here.new())
    assert (begun.trip_id, begun.is_finished) == (first.trip_id, True)
    other = await here.imports.begin(here.new(b"another"))
    assert (other.trip_id != first.trip_id, other.is_finished) == (True, False)
    later = await here.imports.begin(here.new(now=NOON + DAY))
    assert (later.trip_id != first.trip_id, later.is_finished) == (True, False)


async def test_an_attempt_that_another_one_replaced_is_interrupted(db: TripDb) -> None:
    here = await prepare(db)
    first = await here.begin()
    second = await here.begin(now=NOON + DAY)
    with pytest.raises(ImportInterrupted):
        await here.finish(first)
    await here.finish(second)


async def test_users_without_a_profile_or_with_too_many_trips_are_refused(db: TripDb) -> None:
    here = await prepare(db)
    with pytest.raises(NotOnboarded):
        await here.imports.begin(here.new(caller=UserId(uuid4())))
    pending = await here.begin()
    await db.run(
        "INSERT INTO trips (id, name, destination_latitude, destination_longitude, start_date, end_date, status,"
        " created_at, updated_at) SELECT gen_random_uuid(), 'x', 0, 0, '2020-01-01', '2020-01-01', 'PLANNING',"
        " :now::timestamptz, :now::timestamptz FROM generate_series(1, :count::int)",
        now=NOON, count=MAX_TRIPS_PER_USER,
    )  # fmt: skip
    await db.run(
        "INSERT INTO trip_memberships (id, trip_id, user_id, role, status, created_at, updated_at, joined_at)"
        " SELECT gen_random_uuid(), t.id, :user::uuid, 'MEMBER', 'ACTIVE', t.created_at, t.created_at, t.created_at"
        " FROM trips t WHERE t.deleted_at IS NULL",
        user=here.ana,
    )
    with pytest.raises(Conflict):
        await here.imports.begin(here.new(b"another"))
    with pytest.raises(Conflict):
        await here.finish(pending)


async def test_everything_is_stored_once_and_read_back(db: TripDb) -> None:
    here = await prepare(db)
    new = await here.begin()
    trip, ana, ben = new.trip_id, here.ana, here.ben
    todo = Todo(TodoId(uuid4()), trip, "pack", TodoStatus.COMPLETE, ben, LONG_AGO, NOON, ana, NOON, 1.5)
    option = PollOptionId(uuid4())
    dates = a_poll(
        trip, ben, at=LONG_AGO, kind=Kind.DATES, allow_multiple_votes=True, status=PollStatus.CLOSED,
        closed_by=ana, closed_at=NOON, applied=Applied(Target.TODO, option, NOON, todo.id),
    )  # fmt: skip
    days = Days(new.trip.start_date, new.trip.end_date)
    options = [Option(option, "1 Dec", 0, ben, LONG_AGO, days, (Vote(ana, NOON, Answer.YES),))]
    poll = replace(dates, options=options)
    single = a_poll(trip, ana, ("bus", "train"), at=LONG_AGO - DAY)
    document = Document(
        DocumentId(uuid4()), ben, trip, DocumentType.OTHER, "Map", None, {"notes": "n"}, FileKind.PDF, 10,
        LONG_AGO, NOON,
    )  # fmt: skip
    point = MeetingPoint(41.1, -8.6, "Station", 100.0, ben, LONG_AGO)
    attachment = Attachment(AttachmentId(uuid4()), FileKind.PNG, 5, "a.png")
    photo = ImportedPhoto(PictureId(uuid4()), ben, FileKind.JPEG, 7, LONG_AGO)
    for _ in range(2):
        await here.imports.add_people(trip, [ImportedPerson(ben, "Ben")], now=NOON)
        await here.imports.add_todos(trip, [todo])
        await here.imports.add_polls(trip, [poll, single])
        await here.imports.add_documents(trip, [ImportedDocument(document, None)])
        await here.imports.add_photo(trip, photo)
        await here.imports.add_attachments(
            trip, [ImportedAttachment(attachment, MessageId(uuid4()), ben, LONG_AGO)]
        )
        await here.imports.add_meeting_point(trip, point)
    await here.finish(new, 1, 1, 1)
    access = here.access(new)
    assert list((await PostgresTodos(db.pool).page(access, limit=10)).items) == [todo]
    polls = await PostgresPolls(db.pool).page(access, limit=10)
    assert [replace(stored, options=list(stored.options)) for stored in polls.items] == [poll, single]
    wallet = await PostgresDocuments(db.pool).page(WalletAccess(trip, ana, MEMBER), limit=10)
    assert [replace(stored, updated_at=NOON) for stored in wallet.items] == [document]
    [shown] = await PostgresPictures(db.pool).page(access, limit=10)
    assert (shown.id, shown.user_id, shown.created_at, shown.status) == (photo.id, ben, LONG_AGO, "processing")
    assert await PostgresMeetingPoints(db.pool).get(access) == point
    assert (await PostgresProfiles(db.pool).get(ben, ana)).display_name == "Ben"
    # Nothing is added to a finished trip.
    await here.imports.add_todos(trip, [replace(todo, id=TodoId(uuid4()))])
    assert (await PostgresTodos(db.pool).page(access, limit=10)).total == 1
    assert sorted(await db.types()) == ["TRIP_CREATED", "picture.imported"]


async def test_an_import_whose_files_were_swept_is_interrupted(db: TripDb) -> None:
    here = await prepare(db)
    new = await here.begin()
    document = Document(
        DocumentId(uuid4()),
        here.ana,
        new.trip_id,
        DocumentType.OTHER,
        "Map",
        None,
        {},
        FileKind.PDF,
        10,
        NOON,
        NOON,
    )
    await here.imports.add_documents(new.trip_id, [ImportedDocument(document, None)])
    documents = PostgresDocuments(db.pool)
    assert await documents.expire(NOON, now=NOON, limit=10) == 1
    with pytest.raises(ImportInterrupted):
        await here.finish(new, 1)
    await here.imports.add_documents(new.trip_id, [ImportedDocument(document, None)])
    await here.finish(new, 1)
    assert (await documents.page(WalletAccess(new.trip_id, here.ana, MEMBER), limit=10)).total == 1


async def test_an_export_is_found_by_its_user_until_it_is_forgotten(db: TripDb) -> None:
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    exports, access = PostgresTripExports(db.pool), Access(trip, ana, MEMBER)
    hour_ago = NOON - timedelta(hours=1)
    assert await exports.recent(access, with_files=True, since=hour_ago) is None
    export_id = ExportId(uuid7())
    await exports.add(access, export_id, with_files=True, now=NOON)
    assert await exports.recent(access, with_files=True, since=hour_ago) == Export(export_id, False, False)
    for by, with_files, since in ((ben, True, hour_ago), (ana, False, hour_ago), (ana, True, NOON)):
        assert await exports.recent(Access(trip, by, MEMBER), with_files=with_files, since=since) is None
    assert await exports.pending(export_id) == PendingExport(trip, ana, with_files=True)
    for _ in range(2):
        await exports.complete(export_id, 100, EventId(uuid7()), now=NOON)
    assert await exports.recent(access, with_files=True, since=hour_ago) == Export(export_id, True, False)
    assert await exports.pending(export_id) is None
    [told] = [event for event in await db.events() if event["type"] == "trip.exported"]
    assert (told["recipient"], told["audience"]) == (ana, "internal")
    assert told["payload"] == {
        "exportId": str(export_id), "tripId": str(trip), "userId": str(ana), "files": True, "sizeBytes": 100,
    }  # fmt: skip
    assert list(await exports.expired(NOON, limit=10)) == []
    assert list(await exports.expired(NOON + DAY, limit=10)) == [export_id]
    await exports.forget([export_id])
    assert await exports.recent(access, with_files=True, since=hour_ago) is None


async def test_an_export_that_is_too_large_is_refused_once(db: TripDb) -> None:
    ana = await db.user("ana")
    trip = await db.trip(ana)
    exports, access, export_id = PostgresTripExports(db.pool), Access(trip, ana, MEMBER), ExportId(uuid7())
    await exports.add(access, export_id, with_files=True, now=NOON)
    await exports.refuse(export_id)
    assert await exports.recent(access, with_files=True, since=NOON - DAY) == Export(export_id, False, True)
    assert await exports.pending(export_id) is None
    with pytest.raises((NotTripMember, NotFound)):
        await exports.recent(Access(trip, await db.user("eve"), MEMBER), with_files=True, since=NOON)


async def test_an_upload_belongs_to_its_user_for_an_hour(db: TripDb) -> None:
    here = await prepare(db)
    eve, upload_id, hour_ago = await db.user("eve"), UploadId(uuid4()), NOON - timedelta(hours=1)
    for _ in range(2):
        await here.imports.reserve_upload(upload_id, 100, here.ana, now=NOON)
    assert await here.imports.get_upload(upload_id, here.ana, since=hour_ago) == 100
    for user, since in ((eve, hour_ago), (here.ana, NOON)):
        with pytest.raises(UploadNotFound):
            await here.imports.get_upload(upload_id, user, since=since)
    with pytest.raises(NotOnboarded):
        await here.imports.reserve_upload(UploadId(uuid4()), 100, UserId(uuid4()), now=NOON)
    assert list(await here.imports.expired_uploads(NOON, limit=10)) == []
    assert list(await here.imports.expired_uploads(NOON + DAY, limit=10)) == [upload_id]
    await here.imports.forget_uploads([upload_id])
    assert list(await here.imports.expired_uploads(NOON + DAY, limit=10)) == []
