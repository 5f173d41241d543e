"""Exports a trip as its caller may see it, page by page.

A new kind of content is a member of `_SECTIONS`, a struct of `model.py`, and a reader in `importing.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.core.access import Access
from nomadcrew.core.archives.model import (
    CALENDAR,
    FORMAT,
    FORMER_MEMBER,
    PLACES,
    TODOS,
    TRACK,
    TRIP,
    VERSION,
    ArchivedMessage,
    ArchivedPerson,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedTodo,
    ArchivedTrip,
    Head,
)
from nomadcrew.core.archives.packing import JsonText, Packing, TextEntry
from nomadcrew.core.archives.texts import GPX_END, csv_head, csv_todo, geojson, gpx_begin, gpx_point
from nomadcrew.core.archives.views import (
    archived_document,
    archived_message,
    archived_photo,
    archived_place,
    archived_point,
    archived_poll,
    archived_todo,
    archived_trip,
)
from nomadcrew.core.calendars.model import MAX_TODOS, CalendarEntries, CalendarTodo, CalendarTrip
from nomadcrew.core.chat.model import Transcribed
from nomadcrew.core.chat.model import key_of as attachment_key
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.documents.model import Document, FileGrant
from nomadcrew.core.documents.model import key_of as document_key
from nomadcrew.core.documents.ports import Documents, WalletAccess
from nomadcrew.core.documents.service import Client
from nomadcrew.core.errors import NotFound
from nomadcrew.core.files.model import MAX_FILE_BYTES
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import AuditId, TripId, UserId, derived_id
from nomadcrew.core.locations.model import MAX_AHEAD, MAX_READ
from nomadcrew.core.locations.ports import MeetingPoints, Positions
from nomadcrew.core.locations.privacy import VisiblePosition, visible_position
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Role, rule
from nomadcrew.core.pictures.model import Picture, original_key
from nomadcrew.core.pictures.ports import Pictures
from nomadcrew.core.polls.ports import Polls
from nomadcrew.core.polls.service import list_polls
from nomadcrew.core.retention import POSITION_RETENTION
from nomadcrew.core.todos.ports import Todos
from nomadcrew.core.todos.service import list_todos
from nomadcrew.core.trips.model import Trip
from nomadcrew.core.trips.ports import Trips
from nomadcrew.core.trips.service import get_trip
from nomadcrew.core.users.ports import Profiles

PAGE = 100
# A store thins a track with too many points, which is then read in shorter spans, down to this one.
SHORTEST_SPAN = timedelta(minutes=1)

# Writes the entries as an iCalendar stream.
WriteCalendar = Callable[[CalendarEntries], bytes]


class TripSources(Struct, frozen=True):
    """The ports that an export reads."""

    trips: Trips
    todos: Todos
    polls: Polls
    chat: ChatLog
    documents: Documents
    positions: Positions
    meeting_points: MeetingPoints
    profiles: Profiles
    files: Files  # attachments
    document_files: Files
    pictures: Pictures
    picture_files: Files


class ExportRequest(Struct, frozen=True):
    """A caller's request for an archive, at a time; `max_bytes` None means any size."""

    trip_id: TripId
    caller: UserId
    client: Client
    now: datetime
    with_files: bool = True
    max_bytes: int | None = None

    def access(self, resource: str) -> Access:
        return Access(self.trip_id, self.caller, rule(resource, "read"))


async def export_trip(
    request: ExportRequest, target: BinaryIO, *, sources: TripSources, write_calendar: WriteCalendar
) -> None:
    """Write the archive of a trip to `target`.

    It is not a snapshot: a change during the export may be in it or not.

    Raises:
        TooLarge: the archive exceeds `max_bytes`.
        DomainError: the caller may not read the trip.
    """
    trip = await get_trip(request.trip_id, request.caller, trips=sources.trips)
    texts = {name: TextEntry() for name in (TRIP, CALENDAR, TRACK, PLACES, TODOS)}
    with Packing(target, texts, request.now, request.max_bytes) as packing:
        export = _Export(request, sources, trip, texts, packing)
        await export.run()
        texts[CALENDAR].write(await asyncio.to_thread(write_calendar, export.calendar_entries()))
        await asyncio.to_thread(packing.finish)


class _Export:
    def __init__(
        self,
        request: ExportRequest,
        sources: TripSources,
        trip: Trip,
        texts: dict[str, TextEntry],
        packing: Packing,
    ) -> None:
        self._request = request
        self._sources = sources
        self._trip: ArchivedTrip = archived_trip(trip)
        self._texts = texts
        self._packing = packing
        self._json = JsonText(texts[TRIP])
        self._people = {
            member.user_id: ArchivedPerson(member.user_id, member.name, Role(member.role), member.created_at)
            for member in trip.members
        }
        self._due: list[CalendarTodo] = []

    async def run(self) -> None:
        request = self._request
        self._json.members_of(Head(FORMAT, VERSION, request.now, request.caller))
        self._json.member("trip", self._trip)
        if self._trip.created_by is not None:
            await self._name(self._trip.created_by)
        place = await self._meeting_point()
        if place is not None:
            self._json.member("meetingPoint", place)
        self._texts[PLACES].write(geojson(self._trip, place))
        for key, write in _SECTIONS:
            self._json.begin_list(key)
            await write(self)
            self._json.end_list()
        self._json.begin_list("people")
        for person in self._people.values():
            self._json.item(person)
        self._json.end_list()
        self._json.end()

    async def _meeting_point(self) -> ArchivedPlace | None:
        try:
            point = await self._sources.meeting_points.get(self._request.access("meeting_point"))
        except NotFound:
            return None
        if point.set_by is not None:
            await self._name(point.set_by)
        return archived_place(point)

    async def todos(self) -> None:
        self._texts[TODOS].write(csv_head())
        after, more = None, True
        while more:
            page = await list_todos(
                self._request.trip_id, self._request.caller, todos=self._sources.todos, limit=PAGE, after=after
            )
            for todo in map(archived_todo, page.items):
                await self._todo(todo)
            self._packing.check()
            more = len(page.items) == PAGE
            after = After(page.items[-1].created_at, page.items[-1].id) if more else None

    async def _todo(self, todo: ArchivedTodo) -> None:
        self._json.item(todo)
        creator = await self._name(todo.created_by)
        assignee = None if todo.assignee_id is None else await self._name(todo.assignee_id)
        self._texts[TODOS].write(csv_todo(todo, (creator, assignee)))
        if todo.due_at is not None and len(self._due) < MAX_TODOS:
            self._due.append(
                CalendarTodo(todo.id, self._trip.name, todo.text, todo.status, todo.due_at, todo.updated_at)
            )

    async def polls(self) -> None:
        request, after, more = self._request, None, True
        while more:
            page = await list_polls(
                request.trip_id, request.caller, polls=self._sources.polls, now=request.now, limit=PAGE, after=after
            )
            for poll in map(archived_poll, page.items):
                for user_id in _people_of(poll):
                    await self._name(user_id)
                self._json.item(poll)
            self._packing.check()
            after, more = page.last, page.last is not None

    async def documents(self) -> None:
        access = WalletAccess(self._request.trip_id, self._request.caller, rule("document", "read"))
        after, more = None, True
        while more:
            page = await self._sources.documents.page(access, limit=PAGE, after=after)
            for document in page.items:
                await self._document(document)
            more = len(page.items) == PAGE
            after = After(page.items[-1].created_at, page.items[-1].id) if more else None

    async def _document(self, document: Document) -> None:
        archived = archived_document(document, with_files=self._request.with_files)
        if archived.file is not None and not await self._document_file(document, archived.file):
            return  # it was deleted meanwhile
        if document.user_id is not None:
            await self._name(document.user_id)
        self._json.item(archived)

    async def _document_file(self, document: Document, name: str) -> bool:
        """Add the file, with an entry in the document's audit; False if it is gone."""
        request = self._request
        audit_id = AuditId(derived_id(document.id, f"export {request.caller} {request.now:%Y%m%d%H%M}"))
        grant = FileGrant(document.id, request.caller, audit_id, request.now)
        try:
            await self._sources.documents.download(grant, request.client.trace(audit_id, request.now))
        except NotFound:
            return False
        return await self._file(self._sources.document_files, document_key(document.id), name)

    async def photos(self) -> None:
        after, more = None, True
        while more:
            page = await self._sources.pictures.page(self._request.access("photo"), limit=PAGE, after=after)
            for photo in page:
                await self._photo(photo)
            self._packing.check()
            more = len(page) == PAGE
            after = After(page[-1].created_at, page[-1].id) if more else None

    async def _photo(self, photo: Picture) -> None:
        archived = archived_photo(photo, with_files=self._request.with_files)
        if archived.file is not None and not await self._file(
            self._sources.picture_files, original_key(photo.id), archived.file
        ):
            return  # it was deleted meanwhile
        if photo.user_id is not None:
            await self._name(photo.user_id)
        self._json.item(archived)

    async def positions(self) -> None:
        gpx = self._texts[TRACK]
        gpx.write(gpx_begin(self._trip))
        async for position in self._own_positions():
            point = archived_point(position)
            self._json.item(point)
            gpx.write(gpx_point(point))
        gpx.write(GPX_END)

    async def _own_positions(self) -> AsyncIterator[VisiblePosition]:
        """The caller's own positions, oldest first, in spans that no store thins."""
        now = self._request.now
        start, last = now - POSITION_RETENTION, now + MAX_AHEAD
        span = longest = last - start
        while start < last:
            end = min(start + span, last)
            track = await self._sources.positions.track(
                self._request.access("location"), self._request.caller, start=start, end=end
            )
            if len(track.points) >= MAX_READ and span > SHORTEST_SPAN:
                span /= 4
                continue
            visible = (
                visible_position(
                    point, track.owner, track.reader, has_ended=track.has_ended, now=now, of_track=True
                )
                for point in track.points
            )
            for position in filter(None, visible):
                yield position
            self._packing.check()
            start, span = end, min(span * 2, longest)

    async def messages(self) -> None:
        cursor, more = None, True
        while more:
            page = await self._sources.chat.transcript(self._request.access("chat"), cursor, limit=PAGE)
            for transcribed in page.messages:
                await self._note(transcribed)
                archived = archived_message(transcribed, with_files=self._request.with_files)
                self._json.item(await self._with_attachment(archived))
            self._packing.check()
            cursor, more = page.next, page.next is not None

    async def _file(self, files: Files, key: str, name: str) -> bool:
        """Add a file; False if the store has none."""
        found = await files.beginning(key, MAX_FILE_BYTES)
        if found is None:
            return False
        await asyncio.to_thread(self._packing.add_file, name, found.head)
        return True

    async def _note(self, transcribed: Transcribed) -> None:
        """Add the people of a message; its store knows the name of its sender."""
        sender = transcribed.message.sender
        if sender is not None and sender.id not in self._people:
            self._people[sender.id] = ArchivedPerson(sender.id, sender.name)
        for reaction in transcribed.reactions:
            await self._name(reaction.user_id)

    async def _with_attachment(self, message: ArchivedMessage) -> ArchivedMessage:
        """The message, after its attachment was added; without the name of a file that is gone."""
        attachment = message.attachment
        if attachment is None or attachment.file is None:
            return message
        key = attachment_key(self._request.trip_id, attachment.id)
        if await self._file(self._sources.files, key, attachment.file):
            return message
        return replace(message, attachment=replace(attachment, file=None))

    async def _name(self, user_id: UserId) -> str:
        """The name of an author, who is added to the people."""
        person = self._people.get(user_id)
        if person is None:
            try:
                name = (await self._sources.profiles.get(user_id, self._request.caller)).display_name
            except NotFound:
                name = FORMER_MEMBER
            person = self._people[user_id] = ArchivedPerson(user_id, name)
        return person.name

    def calendar_entries(self) -> CalendarEntries:
        trip = self._trip
        place = trip.destination_name or trip.destination_address or ""
        entry = CalendarTrip(
            trip.id, trip.name, trip.description, place, trip.destination_latitude, trip.destination_longitude,
            trip.start_date, trip.end_date, trip.status, trip.updated_at,
        )  # fmt: skip
        return CalendarEntries(trip.name, [entry], self._due)


def _people_of(poll: ArchivedPoll) -> Iterator[UserId]:
    yield poll.created_by
    if poll.closed_by is not None:
        yield poll.closed_by
    for option in poll.options:
        yield option.created_by
        yield from (vote.user_id for vote in option.votes)


_SECTIONS: tuple[tuple[str, Callable[[_Export], Awaitable[None]]], ...] = (
    ("todos", _Export.todos),
    ("polls", _Export.polls),
    ("documents", _Export.documents),
    ("photos", _Export.photos),
    ("positions", _Export.positions),
    ("messages", _Export.messages),
)
