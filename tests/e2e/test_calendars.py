"""Calendars by secret link, as calendar programs read them."""

from icalendar import Calendar

from tests.e2e.client import NEW_TRIP, Api
from tests.e2e.conftest import Register


async def test_a_calendar_program_reads_a_trip_by_its_link_until_the_calendar_is_deleted(
    api: Api, register: Register
) -> None:
    ana = await register("ana")
    trip_id = (await ana.ask("POST", "/v1/trips", NEW_TRIP, status=201))["id"]
    todo = {"text": "pack", "dueAt": "2026-12-01T18:00:00+01:00"}
    await ana.ask("POST", f"/v1/trips/{trip_id}/todos", todo, status=201)
    made = await ana.ask("POST", "/v1/calendars", {"tripId": trip_id}, status=201)
    assert (await ana.ask("GET", "/v1/calendars"))["calendars"] == [made]

    # The link names the site's public address; a server behind a proxy answers at another one.
    path = f"/v1/calendars/{made['url'].rpartition('/')[2]}"
    reply = await api.send("GET", path)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    events = {str(event["summary"]): event for event in Calendar.from_ical(reply.content).walk("VEVENT")}
    assert set(events) == {NEW_TRIP["name"], f"pack ({NEW_TRIP['name']})"}
    assert str(events[f"pack ({NEW_TRIP['name']})"].decoded("dtstart")) == "2026-12-01 17:00:00+00:00"

    forged = await api.send("GET", path.replace(".ics", "x.ics"))
    assert (forged.status_code, forged.json()["code"]) == (404, "calendar_not_found")
    await ana.ask("DELETE", f"/v1/calendars/{made['id']}", status=204)
    assert (await api.send("GET", path)).status_code == 404
