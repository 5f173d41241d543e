"""What I was told: /v1/notifications, and the record of events at /v1/events."""

from nomadcrew.api.notifications.bodies import (
    Deleted,
    MarkedAsRead,
    NotificationView,
    UnreadCount,
    notification_view,
)
from nomadcrew.api.notifications.preferences import (
    PreferencesIn,
    PreferencesView,
    TripPreferencesView,
    preferences_view,
    trip_preferences_view,
)
from nomadcrew.core.errors import Invalid
from nomadcrew.core.events import NO_CURSOR
from nomadcrew.core.ids import NotificationId, parse_uuid
from nomadcrew.core.notifications.preferences import Preferences
from nomadcrew.core.permissions import rule
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Gate, Param, Routes
from nomadcrew.wire.events import EventPageView, envelope

routes = Routes("notifications", ports=("events", "limits", "notifications", "outbox", "profiles", "replies"))
PAGE = (
    Param("limit", "integer", "How many, 1 to 100; 20 unless told."),
    Param("offset", "integer", "How many to pass over; 0 unless told."),
    Param("status", "string", "Only `read` or only `unread`."),
)
AFTER = (
    Param("after", "string", "The id of the last event seen that is kept; everything kept without it."),
    Param("limit", "integer", "How many, 1 to 200; 100 unless told."),
)
MAX_OFFSET = 1_000_000


def notification_id(call: Call) -> NotificationId:
    """The notification in the path.

    Raises:
        Invalid: the id is malformed.
    """
    malformed = Invalid("That is no notification's id.", code="invalid_notification_id")
    return NotificationId(call.id("notificationId", malformed))


@routes.get("/v1/notifications", query=PAGE, refusals=(400,))
async def list_notifications(call: Call) -> list[NotificationView]:
    """List my notifications, newest first."""
    status = call.query("status")
    if status not in (None, "", "read", "unread"):
        raise Invalid("A status is read or unread.", code="invalid_status")
    found = await call.ports.notifications.page(
        call.me,
        is_read={"read": True, "unread": False}.get(status or ""),
        limit=call.count("limit", default=20, lowest=1, highest=100, over=20),
        offset=call.count("offset", default=0, highest=MAX_OFFSET),
    )
    return [notification_view(notification) for notification in found]


@routes.get("/v1/notifications/unread-count")
async def count_unread_notifications(call: Call) -> UnreadCount:
    """Count my unread notifications."""
    return UnreadCount(await call.ports.notifications.unread(call.me))


@routes.patch("/v1/notifications/read-all")
async def mark_all_notifications_read(call: Call) -> MarkedAsRead:
    """Mark all my notifications as read."""
    return MarkedAsRead(await call.ports.notifications.mark_all_read(call.me, now=call.now))


@routes.patch("/v1/notifications/{notificationId}/read", status=204, refusals=(400, 404))
async def mark_notification_read(call: Call) -> None:
    """Mark one of my notifications as read."""
    await call.ports.notifications.mark_read(notification_id(call), call.me, now=call.now)


@routes.delete("/v1/notifications/{notificationId}", status=204, refusals=(400, 404))
async def delete_notification(call: Call) -> None:
    """Delete one of my notifications."""
    await call.ports.notifications.delete(notification_id(call), call.me)


@routes.delete("/v1/notifications")
async def delete_all_notifications(call: Call) -> Deleted:
    """Delete all my notifications."""
    return Deleted(await call.ports.notifications.delete_all(call.me))


@routes.get("/v1/notifications/preferences")
async def get_notification_preferences(call: Call) -> PreferencesView:
    """Show how I want to be told."""
    profile = await call.ports.profiles.one(call.me, call.me)
    return preferences_view(Preferences.read(profile.preferences))


@routes.put("/v1/notifications/preferences")
async def set_notification_preferences(call: Call, body: PreferencesIn) -> PreferencesView:
    """Change how I want to be told.

    What is left out stays as it is. These are the settings that the app keeps in my preferences, and more.
    """
    profile = await call.ports.profiles.merge_notification_preferences(
        body.switches(), body.details(), call.me, now=call.now
    )
    return preferences_view(Preferences.read(profile.preferences))


@routes.get("/v1/trips/{id}/notification-preferences", gate=Gate("notification_preferences", "read"))
async def get_trip_notification_preferences(call: Call) -> TripPreferencesView:
    """Show how I want to be told of a trip."""
    found = await call.ports.notifications.trip_preferences(
        call.trip_id, call.me, rule("notification_preferences", "read")
    )
    return trip_preferences_view(found)


@routes.put("/v1/trips/{id}/notification-preferences", gate=Gate("notification_preferences", "update"))
async def set_trip_notification_preferences(call: Call, body: TripPreferencesView) -> TripPreferencesView:
    """Say how I want to be told of a trip.

    Muted is muted on every channel. What is left out is unset.
    """
    wanted = body.wanted()
    await call.ports.notifications.prefer(
        call.trip_id, wanted, call.me, rule("notification_preferences", "update"), now=call.now
    )
    return trip_preferences_view(wanted)


@routes.get("/v1/events", query=AFTER, refusals=(400, 410))
async def list_events(call: Call) -> EventPageView:
    """Catch up on events.

    Everything published to my trips and to me after an event, oldest first, for seven days. Connect the socket
    first and ask then, and nothing is missed; what comes twice has the same id. What is told live only, such as
    positions, typing and presence, is not in the record and no event to continue from.
    """
    after = call.query("after")
    cursor = parse_uuid(after) if after else None
    if after and cursor is None:
        raise Invalid(NO_CURSOR, code="invalid_cursor")
    page = await call.ports.events.after(
        call.me,
        cursor,
        now=call.now,
        limit=call.count("limit", default=100, lowest=1, highest=200),
    )
    events = [envelope(event) for event in page.events]
    return EventPageView(events, events[-1].id if events else cursor, page.has_more)
