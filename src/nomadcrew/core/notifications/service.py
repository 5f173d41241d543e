"""Who is told what, and what people do with it."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from nomadcrew.core.events import Event
from nomadcrew.core.ids import InvitationId, UserId
from nomadcrew.core.notifications.model import Draft, Facts
from nomadcrew.core.notifications.ports import Notifications


async def notify(event: Event, *, notifications: Notifications, now: datetime) -> int:
    """Store what an event gives people to know; returns how many notifications were new.

    Safe to repeat, and to be late: an event of a trip that is gone gives none.
    """
    if event.trip_id is None:
        return 0
    payload = json.loads(event.payload)
    people = _people(event, payload)
    facts = await notifications.facts(event.trip_id, people)
    if facts is None:
        return 0
    invitee = None
    if "invitation_id" in payload:
        invitee = await notifications.invitee(InvitationId(UUID(payload["invitation_id"])))
    drafts = list(drafts_of(event, payload, facts, invitee))
    return await notifications.store(event.trip_id, drafts, now=now) if drafts else 0


def drafts_of(
    event: Event, payload: dict[str, Any], facts: Facts, invitee: UserId | None = None
) -> Iterable[Draft]:
    """The notifications an event gives, with the metadata keys the client's cards read."""
    trip = {"tripID": str(event.trip_id), "tripName": facts.trip_name}
    match event.type:
        case "TRIP_INVITATION_CREATED" | "invitation.renewed":
            return _invited(event, payload, facts, trip, invitee)
        case "invitation.declined":
            return _declined(event, payload, facts, trip)
        case "MEMBER_ADDED":
            return _joined(event, payload, facts, trip)
        case "MEMBER_REMOVED":
            return _left(event, payload, facts, trip)
        case "MEMBER_ROLE_UPDATED":
            return _role_changed(event, payload, trip)
        case "TRIP_UPDATED" | "TRIP_STATUS_UPDATED":
            return _updated(event, payload, facts, trip)
        case _:
            return ()


def _invited(
    event: Event, payload: dict[str, Any], facts: Facts, trip: dict[str, str], invitee: UserId | None
) -> Iterable[Draft]:
    if invitee is None:
        return
    metadata = trip | {
        "invitationID": payload["invitation_id"],
        "inviterID": str(event.actor_id or ""),
        "inviterName": _name(facts, event.actor_id),
    }
    yield Draft.of(event.id, invitee, "TRIP_INVITATION_RECEIVED", metadata)


def _declined(event: Event, payload: dict[str, Any], facts: Facts, trip: dict[str, str]) -> Iterable[Draft]:
    inviter = _user(payload.get("inviterId"))
    if inviter is None or inviter not in facts.member_ids:
        return
    metadata = trip | {
        "invitationID": payload["invitationId"],
        "memberID": str(event.actor_id),
        "memberName": _name(facts, event.actor_id),
    }
    yield Draft.of(event.id, inviter, "TRIP_INVITATION_DECLINED", metadata)


def _joined(event: Event, payload: dict[str, Any], facts: Facts, trip: dict[str, str]) -> Iterable[Draft]:
    member, adder = _user(payload["userId"]), _user(payload.get("addedBy"))
    metadata = trip | {
        "addedUserID": str(member),
        "addedUserName": _name(facts, member),
        "adderUserID": str(adder or member),
        "adderUserName": _name(facts, adder or member),
    }
    accepted = payload.get("invitationId")
    for user_id in facts.member_ids:
        if user_id == member:
            if not accepted:
                yield Draft.of(event.id, user_id, "MEMBER_ADDED", metadata)
        elif user_id == adder:
            if accepted:
                answer = trip | {
                    "invitationID": accepted,
                    "memberID": str(member),
                    "memberName": _name(facts, member),
                }
                yield Draft.of(event.id, user_id, "TRIP_INVITATION_ACCEPTED", answer)
        else:
            yield Draft.of(event.id, user_id, "TRIP_MEMBER_JOINED", metadata)


def _left(event: Event, payload: dict[str, Any], facts: Facts, trip: dict[str, str]) -> Iterable[Draft]:
    member, remover = _user(payload["userId"]), _user(payload.get("removedBy"))
    metadata = trip | {"memberID": str(member), "memberName": _name(facts, member)}
    for user_id in facts.member_ids:
        if user_id not in (member, remover):
            yield Draft.of(event.id, user_id, "TRIP_MEMBER_LEFT", metadata)
    if member is not None and member != remover:
        yield Draft.of(event.id, member, "MEMBERSHIP_CHANGE", metadata | {"change": "removed"})


def _role_changed(event: Event, payload: dict[str, Any], trip: dict[str, str]) -> Iterable[Draft]:
    member = _user(payload["userId"])
    if member is None or payload.get("changedBy") == payload["userId"]:
        return
    metadata = trip | {"change": "role", "role": payload["role"], "previousRole": payload["previousRole"]}
    yield Draft.of(event.id, member, "MEMBERSHIP_CHANGE", metadata)


def _updated(event: Event, payload: dict[str, Any], facts: Facts, trip: dict[str, str]) -> Iterable[Draft]:
    fields = payload.get("changedFields", ["status"])
    metadata = trip | {"updaterName": _name(facts, event.actor_id), "changedFields": fields}
    for user_id in facts.member_ids:
        if user_id != event.actor_id:
            yield Draft.of(event.id, user_id, "TRIP_UPDATED", metadata)


def _people(event: Event, payload: dict[str, Any]) -> list[UserId]:
    named = (payload.get(key) for key in ("userId", "addedBy", "removedBy", "inviterId"))
    found = [user_id for user_id in map(_user, named) if user_id is not None]
    return found if event.actor_id is None else [*found, event.actor_id]


def _user(text: Any) -> UserId | None:
    return UserId(UUID(text)) if isinstance(text, str) else None


def _name(facts: Facts, user_id: UserId | None) -> str:
    return facts.names.get(user_id, "Someone") if user_id is not None else "Someone"
