"""The content of an archive's `trip.json`, item by item; docs/trip-archive.md documents it.

Ids are those of the exported trip. Times have an offset. Fields with a default may be absent.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from nomadcrew.core.documents.model import DocumentType
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
from nomadcrew.core.permissions import Role
from nomadcrew.core.polls.model import Answer, Ballot, Kind, PollStatus, Target
from nomadcrew.core.todos.model import TodoStatus
from nomadcrew.core.trips.model import Status

FORMAT, VERSION = "nomadcrew-trip", 1
# The entries of the ZIP.
TRIP, CALENDAR, TRACK, PLACES, TODOS = "trip.json", "trip.ics", "track.gpx", "places.geojson", "todos.csv"
DOCUMENTS, PHOTOS, ATTACHMENTS = "documents", "photos", "attachments"
# The name of a person whose account is deleted.
FORMER_MEMBER = "Former member"
MAX_PERSON = 255  # characters

Time = Annotated[datetime, Meta(tz=True)]


class Item(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A JSON object of `trip.json`."""


class Head(Item, frozen=True):
    """The members of `trip.json` that are neither lists nor the trip."""

    format: str
    version: int
    exported_at: Time
    exported_by: UserId


class ArchivedTrip(Item, frozen=True):
    id: TripId
    name: str
    status: Status
    start_date: date
    end_date: date
    timezone: str
    created_at: Time
    updated_at: Time
    description: str = ""
    destination_place_id: str | None = None
    destination_address: str | None = None
    destination_name: str | None = None
    destination_latitude: float = 0.0
    destination_longitude: float = 0.0
    background_image_url: str = ""
    created_by: UserId | None = None


class ArchivedPlace(Item, frozen=True):
    """The meeting point."""

    latitude: float
    longitude: float
    name: str
    radius_m: float
    set_at: Time
    set_by: UserId | None = None


class ArchivedPerson(Item, frozen=True):
    """A member, with role and the time of joining, or an author who has left."""

    id: UserId
    name: str
    role: Role | None = None
    joined_at: Time | None = None


class ArchivedTodo(Item, frozen=True):
    id: TodoId
    text: str
    status: TodoStatus
    created_by: UserId
    created_at: Time
    updated_at: Time
    assignee_id: UserId | None = None
    due_at: Time | None = None
    position: float | None = None


class ArchivedVote(Item, frozen=True):
    user_id: UserId
    created_at: Time
    answer: Answer | None = None
    rank: int | None = None


class ArchivedOption(Item, frozen=True):
    id: PollOptionId
    text: str
    created_by: UserId
    created_at: Time
    first_day: date | None = None
    last_day: date | None = None
    votes: tuple[ArchivedVote, ...] = ()


class ArchivedOutcome(Item, frozen=True):
    target: Target
    option_id: PollOptionId
    at: Time
    todo_id: TodoId | None = None


class ArchivedPoll(Item, frozen=True):
    """A poll; of a blind ballot that is open, the exporter's own votes only."""

    id: PollId
    question: str
    kind: Kind
    ballot: Ballot
    status: PollStatus
    created_by: UserId
    created_at: Time
    updated_at: Time
    expires_at: Time
    options: tuple[ArchivedOption, ...]
    allow_multiple_votes: bool = False
    members_add_options: bool = False
    closes_automatically: bool = False
    closed_by: UserId | None = None
    closed_at: Time | None = None
    applied: ArchivedOutcome | None = None


class ArchivedDocument(Item, frozen=True):
    """A document; `file` is the name of its entry, None if the archive has no files."""

    id: DocumentId
    type: DocumentType
    name: str
    media_type: FileKind
    size_bytes: int
    created_at: Time
    updated_at: Time
    created_by: UserId | None = None
    description: str | None = None
    metadata: Mapping[str, Any] = {}  # scalars, as `documents.metadata.kept` checks
    file: str | None = None


class ArchivedPhoto(Item, frozen=True):
    """A photo without its metadata; `file` as for a document."""

    id: PictureId
    media_type: FileKind
    size_bytes: int
    created_at: Time
    created_by: UserId | None = None
    file: str | None = None


class ArchivedPoint(Item, frozen=True):
    """A position of the exporter."""

    latitude: float
    longitude: float
    recorded_at: Time
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


class ArchivedReaction(Item, frozen=True):
    user_id: UserId
    emoji: str
    created_at: Time


class ArchivedEdit(Item, frozen=True):
    """The text before an edit."""

    text: str
    edited_at: Time


class ArchivedAttachment(Item, frozen=True):
    id: AttachmentId
    media_type: FileKind
    size_bytes: int
    name: str
    file: str | None = None


class ArchivedMessage(Item, frozen=True):
    """A message; `edits` are the earlier texts of the exporter's own messages."""

    id: MessageId
    text: str
    created_at: Time
    author: UserId | None = None
    reply_to_id: MessageId | None = None
    edited_at: Time | None = None
    deleted_at: Time | None = None
    edits: tuple[ArchivedEdit, ...] = ()
    reactions: tuple[ArchivedReaction, ...] = ()
    attachment: ArchivedAttachment | None = None
