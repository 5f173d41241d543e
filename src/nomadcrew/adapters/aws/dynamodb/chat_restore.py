"""Items of messages that an import restores."""

import json
from collections import Counter
from collections.abc import Sequence

from nomadcrew.adapters.aws.dynamodb.chat_items import Item, key_of_item, sort_key_of
from nomadcrew.core.chat.events import attachment_json, utc_text
from nomadcrew.core.chat.model import Sender, Transcribed
from nomadcrew.core.ids import TripId, UserId, derived_id

MESSAGES = 50  # of a transaction, with their guards
NO_AUTHOR = "Former member"  # the sender of a message whose author's account is deleted


def restored_items(trip_id: TripId, restored: Transcribed) -> Sequence[Item]:
    """The items of a message: itself and its guard."""
    message = restored.message
    sender = message.sender or Sender(UserId(derived_id(trip_id, "no author")), NO_AUTHOR, "")
    key = sort_key_of(message.created_at, message.id)
    item: Item = {
        **key_of_item(str(trip_id), key),
        "userId": {"S": str(sender.id)},
        "senderName": {"S": sender.name},
        "senderAvatar": {"S": sender.avatar},
        "text": {"S": message.text},
        "reactions": {
            "M": {f"{one.user_id} {one.emoji}": {"S": utc_text(one.created_at)} for one in restored.reactions}
        },
        "edits": {
            "L": [
                {"M": {"text": {"S": edit.text}, "editedAt": {"S": utc_text(edit.edited_at)}}}
                for edit in restored.edits
            ]
        },
    }
    if message.reply_to_id is not None:
        item["replyTo"] = {"S": str(message.reply_to_id)}
    if message.attachment is not None:
        item["attachment"] = {"S": json.dumps(attachment_json(message.attachment))}
    for name, moment in (("editedAt", message.edited_at), ("deletedAt", message.deleted_at)):
        if moment is not None:
            item[name] = {"S": utc_text(moment)}
    for user_id, count in Counter(one.user_id for one in restored.reactions).items():
        item[f"reactionsOf#{user_id}"] = {"N": str(count)}
    guard = {
        **key_of_item(f"id#{message.id}", "guard"),
        "of": {"S": str(trip_id)},
        "author": {"S": str(sender.id)},
        "target": {"S": key},
    }
    return guard, item
