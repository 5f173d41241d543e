"""An export of an import equals the archive, for random trips."""

import io
import zipfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nomadcrew.core.archives.model import (
    ArchivedAttachment,
    ArchivedDocument,
    ArchivedEdit,
    ArchivedMessage,
    ArchivedOption,
    ArchivedPerson,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedReaction,
    ArchivedTodo,
    ArchivedTrip,
    ArchivedVote,
)
from nomadcrew.core.archives.views import file_name
from nomadcrew.core.documents.model import DocumentType
from nomadcrew.core.errors import Invalid
from nomadcrew.core.files.metadata import strip_metadata
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import (
    AttachmentId,
    DocumentId,
    MessageId,
    PictureId,
    PollId,
    PollOptionId,
    TodoId,
    TripId,
    UserId,
)
from nomadcrew.core.polls.drafts import text_fault
from nomadcrew.core.polls.model import Answer, Ballot, Kind, PollStatus
from nomadcrew.core.text import comparison_key, is_visible, visible_line
from nomadcrew.core.todos.model import TodoStatus
from nomadcrew.core.todos.service import check_text
from nomadcrew.core.trips.model import Status
from tests.archives import comparable, content
from tests.component.test_archives import ZIP
from tests.postgres import Postgres
from tests.sample_files import JPEG_OF_A_PHONE, PDF
from tests.world import User, World, world

ME = UserId(UUID(int=1))  # the importer, whose id is put in before the import
BEN, CLEO = UserId(UUID(int=2)), UserId(UUID(int=3))
NAMES = {BEN: "Ben", CLEO: "Cléo 🚲"}
PICTURE = strip_metadata(JPEG_OF_A_PHONE)[1]
BEGIN, NOW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)
EMOJI = ("👍", "❤️", "🎉")


def passes(check: Callable[[str], object]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            check(text)
        except Invalid:
            return False
        return True

    return test


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60)
TIMES = st.integers(0, 10**13).map(lambda us: BEGIN + timedelta(microseconds=us))
PEOPLE = st.sampled_from([ME, BEN, CLEO])
MOMENTS = st.lists(TIMES, unique=True, max_size=4).map(sorted)
TODO_TEXT = TEXT.filter(passes(check_text))
POLL_TEXT = TEXT.map(str.strip).filter(lambda text: text_fault("text", text, 200) is None)
DAYS = st.dates(date(2026, 1, 1), date(2030, 1, 1))


@st.composite
def todos(draw: st.DrawFn, at: datetime) -> ArchivedTodo:
    return ArchivedTodo(
        TodoId(uuid4()), draw(TODO_TEXT), draw(st.sampled_from(TodoStatus)), draw(PEOPLE), at, draw(TIMES), None,
        draw(st.none() | TIMES), draw(st.none() | st.floats(-1e9, 1e9)),
    )  # fmt: skip


@st.composite
def polls(draw: st.DrawFn, at: datetime) -> ArchivedPoll:
    kind, ballot = draw(st.sampled_from(Kind)), draw(st.sampled_from(Ballot))
    status = draw(st.sampled_from(PollStatus))
    is_single = kind is Kind.CHOICE and draw(st.booleans())
    voters = [ME] if ballot is Ballot.BLIND and status is PollStatus.ACTIVE else [ME, BEN, CLEO]
    texts = draw(st.lists(POLL_TEXT, min_size=2, max_size=4, unique_by=comparison_key))
    options = []
    for text in texts:
        chosen = draw(st.lists(st.sampled_from(voters), unique=True)) if voters else []
        if is_single:
            voters = [voter for voter in voters if voter not in chosen]
        votes = tuple(
            ArchivedVote(
                voter,
                draw(TIMES),
                draw(st.sampled_from(Answer)) if kind is Kind.DATES else None,
                draw(st.integers(1, 40)) if kind is Kind.RANKED else None,
            )
            for voter in chosen
        )
        first, last = sorted([draw(DAYS), draw(DAYS)]) if kind is Kind.DATES else (None, None)
        options.append(ArchivedOption(PollOptionId(uuid4()), text, draw(PEOPLE), draw(TIMES), first, last, votes))
    is_closed = status is PollStatus.CLOSED
    return ArchivedPoll(
        id=PollId(uuid4()), question=draw(POLL_TEXT), kind=kind, ballot=ballot, status=status,
        created_by=draw(PEOPLE), created_at=at, updated_at=draw(TIMES),
        expires_at=at + timedelta(days=400), options=tuple(options),
        allow_multiple_votes=not is_single, members_add_options=draw(st.booleans()),
        closes_automatically=draw(st.booleans()), closed_by=draw(PEOPLE) if is_closed else None,
        closed_at=draw(TIMES) if is_closed else None,
    )  # fmt: skip


@st.composite
def documents(draw: st.DrawFn, at: datetime) -> ArchivedDocument:
    id_ = DocumentId(uuid4())
    scalars = st.none() | st.booleans() | TEXT | st.integers(-(2**53), 2**53)
    return ArchivedDocument(
        id_, DocumentType.OTHER, draw(TODO_TEXT), FileKind.PDF, len(PDF), at, draw(TIMES), draw(PEOPLE),
        draw(st.none() | TODO_TEXT), draw(st.dictionaries(st.sampled_from(["notes", "provider"]), scalars)),
        file_name("documents", id_, FileKind.PDF),
    )  # fmt: skip


@st.composite
def photos(draw: st.DrawFn, at: datetime) -> ArchivedPhoto:
    id_ = PictureId(uuid4())
    name = file_name("photos", id_, FileKind.JPEG)
    return ArchivedPhoto(id_, FileKind.JPEG, len(PICTURE), at, draw(PEOPLE), name)


@st.composite
def messages(draw: st.DrawFn, at: datetime, earlier: list[MessageId]) -> ArchivedMessage:
    author, id_ = draw(PEOPLE), MessageId(uuid4())
    reply = draw(st.none() | st.sampled_from(earlier)) if earlier else None
    if draw(st.integers(0, 5)) == 0:
        return ArchivedMessage(id_, "Message deleted", at, author, reply, deleted_at=draw(TIMES))
    attachment = None
    if draw(st.integers(0, 3)) == 0:
        file_id = AttachmentId(uuid4())
        attachment = ArchivedAttachment(
            file_id, FileKind.JPEG, len(PICTURE), "beach.jpg", file_name("attachments", file_id, FileKind.JPEG)
        )
    edits = draw(st.lists(TIMES, unique=True, max_size=2)) if author == ME else []
    given = draw(st.lists(st.tuples(PEOPLE, st.sampled_from(EMOJI)), unique=True, max_size=4))
    return ArchivedMessage(
        id_, "" if attachment and draw(st.booleans()) else draw(TEXT.filter(is_visible)), at, author, reply,
        draw(st.none() | TIMES), None,
        tuple(ArchivedEdit(draw(TEXT.filter(is_visible)), edited_at) for edited_at in sorted(edits)),
        tuple(ArchivedReaction(user_id, emoji, draw(TIMES)) for user_id, emoji in given),
        attachment,
    )  # fmt: skip


@st.composite
def archives(draw: st.DrawFn) -> dict[str, Any]:
    """The content of an archive, newest first where lists are, and messages oldest first."""
    first, last = sorted([draw(DAYS), draw(DAYS)])
    trip = ArchivedTrip(
        TripId(uuid4()), draw(TODO_TEXT.filter(is_visible)), draw(st.sampled_from(Status)), first, last,
        "Europe/Lisbon", draw(TIMES), draw(TIMES), draw(st.just("") | TODO_TEXT), None, draw(st.none() | TODO_TEXT),
        draw(st.none() | TODO_TEXT), draw(st.floats(-90, 90)), draw(st.floats(-180, 180)), "", ME,
    )  # fmt: skip
    said: list[ArchivedMessage] = []
    for at in draw(MOMENTS):
        said.append(draw(messages(at, [message.id for message in said])))
    place = ArchivedPlace(
        draw(st.floats(-90, 90)), draw(st.floats(-180, 180)), draw(TODO_TEXT), draw(st.floats(10, 5_000)),
        draw(TIMES), draw(PEOPLE),
    )  # fmt: skip
    made: dict[str, Any] = {
        "format": "nomadcrew-trip", "version": 1, "trip": trip,
        "todos": [draw(todos(at)) for at in reversed(draw(MOMENTS))],
        "polls": [draw(polls(at)) for at in reversed(draw(MOMENTS))],
        "documents": [draw(documents(at)) for at in reversed(draw(MOMENTS))],
        "photos": [draw(photos(at)) for at in reversed(draw(MOMENTS))],
        "messages": said, "positions": [],
    }  # fmt: skip
    return made | ({"meetingPoint": place} if draw(st.booleans()) else {})


def archive_of(made: dict[str, Any], me: User) -> bytes:
    """The ZIP, with the people who are named and the importer."""
    text = msgspec.json.encode(made).decode()
    people = [ArchivedPerson(id_, NAMES[id_]) for id_ in NAMES if str(id_) in text]
    people.append(ArchivedPerson(ME, me.username.title()))
    text = msgspec.json.encode(made | {"people": people}).decode().replace(str(ME), str(me.id))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("trip.json", text)
        for document in made["documents"]:
            archive.writestr(document.file, PDF)
        for photo in made["photos"]:
            archive.writestr(photo.file, PICTURE)
        for message in made["messages"]:
            if message.attachment is not None:
                archive.writestr(message.attachment.file, PICTURE)
    return target.getvalue()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, User]]:
    home = tmp_path_factory.mktemp("archives")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made, await made.user("ana")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(made=archives())
async def test_an_export_of_an_import_equals_the_archive(made: dict[str, Any], here: tuple[World, User]) -> None:
    server, ana = here
    archive = archive_of(made, ana)
    reply = await server.call("POST", "/v1/trips:import", by=ana, raw=archive, headers=ZIP)
    assert reply.status == 201, reply.body
    trip = reply.json["trip"]["id"]
    exported = await server.call("GET", f"/v1/trips/{trip}/export", by=ana)
    copy = content(exported.body)
    assert comparable(copy) == comparable(content(archive))
    assert {visible_line(person["name"]) for person in copy["people"]} >= {ana.username.title()}
    await server.call("DELETE", f"/v1/trips/{trip}", by=ana)
