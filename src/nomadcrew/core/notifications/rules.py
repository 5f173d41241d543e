"""Rules that turn events into notifications, with the metadata keys that the client's cards read."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.events import DOCUMENT_ENDS, INVITATION_REMINDER, TRIP_EXPORTED, WEBHOOK_DISABLED, Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.notifications.model import Facts, Notice
from nomadcrew.core.notifications.preferences import Kind
from nomadcrew.core.notifications.texts import APP_NAME, preview, sent_file

Payload = dict[str, Any]

_USER_KEYS = ("userId", "addedBy", "removedBy", "inviterId", "createdBy")


def user_ids_in(event: Event, payload: Payload) -> list[UserId]:
    """The users named by an event: its actor and the users whom it concerns."""
    values = (payload.get(key) for key in _USER_KEYS)
    users = [user_id for user_id in map(_user, values) if user_id is not None]
    return users if event.actor_id is None else [*users, event.actor_id]


class Trigger(Struct, frozen=True):
    """An event, its decoded payload, and the facts about the users whom it concerns."""

    event: Event
    payload: Payload
    facts: Facts

    @property
    def trip(self) -> Payload:
        return {"tripID": str(self.event.trip_id), "tripName": self.facts.trip_name}

    @property
    def actor_name(self) -> str:
        return self.facts.name(self.event.actor_id)

    def user_id(self, key: str) -> UserId | None:
        """The user in the payload's field `key`."""
        return _user(self.payload.get(key))

    def members_except(self, *user_ids: UserId | None) -> list[UserId]:
        return [user_id for user_id in self.facts.members if user_id not in user_ids]

    def if_member(self, user: UserId | None) -> list[UserId]:
        """The user, if on the trip; else an empty list."""
        return [user_id for user_id in self.facts.members if user_id == user]


# Events without a trip that concern a user.
PERSONAL = frozenset({DOCUMENT_ENDS})


def notices_of(trigger: Trigger) -> Iterable[Notice]:
    """The notices of an event, with their recipients. An event's actor is never among them."""
    rule = _RULES.get(trigger.event.type)
    return () if rule is None else rule(trigger)


def _invited(trigger: Trigger) -> Iterable[Notice]:
    yield _invitation(trigger)


def _reminded_of_invitation(trigger: Trigger) -> Iterable[Notice]:
    """Renews the notification of the invitation, whose type is the only one that the shipped app can answer."""
    yield _invitation(trigger, change="reminder", expiresAt=trigger.payload["expires_at"])


def _invitation(trigger: Trigger, **more: str) -> Notice:
    metadata = trigger.trip | {
        "invitationID": trigger.payload["invitation_id"],
        "inviterID": str(trigger.event.actor_id or ""),
        "inviterName": trigger.actor_name,
        **more,
    }
    invited = [user_id for user_id, user in trigger.facts.users.items() if user.is_invited]
    subject = UUID(trigger.payload["invitation_id"])
    return Notice(Kind.INVITATION, "TRIP_INVITATION_RECEIVED", metadata, invited, subject=subject)


def _declined(trigger: Trigger) -> Iterable[Notice]:
    inviter = trigger.user_id("inviterId")
    metadata = trigger.trip | {
        "invitationID": trigger.payload["invitationId"],
        "memberID": str(trigger.event.actor_id),
        "memberName": trigger.actor_name,
    }
    yield Notice(Kind.OWN, "TRIP_INVITATION_DECLINED", metadata, trigger.if_member(inviter))


def _joined(trigger: Trigger) -> Iterable[Notice]:
    member, adder, accepted = (
        trigger.user_id("userId"),
        trigger.user_id("addedBy"),
        trigger.payload.get("invitationId"),
    )
    metadata = trigger.trip | {
        "addedUserID": str(member),
        "addedUserName": trigger.facts.name(member),
        "adderUserID": str(adder or member),
        "adderUserName": trigger.facts.name(adder or member),
    }
    yield Notice(Kind.TRIP, "TRIP_MEMBER_JOINED", metadata, trigger.members_except(member, adder))
    if accepted:
        answer = trigger.trip | {
            "invitationID": accepted,
            "memberID": str(member),
            "memberName": trigger.facts.name(member),
        }
        inviter = trigger.if_member(adder if adder != member else None)
        yield Notice(Kind.OWN, "TRIP_INVITATION_ACCEPTED", answer, inviter)
    else:
        added = trigger.if_member(member)
        yield Notice(Kind.OWN, "MEMBER_ADDED", metadata, added)


def _left(trigger: Trigger) -> Iterable[Notice]:
    member, remover = trigger.user_id("userId"), trigger.user_id("removedBy")
    metadata = trigger.trip | {"memberID": str(member), "memberName": trigger.facts.name(member)}
    yield Notice(Kind.TRIP, "TRIP_MEMBER_LEFT", metadata, trigger.members_except(member, remover))
    if member is not None and member != remover:
        yield Notice(Kind.OWN, "MEMBERSHIP_CHANGE", metadata | {"change": "removed"}, [member])


def _role_changed(trigger: Trigger) -> Iterable[Notice]:
    member = trigger.user_id("userId")
    if member is None or trigger.payload.get("changedBy") == trigger.payload["userId"]:
        return
    metadata = trigger.trip | {
        "change": "role",
        "role": trigger.payload["role"],
        "previousRole": trigger.payload["previousRole"],
    }
    yield Notice(Kind.OWN, "MEMBERSHIP_CHANGE", metadata, [member])


def _updated(trigger: Trigger) -> Iterable[Notice]:
    fields = trigger.payload.get("changedFields", ["status"])
    if fields == ["backgroundImageUrl"]:  # found by the server
        return
    updater = APP_NAME if trigger.event.actor_id is None else trigger.actor_name
    metadata = trigger.trip | {"updaterName": updater, "changedFields": fields}
    yield Notice(Kind.TRIP, "TRIP_UPDATED", metadata, trigger.members_except(trigger.event.actor_id))


def _todo_changed(trigger: Trigger) -> Iterable[Notice]:
    """Notify a to-do's creator when another member completes it."""
    if trigger.payload["status"] != "COMPLETE" or trigger.payload.get("previousStatus") != "INCOMPLETE":
        return
    author = trigger.user_id("createdBy")
    metadata = trigger.trip | {
        "todoID": trigger.payload["id"],
        "todoTitle": trigger.payload["text"],
        "completerID": str(trigger.event.actor_id),
        "completerName": trigger.actor_name,
    }
    recipients = trigger.if_member(author if author != trigger.event.actor_id else None)
    yield Notice(Kind.TODO, "TODO_COMPLETED", metadata, recipients)


def _todo_assigned(trigger: Trigger) -> Iterable[Notice]:
    metadata = trigger.trip | {
        "todoID": trigger.payload["id"],
        "todoTitle": trigger.payload["text"],
        "assignerID": str(trigger.event.actor_id),
        "assignerName": trigger.actor_name,
    }
    yield Notice(Kind.TODO, "TODO_ASSIGNED", metadata, trigger.if_member(trigger.user_id("assigneeId")))


def _todo_due(trigger: Trigger) -> Iterable[Notice]:
    """Uses the type `TODO_ASSIGNED`: the shipped app does not know a type for due to-dos."""
    metadata = trigger.trip | {
        "todoID": trigger.payload["id"],
        "todoTitle": trigger.payload["text"],
        "dueAt": trigger.payload["dueAt"],
        "change": "due",
    }
    recipients = trigger.if_member(trigger.user_id("assigneeId") or trigger.user_id("createdBy"))
    yield Notice(Kind.TODO, "TODO_ASSIGNED", metadata, recipients)


def _poll(trigger: Trigger, change: str) -> Payload:
    """Polls use the type `TRIP_UPDATE`: the shipped app knows no type for them."""
    author = trigger.event.actor_id or trigger.user_id("createdBy")
    return trigger.trip | {
        "pollID": trigger.payload["pollId"],
        "question": trigger.payload["question"],
        "updaterName": trigger.facts.name(author),
        "changedFields": ["polls"],
        "change": change,
    }


def _poll_created(trigger: Trigger) -> Iterable[Notice]:
    recipients = trigger.members_except(trigger.event.actor_id)
    yield Notice(Kind.POLL, "TRIP_UPDATE", _poll(trigger, "poll_created"), recipients)


def _poll_closed(trigger: Trigger) -> Iterable[Notice]:
    recipients = trigger.members_except(trigger.event.actor_id)
    yield Notice(Kind.POLL, "TRIP_UPDATE", _poll(trigger, "poll_closed"), recipients)


def _poll_reminder(trigger: Trigger) -> Iterable[Notice]:
    waiting = {_user(text) for text in trigger.payload["waitingFor"]}
    recipients = [user_id for user_id in trigger.facts.members if user_id in waiting]
    yield Notice(Kind.POLL, "TRIP_UPDATE", _poll(trigger, "poll_reminder"), recipients)


def _said(trigger: Trigger) -> Iterable[Notice]:
    sender = trigger.payload["user"]
    metadata = {
        "chatID": str(trigger.event.trip_id),  # a trip has one chat
        "messageID": trigger.payload["messageId"],
        "senderName": sender["name"],
        "messagePreview": preview(trigger.payload["content"]) or sent_file(trigger.payload.get("attachment")),
    }
    mentioned = frozenset(user for user in map(_user, trigger.payload.get("mentions", ())) if user is not None)
    yield Notice(Kind.CHAT, "CHAT_MESSAGE", metadata, trigger.members_except(_user(sender["id"])), mentioned)


def _sharing_changed(trigger: Trigger) -> Iterable[Notice]:
    if trigger.payload["isSharingEnabled"] is not True:
        return
    member = trigger.user_id("userId")
    metadata = trigger.trip | {
        "memberID": str(member),
        "memberName": trigger.facts.name(member),
        "change": "started",
    }
    yield Notice(Kind.LOCATION, "LOCATION_SHARED", metadata, trigger.members_except(member))


def _arrived(trigger: Trigger) -> Iterable[Notice]:
    """Uses the type `LOCATION_SHARED`: the shipped app does not know a type for arrivals."""
    member, place = trigger.user_id("userId"), trigger.payload["place"]
    metadata = trigger.trip | {
        "memberID": str(member),
        "memberName": trigger.facts.name(member),
        "change": "arrived",
        "place": place,
        "placeName": "the meeting point" if place == "meeting point" else trigger.facts.trip_name,
    }
    yield Notice(Kind.ARRIVAL, "LOCATION_SHARED", metadata, trigger.members_except(member))


def _document_ends(trigger: Trigger) -> Iterable[Notice]:
    owner = trigger.user_id("userId")
    metadata = {
        "documentID": trigger.payload["documentId"],
        "documentType": trigger.payload["documentType"],
        "documentName": trigger.payload["name"],
        "tripID": trigger.payload["tripId"],
        "endsOn": trigger.payload["endsOn"],
        "days": trigger.payload["days"],
    }
    yield Notice(Kind.DOCUMENT, "DOCUMENT_ENDS", metadata, [] if owner is None else [owner])


def _exported(trigger: Trigger) -> Iterable[Notice]:
    """Uses the type `TRIP_UPDATE`: the shipped app does not know a type for exports."""
    files = "" if trigger.payload["files"] else "?files=false"
    metadata = trigger.trip | {
        "change": "exported",
        "exportID": trigger.payload["exportId"],
        "exportPath": f"/v1/trips/{trigger.event.trip_id}/export{files}",
    }
    yield Notice(Kind.OWN, "TRIP_UPDATE", metadata, trigger.if_member(trigger.user_id("userId")))


def _webhook_disabled(trigger: Trigger) -> Iterable[Notice]:
    """Uses the type `TRIP_UPDATE`, as exports do."""
    metadata = trigger.trip | {
        "change": "webhook_disabled",
        "webhookID": trigger.payload["webhookId"],
        "reason": trigger.payload["reason"],
    }
    yield Notice(Kind.OWN, "TRIP_UPDATE", metadata, trigger.if_member(trigger.user_id("userId")))


_RULES: Mapping[str, Callable[[Trigger], Iterable[Notice]]] = {
    "TRIP_INVITATION_CREATED": _invited,
    "invitation.renewed": _invited,
    INVITATION_REMINDER: _reminded_of_invitation,
    "invitation.declined": _declined,
    "MEMBER_ADDED": _joined,
    "MEMBER_REMOVED": _left,
    "MEMBER_ROLE_UPDATED": _role_changed,
    "TRIP_UPDATED": _updated,
    "TRIP_STATUS_UPDATED": _updated,
    "TODO_UPDATED": _todo_changed,
    "todo.assigned": _todo_assigned,
    "todo.due": _todo_due,
    "POLL_CREATED": _poll_created,
    "POLL_CLOSED": _poll_closed,
    "poll.reminder": _poll_reminder,
    "CHAT_MESSAGE_SENT": _said,
    "LOCATION_SHARING_CHANGED": _sharing_changed,
    "MEMBER_ARRIVED": _arrived,
    DOCUMENT_ENDS: _document_ends,
    TRIP_EXPORTED: _exported,
    WEBHOOK_DISABLED: _webhook_disabled,
}


def _user(text: Any) -> UserId | None:
    return UserId(UUID(text)) if isinstance(text, str) else None
