"""Notifications and their preferences: /v1/notifications; stored events: /v1/events."""

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
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Invalid
from nomadcrew.core.events import NO_CURSOR
from nomadcrew.core.ids import NotificationId, parse_uuid
from nomadcrew.core.notifications.preferences import Preferences
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.web import pages
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.routes import Gate, Param, Routes
from nomadcrew.wire.events import EventPageView, envelope

routes = Routes(
    "notifications",
    ports=("events", "idempotency", "limits", "notifications", "open_sessions", "outbox", "profiles"),
)
PAGE = (
    Param("limit", "integer", "Page size, 1 to 100. Default: 20."),
    Param("offset", "integer", "Number of notifications to skip, without `after`. Default: 0."),
    pages.AFTER,
    Param("status", "string", "`read` or `unread`. Default: both."),
)
AFTER = (
    Param("after", "string", "The id of the last stored event received. Default: start with the oldest."),
    Param("limit", "integer", "Page size, 1 to 200. Default: 100."),
)
MAX_OFFSET = 1_000_000


def notification_id(call: Call) -> NotificationId:
    """The notification id in the path.

    Raises:
        Invalid: the id is malformed.
    """
    malformed = Invalid("Not a valid notification id.", code="invalid_notification_id")
    return NotificationId(call.id("notificationId", malformed))


@routes.get("/v1/notifications", query=PAGE, refusals=(400,))
async def list_notifications(call: Call) -> list[NotificationView] | Reply:
    """List the caller's notifications, newest first.

    The Link header leads to the next page.
    """
    status = call.query("status")
    if status not in (None, "", "read", "unread"):
        raise Invalid("`status` must be `read` or `unread`.", code="invalid_status")
    limit, after = call.count("limit", default=20, lowest=1, highest=100, over=20), pages.after_of(call)
    notifications = await call.ports.notifications.page(
        call.user_id,
        is_read={"read": True, "unread": False}.get(status or ""),
        limit=limit,
        offset=0 if after else call.count("offset", default=0, highest=MAX_OFFSET),
        after=after,
    )
    last = pages.last_of(notifications, limit, lambda one: After(one.created_at, one.id))
    return pages.paged(call, [notification_view(notification) for notification in notifications], last)


@routes.get("/v1/notifications/unread-count")
async def count_unread_notifications(call: Call) -> UnreadCount:
    """Count the caller's unread notifications."""
    return UnreadCount(await call.ports.notifications.count_unread(call.user_id))


@routes.patch("/v1/notifications/read-all")
async def mark_all_notifications_read(call: Call) -> MarkedAsRead:
    """Mark all notifications of the caller as read."""
    return MarkedAsRead(await call.ports.notifications.mark_all_read(call.user_id, now=call.now))


@routes.patch("/v1/notifications/{notificationId}/read", status=204, refusals=(400, 404))
async def mark_notification_read(call: Call) -> None:
    """Mark a notification as read."""
    await call.ports.notifications.mark_read(notification_id(call), call.user_id, now=call.now)


@routes.delete("/v1/notifications/{notificationId}", status=204, refusals=(400, 404))
async def delete_notification(call: Call) -> None:
    """Delete a notification."""
    await call.ports.notifications.delete(notification_id(call), call.user_id)


@routes.delete("/v1/notifications")
async def delete_all_notifications(call: Call) -> Deleted:
    """Delete all notifications of the caller."""
    return Deleted(await call.ports.notifications.delete_all(call.user_id))


@routes.get("/v1/notifications/preferences")
async def get_notification_preferences(call: Call) -> PreferencesView:
    """Get the caller's notification preferences."""
    profile = await call.ports.profiles.get(call.user_id, call.user_id)
    return preferences_view(Preferences.read(profile.preferences))


@routes.put("/v1/notifications/preferences")
async def set_notification_preferences(call: Call, body: PreferencesIn) -> PreferencesView:
    """Update the caller's notification preferences.

    Omitted fields stay unchanged. The notification settings in the profile's `preferences` are a part of them.
    """
    profile = await call.ports.profiles.merge_notification_preferences(
        body.switches(), body.details(), call.user_id, now=call.now
    )
    return preferences_view(Preferences.read(profile.preferences))


@routes.get("/v1/trips/{id}/notification-preferences", gate=Gate("notification_preferences", "read"))
async def get_trip_notification_preferences(call: Call) -> TripPreferencesView:
    """Get the caller's notification preferences for a trip."""
    preferences = await call.ports.notifications.trip_preferences(
        Access(call.trip_id, call.user_id, rule("notification_preferences", "read"))
    )
    return trip_preferences_view(preferences)


@routes.put("/v1/trips/{id}/notification-preferences", gate=Gate("notification_preferences", "update"))
async def set_trip_notification_preferences(call: Call, body: TripPreferencesView) -> TripPreferencesView:
    """Set the caller's notification preferences for a trip.

    A muted trip is muted on every channel. Omitted fields are cleared.
    """
    preferences = body.wanted()
    await call.ports.notifications.set_trip_preferences(
        Access(call.trip_id, call.user_id, rule("notification_preferences", "update")), preferences, now=call.now
    )
    return trip_preferences_view(preferences)


@routes.get("/v1/events", query=AFTER, refusals=(400, 410))
async def list_events(call: Call) -> EventPageView:
    """List stored events, oldest first.

    Events of the caller's trips and to the caller, stored for seven days. To miss none, connect the socket before
    this request; drop duplicates by id. Broadcasts, such as positions, typing and presence, are not stored, and
    their ids cannot be used as `after`.
    """
    after = call.query("after")
    cursor = parse_uuid(after) if after else None
    if after and cursor is None:
        raise Invalid(NO_CURSOR, code="invalid_cursor")
    page = await call.ports.events.after(
        call.user_id,
        cursor,
        now=call.now,
        limit=call.count("limit", default=100, lowest=1, highest=200),
    )
    events = [envelope(event) for event in page.events]
    return EventPageView(events, events[-1].id if events else cursor, page.has_more)
