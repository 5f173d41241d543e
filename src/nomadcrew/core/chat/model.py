"""Messages, reactions and receipts of a trip's chat."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from unicodedata import category, normalize

from msgspec import Struct

from nomadcrew.core.errors import Conflict, Invalid, NotFound
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import AttachmentId, EventId, MessageId, ReactionId, TripId, UserId, derived_id
from nomadcrew.core.text import comparison_key, composed, is_visible, search_key
from nomadcrew.core.users.rules import MAX_USERNAME

SOURCE = "chat-service"
MAX_TEXT = 1000  # characters
MAX_EMOJI = 10  # characters: a family of four is seven
_VARIATION_SELECTORS = {0xFE0E: None, 0xFE0F: None}
MAX_REACTIONS = 20  # of one member on one message
MAX_EDITS = 50  # of one message, which stores every earlier text
MAX_MENTIONS = 20
MAX_WORDS = 8
MAX_QUERY = 200  # characters
EDITABLE_FOR = timedelta(minutes=15)
REPEATED_WITHIN = timedelta(seconds=30)

_MENTION = re.compile(r"(?<![\w@])@([^\s@]+)")


class Sender(Struct, frozen=True):
    """The author of a message, as other members see them; `avatar` is empty without one."""

    id: UserId
    name: str
    avatar: str


class ReactionCount(Struct, frozen=True):
    emoji: str
    count: int
    mine: bool


class Attachment(Struct, frozen=True):
    """An uploaded file, as shown in a message."""

    id: AttachmentId
    kind: FileKind
    size_bytes: int
    name: str


class Message(Struct, frozen=True):
    """A message as members read it.

    A deleted message stays in the list, with `TOMBSTONE` as its text. The text may be empty with an attachment.
    `sender` is None once the account is deleted. `created_at` is strictly increasing within a trip.
    """

    id: MessageId
    trip_id: TripId
    sender: Sender | None
    text: str
    reply_to_id: MessageId | None
    created_at: datetime
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    reactions: tuple[ReactionCount, ...] = ()
    attachment: Attachment | None = None


class MessagePage(Struct, frozen=True):
    """A page of a trip's messages. `next` is an opaque cursor for the next page, None on the last."""

    messages: Sequence[Message]
    next: str | None


class NewMessage(Struct, frozen=True):
    """A message to store. `fingerprint` identifies a repeat if the client gave no id."""

    id: MessageId
    trip_id: TripId
    author: UserId
    text: str
    reply_to_id: MessageId | None
    mentions: Sequence[Sequence[str]]  # per mention the keys of the usernames it may mean, the longest first
    event_id: EventId
    now: datetime
    fingerprint: bytes | None = None
    attachment_id: AttachmentId | None = None


class Reaction(Struct, frozen=True):
    message_id: MessageId
    trip_id: TripId
    user_id: UserId
    emoji: str
    created_at: datetime

    @property
    def id(self) -> ReactionId:
        return ReactionId(derived_id(self.message_id, f"reaction {self.user_id} {self.emoji}"))


class Edit(Struct, frozen=True):
    """The text that a message had before an edit."""

    text: str
    edited_at: datetime


class Transcribed(Struct, frozen=True):
    """A message with each of its reactions, oldest first; `edits` are the caller's own, empty for other authors."""

    message: Message
    reactions: Sequence[Reaction] = ()
    edits: Sequence[Edit] = ()


class TranscriptPage(Struct, frozen=True):
    """A page of a transcript, oldest first. `next` is an opaque cursor for the next page, None on the last."""

    messages: Sequence[Transcribed]
    next: str | None


class Receipt(Struct, frozen=True):
    """A member's last read message."""

    reader: Sender
    message_id: MessageId
    read_at: datetime


class MessageNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("message", code="message_not_found")


class ReplyNotFound(Invalid):
    code = "reply_not_found"
    text = "The replied-to message is not in this chat."


class AttachmentNotFound(NotFound):
    """No such attachment, or another member's that is not in a message yet."""

    def __init__(self) -> None:
        super().__init__("attachment", code="attachment_not_found")


class AttachmentUsed(Conflict):
    code = "attachment_used"
    text = "This file belongs to another message already."


class MessageIdTaken(Conflict):
    code = "message_id_taken"
    text = "Another message has this id. Send the message with a new id."


class TooLateToEdit(Invalid):
    code = "edit_window_over"
    text = "A message can be edited for 15 minutes after it was sent."


class TooManyEdits(Invalid):
    code = "too_many_edits"
    text = f"A message can be edited at most {MAX_EDITS} times. Send a new message instead."


class TooManyReactions(Invalid):
    code = "too_many_reactions"
    text = f"A member can react to a message with at most {MAX_REACTIONS} emoji."


class BadCursor(Invalid):
    code = "invalid_cursor"
    text = "This cursor does not belong to this chat."


def editable_since(now: datetime) -> datetime:
    """The authors of messages sent at this time or later may edit them."""
    return now - EDITABLE_FOR


def checked_text(text: str, *, may_be_empty: bool = False) -> str:
    """The text of a message, without surrounding whitespace.

    Raises:
        Invalid: the text has no visible character although it must not be empty, or more than 1000 characters.
    """
    trimmed = text.strip()
    if not is_visible(trimmed):
        trimmed = ""
    if not trimmed and not may_be_empty:
        raise Invalid("A message must not be empty.", code="empty_message")
    if len(trimmed) > MAX_TEXT:
        raise Invalid(f"A message must have at most {MAX_TEXT} characters.", code="message_too_long")
    return trimmed


def checked_emoji(emoji: str) -> str:
    """`emoji` in NFC. Raises `Invalid` unless it has 1 to 10 characters, some visible and no control character."""
    controls = any(category(character) == "Cc" for character in emoji)
    if not 0 < len(emoji) <= MAX_EMOJI or controls or not is_visible(emoji_key(emoji)):
        raise Invalid(f"A reaction must have 1 to {MAX_EMOJI} visible characters.", code="invalid_emoji")
    return normalize("NFC", emoji)


def emoji_key(emoji: str) -> str:
    """Equal for spellings of one emoji: phones add or omit variation selectors. The SQL function is the same."""
    return normalize("NFC", emoji).translate(_VARIATION_SELECTORS)


def key_of(trip_id: TripId, attachment_id: AttachmentId) -> str:
    """The storage key of a file. The infrastructure grants functions access to the prefix `attachments/`."""
    return f"attachments/{trip_id}/{attachment_id}"


def mentioned(text: str) -> list[tuple[str, ...]]:
    """The mentions `@name` in a text, without duplicates; at most `MAX_MENTIONS`.

    A username may have any visible character, so a name followed by a symbol may be meant with or without it: each
    mention is the keys of all names that it may mean, the longest first.
    """
    names = (_possible_names(run) for run in _MENTION.findall(normalize("NFC", text)))
    return list(dict.fromkeys(names))[:MAX_MENTIONS]


def without_mentions(text: str, username: str, replacement: str) -> str:
    """A text with another name in the mentions of a user, in whichever spelling they are."""
    wanted = comparison_key(username)

    def replaced(match: re.Match[str]) -> str:
        run = match[1]
        for end in _ends(run):
            if comparison_key(composed(run[:end])) == wanted:
                return f"@{replacement}{run[end:]}"
        return match[0]

    return _MENTION.sub(replaced, text)


def _possible_names(run: str) -> tuple[str, ...]:
    """The keys of a run of characters, and of its parts up to each character that is not of a word."""
    run = run[: MAX_USERNAME + 1]
    keys = (comparison_key(composed(run[:end])) for end in _ends(run) if end <= MAX_USERNAME)
    return tuple(dict.fromkeys(key for key in keys if key))


def _ends(run: str) -> list[int]:
    """The positions at which a name in a run of characters may end, the last first."""
    return [end for end in range(len(run), 0, -1) if end == len(run) or not _is_of_word(run[end])]


def _is_of_word(character: str) -> bool:
    return character == "_" or category(character)[0] in "LMN"


def words_of(query: str) -> list[str]:
    """The keys of the distinct words of a search.

    Raises:
        Invalid: the query is empty or too long.
    """
    words = list(dict.fromkeys(search_key(query).split()))
    if not words or len(words) > MAX_WORDS or len(query) > MAX_QUERY:
        raise Invalid(
            f"`q` must have 1 to {MAX_WORDS} words and at most {MAX_QUERY} characters.", code="invalid_query"
        )
    return words
