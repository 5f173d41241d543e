"""Plans the delivery of an event's notifications."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import EventId, InvitationId, UserId, derived_id
from nomadcrew.core.notifications.model import DeliveryPlan, Draft, Facts, Notice, Toast
from nomadcrew.core.notifications.ports import Notifications
from nomadcrew.core.notifications.preferences import PASSING, Channel, channels
from nomadcrew.core.notifications.push import PushTask
from nomadcrew.core.notifications.rules import Trigger, notices_of, user_ids_in
from nomadcrew.core.notifications.texts import shown


async def plan_delivery(event: Event, *, notifications: Notifications, now: datetime) -> DeliveryPlan:
    """The delivery plan of an event, by the users' current preferences.

    The plan is empty for an event of a deleted trip.
    """
    if event.trip_id is None:
        return DeliveryPlan()
    payload = json.loads(event.payload)
    invitation = payload.get("invitation_id")
    facts = await notifications.facts(
        event.trip_id,
        user_ids_in(event, payload),
        None if invitation is None else InvitationId(UUID(invitation)),
    )
    if facts is None:
        return DeliveryPlan()
    return told(event.id, notices_of(Trigger(event, payload, facts)), facts, now)


def told(cause: EventId, all_news: Iterable[Notice], facts: Facts, now: datetime) -> DeliveryPlan:
    """The delivery plan of notices. Its ids are derived from `cause`, so that a repeat has the same ids."""
    plan = DeliveryPlan()
    for news in all_news:
        by_user = {user_id: _channels(news, user_id, facts, now) for user_id in news.people}
        stored = [user_id for user_id, ways in by_user.items() if Channel.LIST in ways]
        toasted = [user_id for user_id, ways in by_user.items() if Channel.SOCKET in ways and user_id not in stored]
        pushed = [
            user_id for user_id, ways in by_user.items() if Channel.PUSH in ways and facts.people[user_id].has_phone
        ]
        plan.drafts.extend(Draft.of(cause, user_id, news.type, news.metadata) for user_id in stored)
        if toasted:
            plan.toasts.append(Toast.of(cause, news, toasted))
        if pushed:
            plan.pushes.append(_push(cause, news, pushed))
    return plan


def toast_event(toast: Toast, cause: Event, now: datetime) -> Event:
    """The broadcast of a notification that is not stored."""
    return Event(
        id=toast.event_id,
        type="notification.created",
        source="NotificationService",
        trip_id=cause.trip_id,
        actor_id=None,
        recipient_id=None,
        audience=Audience.USER,
        occurred_at=now,
        payload=json.dumps(shown(toast.id, toast.type, toast.metadata, now), ensure_ascii=False),
        kept=False,
    )


def _channels(news: Notice, user_id: UserId, facts: Facts, now: datetime) -> frozenset[Channel]:
    person = facts.people.get(user_id)
    if person is None:  # the profile was deleted
        return frozenset()
    return channels(news.kind, person.preferences, person.trip, now, mentioned=user_id in news.mentioned)


def _push(cause: EventId, news: Notice, people: Sequence[UserId]) -> PushTask:
    passing = Toast.of(cause, news, people).id if news.kind in PASSING else None
    recipients = {user_id: passing or Draft.of(cause, user_id, news.type, news.metadata).id for user_id in people}
    return PushTask(EventId(derived_id(cause, f"push {news.type}")), news.type, news.metadata, recipients)
