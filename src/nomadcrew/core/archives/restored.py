"""The records of an import from the items of its archive."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.archives.model import (
    ArchivedAttachment,
    ArchivedDocument,
    ArchivedMessage,
    ArchivedOption,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedTodo,
)
from nomadcrew.core.archives.ports import ImportedAttachment, ImportedPhoto
from nomadcrew.core.chat.model import (
    Attachment,
    Edit,
    Message,
    Reaction,
    Sender,
    Transcribed,
    checked_emoji,
)
from nomadcrew.core.documents.metadata import kept
from nomadcrew.core.documents.model import Document
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.files.model import MAX_NAME, FileKind
from nomadcrew.core.files.names import named_as
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
    derived_id,
)
from nomadcrew.core.locations.model import MeetingPoint
from nomadcrew.core.polls.model import Applied, Days, Option, Poll, Vote
from nomadcrew.core.todos.model import Todo


class Restored(Struct, frozen=True):
    """Makes records of a new trip. `people` are the names by archived id."""

    trip_id: TripId
    caller: UserId
    people: Mapping[UserId, str]

    def is_caller(self, user_id: UserId) -> bool:
        return user_id == self.caller

    def person(self, user_id: UserId) -> UserId:
        """The caller, or the id that stands for a person."""
        return user_id if self.is_caller(user_id) else UserId(self._id("person", user_id))

    def place(self, place: ArchivedPlace) -> MeetingPoint:
        return MeetingPoint(
            place.latitude, place.longitude, place.name, place.radius_m,
            None if place.set_by is None else self.person(place.set_by), _utc(place.set_at),
        )  # fmt: skip

    def todo(self, todo: ArchivedTodo) -> Todo:
        return Todo(
            TodoId(self._id("todo", todo.id)),
            self.trip_id,
            todo.text,
            todo.status,
            self.person(todo.created_by),
            todo.created_at,
            todo.updated_at,
            None if todo.assignee_id is None else self.person(todo.assignee_id),
            todo.due_at,
            todo.position,
        )

    def poll(self, poll: ArchivedPoll) -> Poll:
        poll_id = PollId(self._id("poll", poll.id))
        applied = poll.applied
        return Poll(
            id=poll_id,
            trip_id=self.trip_id,
            question=poll.question,
            kind=poll.kind,
            ballot=poll.ballot,
            allow_multiple_votes=poll.allow_multiple_votes,
            members_add_options=poll.members_add_options,
            closes_automatically=poll.closes_automatically,
            status=poll.status,
            created_by=self.person(poll.created_by),
            closed_by=None if poll.closed_by is None else self.person(poll.closed_by),
            closed_at=poll.closed_at,
            expires_at=poll.expires_at,
            created_at=poll.created_at,
            updated_at=poll.updated_at,
            options=[self._option(poll_id, position, option) for position, option in enumerate(poll.options)],
            applied=None
            if applied is None
            else Applied(
                applied.target,
                _option_id(poll_id, applied.option_id),
                applied.at,
                None if applied.todo_id is None else TodoId(self._id("todo", applied.todo_id)),
            ),
        )

    def document(self, document: ArchivedDocument) -> Document:
        return Document(
            id=DocumentId(self._id("document", document.id)),
            user_id=None if document.created_by is None else self.person(document.created_by),
            trip_id=self.trip_id,
            type=document.type,
            name=document.name,
            description=document.description or None,
            metadata=kept(document.type, document.metadata),
            kind=document.media_type,
            size_bytes=document.size_bytes,
            created_at=document.created_at,
            updated_at=document.updated_at,
        )

    def photo(self, photo: ArchivedPhoto, kind: FileKind, size_bytes: int) -> ImportedPhoto:
        """A photo whose file was stripped again."""
        user_id = None if photo.created_by is None else self.person(photo.created_by)
        id_ = PictureId(self._id("photo", photo.id))
        return ImportedPhoto(id_, user_id, kind, size_bytes, photo.created_at)

    def message(self, message: ArchivedMessage) -> Transcribed:
        """A message, without its attachment."""
        message_id = MessageId(self._id("message", message.id))
        sender = None
        if message.author is not None:
            sender = Sender(self.person(message.author), self.people[message.author], "")
        return Transcribed(
            Message(
                message_id,
                self.trip_id,
                sender,
                _text_of(message),
                None if message.reply_to_id is None else MessageId(self._id("message", message.reply_to_id)),
                _utc(message.created_at),
                None if message.edited_at is None else _utc(message.edited_at),
                None if message.deleted_at is None else _utc(message.deleted_at),
            ),
            [
                Reaction(
                    message_id, self.trip_id, self.person(one.user_id), checked_emoji(one.emoji),
                    _utc(one.created_at),
                )
                for one in message.reactions
            ],
            [Edit(edit.text, _utc(edit.edited_at)) for edit in message.edits],
        )  # fmt: skip

    def attached(self, message: Message, attachment: Attachment) -> ImportedAttachment:
        sender = message.sender
        return ImportedAttachment(attachment, message.id, None if sender is None else sender.id, message.created_at)

    def _option(self, poll_id: PollId, position: int, option: ArchivedOption) -> Option:
        first, last = option.first_day, option.last_day
        return Option(
            _option_id(poll_id, option.id),
            option.text,
            position,
            self.person(option.created_by),
            option.created_at,
            None if first is None or last is None else Days(first, last),
            tuple(
                Vote(self.person(vote.user_id), vote.created_at, vote.answer, vote.rank) for vote in option.votes
            ),
        )

    def _id(self, kind: str, archived: UUID) -> UUID:
        return derived_id(self.trip_id, f"{kind} {archived}")


def restored_attachment(
    trip_id: TripId, attachment: ArchivedAttachment, kind: FileKind, size_bytes: int
) -> Attachment:
    """An attachment whose file was stripped again: an archive can contain any file."""
    id_ = AttachmentId(derived_id(trip_id, f"attachment {attachment.id}"))
    return Attachment(id_, kind, size_bytes, named_as(attachment.name, kind, MAX_NAME))


def attached_file(message: ArchivedMessage) -> str | None:
    """The name of the entry of a message's attachment, if the archive has it."""
    return None if message.attachment is None else message.attachment.file


def _option_id(poll_id: PollId, option_id: PollOptionId) -> PollOptionId:
    return PollOptionId(derived_id(poll_id, f"option {option_id}"))


def _text_of(message: ArchivedMessage) -> str:
    if message.deleted_at is not None:
        return TOMBSTONE
    # A message without a text shows the name of the file that the archive does not have.
    is_missing = message.attachment is not None and message.attachment.file is None
    if is_missing and not message.text and message.attachment is not None:
        return message.attachment.name
    return message.text


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
