"""Plans the delivery of an event's notifications."""

import json
from datetime import datetime
from uuid import UUID

from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import InvitationId, UserId
from nomadcrew.core.notifications.model import DeliveryPlan, Facts, Notice, Toast
from nomadcrew.core.notifications.ports import Notifications
from nomadcrew.core.notifications.preferences import Channel, channels
from nomadcrew.core.notifications.rules import PERSONAL, Trigger, notices_of, user_ids_in
from nomadcrew.core.notifications.texts import notification_payload


async def plan_delivery(event: Event, *, notifications: Notifications, now: datetime) -> DeliveryPlan:
    """The delivery plan of an event, by the users' current preferences.

    The plan is empty for an event of a deleted trip.
    """
    if event.trip_id is None and event.type not in PERSONAL:
        return DeliveryPlan()
    payload = json.loads(event.payload)
    invitation = payload.get("invitation_id")
    facts = await notifications.facts(
        event.trip_id,
        user_ids_in(event, payload),
        None if invitation is None else InvitationId(UUID(invitation)),
    )
    plan = DeliveryPlan()
    if facts is not None:
        for notice in notices_of(Trigger(event, payload, facts)):
            plan.add(
                event.id, notice, {user_id: _channels(notice, user_id, facts, now) for user_id in notice.user_ids}
            )
    return plan


def toast_event(toast: Toast, event: Event, now: datetime) -> Event:
    """The broadcast of a notification that is not stored."""
    return Event(
        id=toast.event_id,
        type="notification.created",
        source="NotificationService",
        trip_id=event.trip_id,
        actor_id=None,
        recipient_id=None,
        audience=Audience.USER,
        occurred_at=now,
        payload=json.dumps(notification_payload(toast.id, toast.type, toast.metadata, now), ensure_ascii=False),
        kept=False,
    )


def _channels(notice: Notice, user_id: UserId, facts: Facts, now: datetime) -> frozenset[Channel]:
    user = facts.users.get(user_id)
    if user is None:  # the profile was deleted
        return frozenset()
    chosen = channels(notice.kind, user.preferences, user.trip, now, mentioned=user_id in notice.mentioned)
    return chosen if user.has_phone else chosen - {Channel.PUSH}
