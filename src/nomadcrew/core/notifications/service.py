"""Who is told what, and how."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import EventId, InvitationId, UserId, derived_id
from nomadcrew.core.notifications.causes import Cause, news_of, people_in
from nomadcrew.core.notifications.model import Draft, Facts, News, Telling, Toast
from nomadcrew.core.notifications.ports import Notifications
from nomadcrew.core.notifications.preferences import PASSING, Channel, channels
from nomadcrew.core.notifications.push import PushTask
from nomadcrew.core.notifications.texts import shown


async def telling(event: Event, *, notifications: Notifications, now: datetime) -> Telling:
    """Who is told of an event, and how, by what people want at this moment.

    An event of a trip that is gone is told to nobody.
    """
    if event.trip_id is None:
        return Telling()
    payload = json.loads(event.payload)
    invitation = payload.get("invitation_id")
    facts = await notifications.facts(
        event.trip_id,
        people_in(event, payload),
        None if invitation is None else InvitationId(UUID(invitation)),
    )
    if facts is None:
        return Telling()
    return told(event.id, news_of(Cause(event, payload, facts)), facts, now)


def told(cause: EventId, all_news: Iterable[News], facts: Facts, now: datetime) -> Telling:
    """The notifications news become; what follows from one cause has the same ids at every repeat."""
    telling = Telling()
    for news in all_news:
        ways = {user_id: _channels(news, user_id, facts, now) for user_id in news.people}
        kept = [user_id for user_id, found in ways.items() if Channel.LIST in found]
        seen = [user_id for user_id, found in ways.items() if Channel.SOCKET in found and user_id not in kept]
        pushed = [
            user_id for user_id, found in ways.items() if Channel.PUSH in found and facts.people[user_id].has_phone
        ]
        telling.drafts.extend(Draft.of(cause, user_id, news.type, news.metadata) for user_id in kept)
        if seen:
            telling.toasts.append(Toast.of(cause, news, seen))
        if pushed:
            telling.pushes.append(_push(cause, news, pushed))
    return telling


def toast_event(toast: Toast, cause: Event, now: datetime) -> Event:
    """What sockets hear of a notification that is not kept."""
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


def _channels(news: News, user_id: UserId, facts: Facts, now: datetime) -> frozenset[Channel]:
    person = facts.people.get(user_id)
    if person is None:  # somebody who has no profile any more
        return frozenset()
    return channels(news.kind, person.preferences, person.trip, now, mentioned=user_id in news.mentioned)


def _push(cause: EventId, news: News, people: Sequence[UserId]) -> PushTask:
    passing = Toast.of(cause, news, people).id if news.kind in PASSING else None
    recipients = {user_id: passing or Draft.of(cause, user_id, news.type, news.metadata).id for user_id in people}
    return PushTask(EventId(derived_id(cause, f"push {news.type}")), news.type, news.metadata, recipients)
