"""Records of the core from the JSON of the SQL functions that are named for them, such as `todo_record`."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from nomadcrew.core.chat.model import Message, Receipt
from nomadcrew.core.documents.model import Document
from nomadcrew.core.invitations.model import Invitation
from nomadcrew.core.locations.model import TripSharing
from nomadcrew.core.notifications.model import Notification
from nomadcrew.core.notifications.preferences import Preferences, TripPreferences
from nomadcrew.core.notifications.texts import message
from nomadcrew.core.pictures.model import Picture
from nomadcrew.core.polls.model import Poll
from nomadcrew.core.sync.model import Kind, SyncedMessage
from nomadcrew.core.todos.model import Todo
from nomadcrew.core.trips.model import TripMember
from nomadcrew.core.users.model import Profile

_json = msgspec.json.Decoder().decode
_stored_notification = msgspec.json.Decoder(Notification).decode

member = msgspec.json.Decoder(TripMember).decode
todo = msgspec.json.Decoder(Todo).decode
poll = msgspec.json.Decoder(Poll).decode
document = msgspec.json.Decoder(Document).decode
picture = msgspec.json.Decoder(Picture).decode
chat_message = msgspec.json.Decoder(Message).decode
receipt = msgspec.json.Decoder(Receipt).decode


def notification(body: str) -> Notification:
    """A notification; its sentence follows from the rest."""
    stored = _stored_notification(body)
    return stored._replace(message=message(stored.type, _json(stored.metadata)))


RECORDS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.TRIP: str,
    Kind.MEMBER: member,
    Kind.INVITATION: msgspec.json.Decoder(Invitation).decode,
    Kind.TODO: todo,
    Kind.MESSAGE: msgspec.json.Decoder(SyncedMessage).decode,
    Kind.RECEIPT: receipt,
    Kind.POLL: poll,
    Kind.DOCUMENT: document,
    Kind.PHOTO: picture,
    Kind.SHARING: msgspec.json.Decoder(TripSharing).decode,
    Kind.TRIP_PREFERENCES: msgspec.json.Decoder(TripPreferences).decode,
    Kind.PROFILE: msgspec.json.Decoder(Profile).decode,
    Kind.PREFERENCES: lambda body: Preferences.read(_json(body)),
    Kind.NOTIFICATION: notification,
}
