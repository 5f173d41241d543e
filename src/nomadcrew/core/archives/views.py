"""The items of an archive from records of the features."""

from nomadcrew.core.archives.model import (
    ATTACHMENTS,
    DOCUMENTS,
    PHOTOS,
    ArchivedAttachment,
    ArchivedDocument,
    ArchivedEdit,
    ArchivedMessage,
    ArchivedOption,
    ArchivedOutcome,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoint,
    ArchivedPoll,
    ArchivedReaction,
    ArchivedTodo,
    ArchivedTrip,
    ArchivedVote,
)
from nomadcrew.core.chat.model import Attachment, Transcribed
from nomadcrew.core.documents.model import Document, DocumentType
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.locations.model import MeetingPoint
from nomadcrew.core.locations.privacy import VisiblePosition
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.polls.model import Option, Poll
from nomadcrew.core.todos.model import Todo, TodoStatus
from nomadcrew.core.trips.model import Status, Trip

_SUFFIXES = {
    FileKind.JPEG: "jpg",
    FileKind.PNG: "png",
    FileKind.WEBP: "webp",
    FileKind.PDF: "pdf",
    FileKind.HEIC: "heic",
}


def file_name(folder: str, id_: object, kind: FileKind) -> str:
    """The name of an entry. Names that users gave are in `trip.json` only: they could lead anywhere."""
    return f"{folder}/{id_}.{_SUFFIXES[kind]}"


def archived_trip(trip: Trip) -> ArchivedTrip:
    return ArchivedTrip(
        id=trip.id,
        name=trip.name,
        status=Status(trip.status),
        start_date=trip.start_date,
        end_date=trip.end_date,
        timezone=trip.timezone,
        created_at=trip.created_at,
        updated_at=trip.updated_at,
        description=trip.description,
        destination_place_id=trip.destination_place_id,
        destination_address=trip.destination_address,
        destination_name=trip.destination_name,
        destination_latitude=trip.destination_latitude,
        destination_longitude=trip.destination_longitude,
        background_image_url=trip.background_image_url,
        created_by=trip.created_by,
    )


def archived_place(point: MeetingPoint) -> ArchivedPlace:
    return ArchivedPlace(point.latitude, point.longitude, point.name, point.radius_m, point.set_at, point.set_by)


def archived_todo(todo: Todo) -> ArchivedTodo:
    return ArchivedTodo(
        todo.id, todo.text, TodoStatus(todo.status), todo.created_by, todo.created_at, todo.updated_at,
        todo.assignee_id, todo.due_at, todo.position,
    )  # fmt: skip


def archived_poll(poll: Poll) -> ArchivedPoll:
    applied = poll.applied
    return ArchivedPoll(
        id=poll.id,
        question=poll.question,
        kind=poll.kind,
        ballot=poll.ballot,
        status=poll.status,
        created_by=poll.created_by,
        created_at=poll.created_at,
        updated_at=poll.updated_at,
        expires_at=poll.expires_at,
        options=tuple(_option(option) for option in poll.options),
        allow_multiple_votes=poll.allow_multiple_votes,
        members_add_options=poll.members_add_options,
        closes_automatically=poll.closes_automatically,
        closed_by=poll.closed_by,
        closed_at=poll.closed_at,
        applied=None
        if applied is None
        else ArchivedOutcome(applied.target, applied.option_id, applied.at, applied.todo_id),
    )


def _option(option: Option) -> ArchivedOption:
    days = option.days
    return ArchivedOption(
        option.id,
        option.text,
        option.created_by,
        option.created_at,
        None if days is None else days.first,
        None if days is None else days.last,
        tuple(ArchivedVote(vote.user_id, vote.created_at, vote.answer, vote.rank) for vote in option.votes),
    )


def archived_document(document: Document, *, with_files: bool) -> ArchivedDocument:
    return ArchivedDocument(
        id=document.id,
        type=DocumentType(document.type),
        name=document.name,
        media_type=document.kind,
        size_bytes=document.size_bytes,
        created_at=document.created_at,
        updated_at=document.updated_at,
        created_by=document.user_id,
        description=document.description,
        metadata=document.metadata,
        file=file_name(DOCUMENTS, document.id, document.kind) if with_files else None,
    )


def archived_photo(photo: Picture, *, with_files: bool) -> ArchivedPhoto:
    return ArchivedPhoto(
        id=photo.id,
        media_type=photo.kind,
        size_bytes=photo.size_bytes,
        created_at=photo.created_at,
        created_by=photo.user_id,
        file=file_name(PHOTOS, photo.id, photo.kind) if with_files else None,
    )


def archived_message(transcribed: Transcribed, *, with_files: bool) -> ArchivedMessage:
    message = transcribed.message
    return ArchivedMessage(
        id=message.id,
        text=message.text,
        created_at=message.created_at,
        author=None if message.sender is None else message.sender.id,
        reply_to_id=message.reply_to_id,
        edited_at=message.edited_at,
        deleted_at=message.deleted_at,
        edits=tuple(ArchivedEdit(edit.text, edit.edited_at) for edit in transcribed.edits),
        reactions=tuple(ArchivedReaction(one.user_id, one.emoji, one.created_at) for one in transcribed.reactions),
        attachment=None if message.attachment is None else _attachment(message.attachment, with_files=with_files),
    )


def _attachment(attachment: Attachment, *, with_files: bool) -> ArchivedAttachment:
    return ArchivedAttachment(
        attachment.id, attachment.kind, attachment.size_bytes, attachment.name,
        file_name(ATTACHMENTS, attachment.id, attachment.kind) if with_files else None,
    )  # fmt: skip


def archived_point(position: VisiblePosition) -> ArchivedPoint:
    return ArchivedPoint(
        position.latitude, position.longitude, position.recorded_at, position.accuracy_m, position.speed_mps,
        position.heading_deg,
    )  # fmt: skip
