"""Imports of trips, on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import asdict

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, json_param, statements
from nomadcrew.adapters.postgres.text_keys import search_columns
from nomadcrew.core.archives.errors import ImportInterrupted, UploadNotFound
from nomadcrew.core.archives.ports import (
    Begun,
    ImportedAttachment,
    ImportedDocument,
    ImportedPerson,
    ImportedPhoto,
    NewImport,
    Parts,
)
from nomadcrew.core.errors import NotOnboarded
from nomadcrew.core.ids import EventId, MembershipId, TripId, UploadId, UserId
from nomadcrew.core.locations.model import MeetingPoint
from nomadcrew.core.polls.model import Kind, Option, Poll
from nomadcrew.core.retention import IMPORT_RETENTION
from nomadcrew.core.text import comparison_key
from nomadcrew.core.todos.model import Todo
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER

_SQL = statements("archives")
REFUSALS: Refusals = {"import_interrupted": ImportInterrupted}


class PostgresTripImports:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def begin(self, new: NewImport) -> Begun:
        trip = new.trip
        [row] = await self._sql.fetch(
            _SQL["begin"],
            id=new.trip_id,
            caller=new.caller,
            fingerprint=new.fingerprint,
            now=new.now,
            since=new.now - IMPORT_RETENTION,
            max_trips=MAX_TRIPS_PER_USER,
            created_at=new.created_at,
            updated_at=new.updated_at,
            **asdict(trip),
            **search_columns(destination_name=trip.destination_name, destination_address=trip.destination_address),
        )
        verdict = raise_for_verdict(row["verdict"], "replayed")
        return Begun(TripId(row["trip_id"]), verdict == "replayed")

    async def add_people(self, trip_id: TripId, people: Sequence[ImportedPerson], *, now: datetime) -> None:
        await self._sql.fetch(_SQL["people"], trip_id=trip_id, people=json_param(people), now=now)

    async def add_todos(self, trip_id: TripId, todos: Sequence[Todo]) -> None:
        await self._sql.fetch(_SQL["todos"], trip_id=trip_id, todos=json_param(todos))

    async def add_polls(self, trip_id: TripId, polls: Sequence[Poll]) -> None:
        await self._sql.fetch(_SQL["polls"], trip_id=trip_id, polls=json_param([_poll_row(poll) for poll in polls]))

    async def add_documents(self, trip_id: TripId, documents: Sequence[ImportedDocument]) -> None:
        rows = [
            {**asdict(each.document), "media_type": each.document.kind, "ends_on": each.ends_on}
            for each in documents
        ]
        await self._sql.fetch(_SQL["documents"], trip_id=trip_id, documents=json_param(rows))

    async def add_photo(self, trip_id: TripId, photo: ImportedPhoto) -> None:
        await self._sql.fetch(
            _SQL["photo"],
            trip_id=trip_id,
            id=photo.id,
            user_id=photo.user_id,
            media_type=photo.kind,
            size_bytes=photo.size_bytes,
            created_at=photo.created_at,
        )

    async def add_attachments(self, trip_id: TripId, attachments: Sequence[ImportedAttachment]) -> None:
        rows = [
            {
                **asdict(each.attachment),
                "type": each.attachment.kind,
                "user_id": each.user_id,
                "message_id": each.message_id,
                "created_at": each.created_at,
            }
            for each in attachments
        ]
        await self._sql.fetch(_SQL["attachments"], trip_id=trip_id, attachments=json_param(rows))

    async def add_meeting_point(self, trip_id: TripId, point: MeetingPoint) -> None:
        await self._sql.fetch(_SQL["meeting_point"], trip_id=trip_id, **asdict(point))

    async def finish(
        self,
        new: NewImport,
        stored: Parts,
        *,
        membership_id: MembershipId,
        event_id: EventId,
    ) -> None:
        [row] = await self._sql.fetch(
            _SQL["finish"],
            trip_id=new.trip_id,
            caller=new.caller,
            fingerprint=new.fingerprint,
            now=new.now,
            max_trips=MAX_TRIPS_PER_USER,
            membership_id=membership_id,
            event_id=event_id,
            documents=stored.documents,
            photos=stored.photos,
            attachments=stored.attachments,
        )
        raise_for_verdict(row["verdict"], "replayed", also=REFUSALS)

    async def reserve_upload(self, upload_id: UploadId, size_bytes: int, caller: UserId, *, now: datetime) -> None:
        rows = await self._sql.fetch(
            _SQL["reserve_upload"], id=upload_id, size_bytes=size_bytes, caller=caller, now=now
        )
        if not rows:
            raise NotOnboarded

    async def get_upload(self, upload_id: UploadId, caller: UserId, *, since: datetime) -> int:
        rows = await self._sql.fetch(_SQL["upload"], id=upload_id, caller=caller, since=since)
        if not rows:
            raise UploadNotFound
        return int(rows[0]["size_bytes"])

    async def expired_uploads(self, before: datetime, *, limit: int) -> Sequence[UploadId]:
        rows = await self._sql.fetch(_SQL["expired_uploads"], before=before, limit=limit)
        return [UploadId(row["id"]) for row in rows]

    async def forget_uploads(self, ids: Sequence[UploadId]) -> None:
        await self._sql.fetch(_SQL["forget_uploads"], ids=json_param(ids))


def _poll_row(poll: Poll) -> dict[str, object]:
    applied = poll.applied
    return {
        **asdict(poll),
        "options": [_option_row(option) for option in poll.options],
        "is_single": poll.kind is Kind.CHOICE and not poll.allow_multiple_votes,
        "applied_as": None if applied is None else applied.target,
        "applied_option_id": None if applied is None else applied.option_id,
        "applied_todo_id": None if applied is None else applied.todo_id,
        "applied_at": None if applied is None else applied.at,
    }


def _option_row(option: Option) -> dict[str, object]:
    days = option.days
    return {
        "id": option.id,
        "text": option.text,
        "text_key": comparison_key(option.text),
        "position": option.position,
        "first_day": None if days is None else days.first,
        "last_day": None if days is None else days.last,
        "created_by": option.created_by,
        "created_at": option.created_at,
        "votes": [asdict(vote) for vote in option.votes],
    }
