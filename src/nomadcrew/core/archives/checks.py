"""Checks the items of an archive, which any program may have written: the product could have made each of them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.archives.errors import BadArchive
from nomadcrew.core.archives.model import (
    ATTACHMENTS,
    DOCUMENTS,
    MAX_PERSON,
    PHOTOS,
    ArchivedDocument,
    ArchivedMessage,
    ArchivedOption,
    ArchivedPerson,
    ArchivedPhoto,
    ArchivedPlace,
    ArchivedPoll,
    ArchivedTodo,
    ArchivedTrip,
)
from nomadcrew.core.archives.views import file_name
from nomadcrew.core.chat.model import MAX_EDITS, MAX_REACTIONS, MAX_TEXT, checked_emoji, checked_text, emoji_key
from nomadcrew.core.documents.metadata import description_of
from nomadcrew.core.documents.model import ACCEPTED, Description
from nomadcrew.core.files.model import MAX_FILE_BYTES, FileKind
from nomadcrew.core.files.model import MAX_NAME as MAX_FILE_NAME
from nomadcrew.core.ids import UserId
from nomadcrew.core.pictures.model import ACCEPTED as PHOTO_TYPES
from nomadcrew.core.polls.drafts import text_fault
from nomadcrew.core.polls.model import MAX_OPTION, MAX_OPTIONS_IN_ALL, MAX_QUESTION, Kind, PollStatus
from nomadcrew.core.text import check_label, comparison_key, visible_line
from nomadcrew.core.todos.model import MAX_POSITION
from nomadcrew.core.todos.service import check_text
from nomadcrew.core.trips.model import NewTrip
from nomadcrew.core.trips.service import check_new

# Whole years of the calendar that every store and every time zone can hold.
_YEARS = range(1970, 2200)
_ATTACHED = frozenset({FileKind.JPEG, FileKind.PNG, FileKind.WEBP, FileKind.PDF})
_MAX_PLACE = 255  # characters
_RADIUS_M = (10.0, 5_000.0)


def check_trip(trip: ArchivedTrip) -> NewTrip:
    """The trip to create. Raises `Invalid` unless it could have been created."""
    check_times(trip)
    new = NewTrip(
        name=trip.name,
        description=trip.description,
        destination_place_id=trip.destination_place_id,
        destination_address=trip.destination_address,
        destination_name=trip.destination_name,
        destination_latitude=trip.destination_latitude,
        destination_longitude=trip.destination_longitude,
        start_date=trip.start_date,
        end_date=trip.end_date,
        status=trip.status,
        background_image_url=trip.background_image_url,
        timezone=trip.timezone,
    )
    check_new(new)
    return new


def check_place(place: ArchivedPlace) -> None:
    """Raise `Invalid` unless it could be a meeting point."""
    check_times(place)
    check_label("name", place.name)
    shortest, longest = _RADIUS_M
    _require(
        -90 <= place.latitude <= 90 and -180 <= place.longitude <= 180 and len(place.name) <= _MAX_PLACE,
        "out of range",
    )
    _require(shortest <= place.radius_m <= longest, "the radius is out of range")


def person_name(person: ArchivedPerson) -> str:
    """The name that stands for a person. Raises `Invalid` if it is too long or shows nothing."""
    check_times(person)
    name = visible_line(person.name)
    _require(0 < len(name) <= MAX_PERSON, f"a name must have 1 to {MAX_PERSON} visible characters")
    return name


def check_todo(todo: ArchivedTodo) -> None:
    """Raise `Invalid` unless it could be a to-do."""
    check_times(todo)
    check_text(todo.text)
    _require(todo.position is None or -MAX_POSITION <= todo.position <= MAX_POSITION, "`position` is out of range")


def check_poll(poll: ArchivedPoll) -> None:
    """Raise `Invalid` unless it could be a poll with these votes."""
    check_times(poll)
    faults = [text_fault("question", poll.question, MAX_QUESTION)]
    faults += [text_fault("text", option.text, MAX_OPTION) for option in poll.options]
    for fault in faults:
        _require(fault is None, fault or "")
    options = poll.options
    _require(1 <= len(options) <= MAX_OPTIONS_IN_ALL, "too many options")
    _require(_differ(option.id for option in options), "two options have one id")
    _require(_differ(comparison_key(option.text) for option in options), "two options have one text")
    _require((poll.status is PollStatus.CLOSED) == (poll.closed_at is not None), "`closedAt` contradicts `status`")
    _require(poll.expires_at > poll.created_at, "`expiresAt` is not after `createdAt`")
    applied = poll.applied
    _require(applied is None or any(option.id == applied.option_id for option in options), "no such option")
    for option in options:
        _check_option(poll.kind, option)
    voters = [vote.user_id for option in options for vote in option.votes]
    if poll.kind is Kind.CHOICE and not poll.allow_multiple_votes:
        _require(_differ(voters), "a member has two votes")


def _check_option(kind: Kind, option: ArchivedOption) -> None:
    first, last = option.first_day, option.last_day
    if kind is Kind.DATES:
        _require(first is not None and last is not None and first <= last, "an option has no days")
    else:
        _require(first is None and last is None, "an option has days")
    _require(_differ(vote.user_id for vote in option.votes), "a member has two votes for an option")
    for vote in option.votes:
        _require((vote.answer is not None) == (kind is Kind.DATES), "`answer` contradicts `kind`")
        _require((vote.rank is not None) == (kind is Kind.RANKED), "`rank` contradicts `kind`")
        _require(vote.rank is None or 1 <= vote.rank <= MAX_OPTIONS_IN_ALL, "`rank` is out of range")


def check_document(document: ArchivedDocument) -> Description:
    """The texts of a document. Raises `Invalid` unless it could be one."""
    check_times(document)
    _require(document.media_type in ACCEPTED, "the type of the file is not accepted")
    _require(1 <= document.size_bytes <= MAX_FILE_BYTES, "`sizeBytes` is out of range")
    _check_file(document.file, file_name(DOCUMENTS, document.id, document.media_type))
    return description_of(document.type, document.name, document.description, document.metadata)


def check_photo(photo: ArchivedPhoto) -> None:
    """Raise `Invalid` unless it could be a photo."""
    check_times(photo)
    _require(photo.media_type in PHOTO_TYPES, "the type of the photo is not accepted")
    _require(1 <= photo.size_bytes <= MAX_FILE_BYTES, "`sizeBytes` is out of range")
    _check_file(photo.file, file_name(PHOTOS, photo.id, photo.media_type))


def check_message(message: ArchivedMessage) -> None:
    """Raise `Invalid` unless it could be a message."""
    check_times(message)
    attachment = message.attachment
    if message.deleted_at is not None:
        _require(not (message.edits or message.reactions or attachment), "a deleted message has a content")
        return
    checked_text(message.text, may_be_empty=attachment is not None)
    _require(len(message.text) <= MAX_TEXT, "the text is too long")
    _require(len(message.edits) <= MAX_EDITS, "too many edits")
    _require(all(0 < len(edit.text) <= MAX_TEXT for edit in message.edits), "an earlier text is too long")
    for reaction in message.reactions:
        checked_emoji(reaction.emoji)
    most = max(Counter(one.user_id for one in message.reactions).values(), default=0)
    _require(most <= MAX_REACTIONS, "too many reactions of a member")
    _require(_differ((one.user_id, emoji_key(one.emoji)) for one in message.reactions), "a reaction is there twice")
    if attachment is None:
        return
    _require(attachment.media_type in _ATTACHED, "the type of the attachment is not accepted")
    _require(1 <= attachment.size_bytes <= MAX_FILE_BYTES, "`sizeBytes` is out of range")
    check_label("name", attachment.name)
    _require(0 < len(attachment.name) <= MAX_FILE_NAME, "the name of the attachment is too long")
    _check_file(attachment.file, file_name(ATTACHMENTS, attachment.id, attachment.media_type))


def people_in(item: Struct) -> Iterator[UserId]:
    """The people whom an item names."""
    match item:
        case ArchivedTrip(created_by=UUID() as user_id) | ArchivedPlace(set_by=UUID() as user_id):
            yield UserId(user_id)
        case ArchivedTodo():
            yield item.created_by
            if item.assignee_id is not None:
                yield item.assignee_id
        case ArchivedPoll():
            yield item.created_by
            if item.closed_by is not None:
                yield item.closed_by
            for option in item.options:
                yield option.created_by
                yield from (vote.user_id for vote in option.votes)
        case ArchivedDocument(created_by=UUID() as user_id) | ArchivedPhoto(created_by=UUID() as user_id):
            yield UserId(user_id)
        case ArchivedMessage(author=UUID() as user_id):
            yield UserId(user_id)
        case _:
            pass
    if isinstance(item, ArchivedMessage):
        yield from (reaction.user_id for reaction in item.reactions)


def check_times(item: Struct) -> None:
    """Raise `Invalid` unless all times of an item are in years that every store can hold."""
    for moment in _times_in(item):
        _require(moment.year in _YEARS, f"a time is not in the years {_YEARS.start} to {_YEARS.stop - 1}")


def _times_in(value: object) -> Iterator[datetime]:
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _times_in(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            yield from _times_in(each)


def _check_file(given: str | None, expected: str) -> None:
    _require(given in (None, expected), f"`file` must be {expected}")


def _differ(values: Iterable[object]) -> bool:
    listed = list(values)
    return len(set(listed)) == len(listed)


def _require(condition: bool, details: str) -> None:
    if not condition:
        raise BadArchive(details=details)
