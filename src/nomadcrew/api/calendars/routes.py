"""Calendars by secret link: /v1/calendars."""

from nomadcrew.api.calendars.bodies import CalendarsView, CalendarView, NewCalendarIn, calendar_view
from nomadcrew.api.calendars.ics import calendar_text
from nomadcrew.core.calendars import service
from nomadcrew.core.calendars.model import Calendar, CalendarNotFound
from nomadcrew.core.ids import CalendarId, TripId
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.routes import Auth, Routes

routes = Routes(
    "calendars",
    ports=("calendar_links", "calendars", "idempotency", "limits", "open_sessions"),
    uses_outbox=False,
    takes_keys=False,  # a link is a credential that would outlive the key
)
SUFFIX = ".ics"
HEADERS = {
    "content-type": "text/calendar; charset=utf-8",
    "content-disposition": 'inline; filename="nomadcrew.ics"',
    # The link is a secret of one user: shared caches must not store what it leads to.
    "cache-control": "private, max-age=300",
}


@routes.post("/v1/calendars", status=201, bucket="calendar_create", refusals=(400, 403, 404, 409))
async def create_calendar(call: Call, body: NewCalendarIn) -> CalendarView:
    """Create a calendar for calendar programs.

    Its `url` is a secret link that needs no sign-in. It shows the trips and due to-dos of one trip, or of all trips
    of the caller, for as long as the caller is a member. Creating the same calendar again returns it.
    """
    calendar = await service.create_calendar(
        call.user_id,
        None if body.trip_id is None else TripId(body.trip_id),
        set(body.parts),
        calendars=call.ports.calendars,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return calendar_view(calendar, _url(call, calendar))


@routes.get("/v1/calendars")
async def list_calendars(call: Call) -> CalendarsView:
    """List the caller's calendars."""
    calendars = await call.ports.calendars.of(call.user_id)
    return CalendarsView([calendar_view(calendar, _url(call, calendar)) for calendar in calendars])


@routes.delete("/v1/calendars/{calendar}", status=204)
async def delete_calendar(call: Call) -> None:
    """Delete a calendar of the caller, so that its link stops working."""
    calendar_id = call.id("calendar", CalendarNotFound())
    await call.ports.calendars.delete(call.user_id, CalendarId(calendar_id))


@routes.get("/v1/calendars/{calendar}", auth=Auth.PUBLIC, refusals=(404,))
async def read_calendar(call: Call) -> Reply:
    """Read a calendar by its secret link, in the iCalendar format."""
    token = call.request.params["calendar"].removesuffix(SUFFIX)
    entries = await service.read_calendar(token, calendars=call.ports.calendars, links=call.ports.calendar_links)
    return Reply(call.route.status, calendar_text(entries), HEADERS)


def _url(call: Call, calendar: Calendar) -> str:
    token = call.ports.calendar_links.token_of(calendar.id)
    return f"{call.ports.site.public_url}/v1/calendars/{token}{SUFFIX}"
