"""Rules that turn events into notifications, with the metadata keys that the client's cards read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from nomadcrew.core.events import Event
from nomadcrew.core.ids import UserId
from nomadcrew.core.notifications.model import Facts, Notice
from nomadcrew.core.notifications.preferences import Kind
from nomadcrew.core.notifications.texts import preview, sent_file

Payload = dict[str, Any]

_PEOPLE = ("userId", "addedBy", "removedBy", "inviterId", "createdBy")


def user_ids_in(event: Event, payload: Payload) -> list[UserId]:
    """The users named by an event: its actor and the users whom it concerns."""
    values = (payload.get(key) for key in _PEOPLE)
    users = [user_id for user_id in map(_user, values) if user_id is not None]
    return users if event.actor_id is None else [*users, event.actor_id]


@dataclass(frozen=True, slots=True)
class Trigger:
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

    def person(self, key: str) -> UserId | None:
        """The user in the payload's field `key`."""
        return _user(self.payload.get(key))

    def members_but(self, *people: UserId | None) -> list[UserId]:
        return [user_id for user_id in self.facts.members if user_id not in people]

    def only(self, person: UserId | None) -> list[UserId]:
        """The user, if on the trip; else an empty list."""
        return [user_id for user_id in self.facts.members if user_id == person]


def notices_of(cause: Trigger) -> Iterable[Notice]:
    """The notices of an event, with their recipients. An event's actor is never among them."""
    rule = _NEWS.get(cause.event.type)
    return () if rule is None else rule(cause)


def _invited(cause: Trigger) -> Iterable[Notice]:
    metadata = cause.trip | {
        "invitationID": cause.payload["invitation_id"],
        "inviterID": str(cause.event.actor_id or ""),
        "inviterName": cause.actor_name,
    }
    invited = [user_id for user_id, person in cause.facts.people.items() if person.is_invited]
    yield Notice(Kind.INVITATION, "TRIP_INVITATION_RECEIVED", metadata, invited)


def _declined(cause: Trigger) -> Iterable[Notice]:
    inviter = cause.person("inviterId")
    metadata = cause.trip | {
        "invitationID": cause.payload["invitationId"],
        "memberID": str(cause.event.actor_id),
        "memberName": cause.actor_name,
    }
    yield Notice(Kind.OWN, "TRIP_INVITATION_DECLINED", metadata, cause.only(inviter))


def _joined(cause: Trigger) -> Iterable[Notice]:
    member, adder, accepted = cause.person("userId"), cause.person("addedBy"), cause.payload.get("invitationId")
    metadata = cause.trip | {
        "addedUserID": str(member),
        "addedUserName": cause.facts.name(member),
        "adderUserID": str(adder or member),
        "adderUserName": cause.facts.name(adder or member),
    }
    yield Notice(Kind.TRIP, "TRIP_MEMBER_JOINED", metadata, cause.members_but(member, adder))
    if accepted:
        answer = cause.trip | {
            "invitationID": accepted,
            "memberID": str(member),
            "memberName": cause.facts.name(member),
        }
        inviter = cause.only(adder if adder != member else None)
        yield Notice(Kind.OWN, "TRIP_INVITATION_ACCEPTED", answer, inviter)
    else:
        added = cause.only(member)
        yield Notice(Kind.OWN, "MEMBER_ADDED", metadata, added)


def _left(cause: Trigger) -> Iterable[Notice]:
    member, remover = cause.person("userId"), cause.person("removedBy")
    metadata = cause.trip | {"memberID": str(member), "memberName": cause.facts.name(member)}
    yield Notice(Kind.TRIP, "TRIP_MEMBER_LEFT", metadata, cause.members_but(member, remover))
    if member is not None and member != remover:
        yield Notice(Kind.OWN, "MEMBERSHIP_CHANGE", metadata | {"change": "removed"}, [member])


def _role_changed(cause: Trigger) -> Iterable[Notice]:
    member = cause.person("userId")
    if member is None or cause.payload.get("changedBy") == cause.payload["userId"]:
        return
    metadata = cause.trip | {
        "change": "role",
        "role": cause.payload["role"],
        "previousRole": cause.payload["previousRole"],
    }
    yield Notice(Kind.OWN, "MEMBERSHIP_CHANGE", metadata, [member])


def _updated(cause: Trigger) -> Iterable[Notice]:
    fields = cause.payload.get("changedFields", ["status"])
    metadata = cause.trip | {"updaterName": cause.actor_name, "changedFields": fields}
    yield Notice(Kind.TRIP, "TRIP_UPDATED", metadata, cause.members_but(cause.event.actor_id))


def _todo_changed(cause: Trigger) -> Iterable[Notice]:
    """Notify a to-do's creator when another member completes it."""
    if cause.payload["status"] != "COMPLETE" or cause.payload.get("previousStatus") != "INCOMPLETE":
        return
    author = cause.person("createdBy")
    metadata = cause.trip | {
        "todoID": cause.payload["id"],
        "todoTitle": cause.payload["text"],
        "completerID": str(cause.event.actor_id),
        "completerName": cause.actor_name,
    }
    recipients = cause.only(author if author != cause.event.actor_id else None)
    yield Notice(Kind.TODO, "TODO_COMPLETED", metadata, recipients)


def _said(cause: Trigger) -> Iterable[Notice]:
    sender = cause.payload["user"]
    metadata = {
        "chatID": str(cause.event.trip_id),  # a trip has one chat
        "messageID": cause.payload["messageId"],
        "senderName": sender["name"],
        "messagePreview": preview(cause.payload["content"]) or sent_file(cause.payload.get("attachment")),
    }
    mentioned = frozenset(user for user in map(_user, cause.payload.get("mentions", ())) if user is not None)
    yield Notice(Kind.CHAT, "CHAT_MESSAGE", metadata, cause.members_but(_user(sender["id"])), mentioned)


def _sharing_changed(cause: Trigger) -> Iterable[Notice]:
    if cause.payload["isSharingEnabled"] is not True:
        return
    member = cause.person("userId")
    metadata = cause.trip | {"memberID": str(member), "memberName": cause.facts.name(member), "change": "started"}
    yield Notice(Kind.LOCATION, "LOCATION_SHARED", metadata, cause.members_but(member))


def _arrived(cause: Trigger) -> Iterable[Notice]:
    """Uses the type `LOCATION_SHARED`: the shipped app does not know a type for arrivals."""
    member, place = cause.person("userId"), cause.payload["place"]
    metadata = cause.trip | {
        "memberID": str(member),
        "memberName": cause.facts.name(member),
        "change": "arrived",
        "place": place,
        "placeName": "the meeting point" if place == "meeting point" else cause.facts.trip_name,
    }
    yield Notice(Kind.ARRIVAL, "LOCATION_SHARED", metadata, cause.members_but(member))


_NEWS: Mapping[str, Callable[[Trigger], Iterable[Notice]]] = {
    "TRIP_INVITATION_CREATED": _invited,
    "invitation.renewed": _invited,
    "invitation.declined": _declined,
    "MEMBER_ADDED": _joined,
    "MEMBER_REMOVED": _left,
    "MEMBER_ROLE_UPDATED": _role_changed,
    "TRIP_UPDATED": _updated,
    "TRIP_STATUS_UPDATED": _updated,
    "TODO_UPDATED": _todo_changed,
    "CHAT_MESSAGE_SENT": _said,
    "LOCATION_SHARING_CHANGED": _sharing_changed,
    "MEMBER_ARRIVED": _arrived,
}


def _user(text: Any) -> UserId | None:
    return UserId(UUID(text)) if isinstance(text, str) else None
