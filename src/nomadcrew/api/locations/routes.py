"""Where the crew is: /v1/trips/{id}/locations, /v1/location and where to meet."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec import UNSET

from nomadcrew.api.locations import bodies as wire
from nomadcrew.api.locations.bodies import (
    BatchIn,
    BatchView,
    LocationIn,
    LocationPage,
    LocationPagination,
    LocationView,
    MeetingPointIn,
    MeetingPointView,
    MemberPosition,
    PreferencesIn,
    PreferencesView,
    StatusView,
    SuggestionView,
    TrackView,
    ViewPage,
    ViewView,
)
from nomadcrew.core.auth.ports import ProfileChange
from nomadcrew.core.errors import NotFound, NotTripMember
from nomadcrew.core.ids import EventId, TripId, UserId, parse_uuid
from nomadcrew.core.locations import service
from nomadcrew.core.locations.model import MAX_POINTS, Accepted, MeetingPoint, Privacy, Report
from nomadcrew.core.locations.reports import Opinion, batch, expiry, judged, single
from nomadcrew.core.permissions import rule
from nomadcrew.core.users import profiles
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Gate, Param, Routes

routes = Routes(
    "locations",
    ports=(
        "limits", "location_sharing", "location_stream", "meeting_points", "outbox", "position_views", "positions",
        "profiles", "replies",
    ),
)  # fmt: skip
MAX_OFFSET = 1_000_000
TRACK_DEFAULT = timedelta(hours=24)
TRACK_POINTS = 500
NOTES_VIEWS = "who is shown somebody's position is noted, once an hour, after privacy has said who is"


@routes.post("/v1/trips/{id}/locations", status=201, gate=Gate("location", "create"), bucket="positions",
             refusals=(400,), tells=False)  # fmt: skip
async def post_location(call: Call, body: LocationIn) -> LocationView:
    """Say where I am.

    The first position on a trip turns sharing on there, `precise` unless told otherwise.
    """
    return await _report(call, call.trip_id, body, Privacy.PRECISE)


@routes.put("/v1/trips/{id}/locations", gate=Gate("location", "update"), bucket="positions", refusals=(400,),
            tells=False)  # fmt: skip
async def put_location(call: Call, body: LocationIn) -> StatusView:
    """Say where I am, roughly unless told otherwise."""
    await _report(call, call.trip_id, body, Privacy.APPROXIMATE)
    return StatusView("Location updated successfully")


@routes.post("/v1/trips/{id}/locations:batch", gate=Gate("location", "create"), bucket="position_batches",
             refusals=(400,), tells=False)  # fmt: skip
async def post_batch(call: Call, body: BatchIn) -> BatchView:
    """Send what a phone has collected, up to 500 positions in any order, each with its own verdict."""
    report, rulings = batch(
        call.trip_id,
        call.me,
        [wire.fix_in(fix, Privacy.PRECISE) for fix in body.locations],
        wire.opinion_in(body),
        EventId(call.ports.new_id()),
        now=call.now,
    )
    accepted = await _accept(call, report)
    return wire.rulings(judged(rulings, accepted))


@routes.post("/v1/location/update", bucket="positions", refusals=(400, 403, 404), statements=2,
             why="which trips I share my position on, then the report; one where a trip is named",
             tells=False)  # fmt: skip
async def update_everywhere(call: Call, body: LocationIn) -> LocationView:
    """Say where I am on every trip I share my position on, or on the one that `tripId` names."""
    trip_id = wire.trip_id_in(body.trip_id)
    if trip_id is not None:
        view = await _report(call, trip_id, body, Privacy.PRECISE)
        view.trip_id = UNSET
        return view
    fix = wire.fix_in(body, Privacy.PRECISE)
    # Checked once, whatever the trips are: the same body is refused on each of them or on none.
    checked = single(
        TripId(call.me), call.me, fix, wire.opinion_in(body), EventId(call.ports.new_id()), now=call.now
    )
    shown = wire.location_view(call.me, None, checked.points[0], Privacy.HIDDEN, call.now)
    for shared in await call.ports.location_sharing.shared_trips(call.me, now=call.now):
        try:
            view = await _report(call, shared, body, Privacy.PRECISE)
        except (NotTripMember, NotFound):
            continue  # left, or gone, in this very moment
        view.trip_id, view.id = UNSET, shown.id
        shown = view
    return shown


@routes.get("/v1/trips/{id}/locations", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS, query=(
    Param("limit", "integer", "Repeated in the reply, and not applied."),
    Param("offset", "integer", "Repeated in the reply, and not applied."),
))  # fmt: skip
async def list_locations(call: Call) -> LocationPage:
    """Show where everybody is who shares it, and where I am."""
    found = await _last(call)
    return LocationPage(
        [wire.member_location(call.trip_id, one) for one in found],
        LocationPagination(
            has_more=False,
            total=len(found),
            limit=call.count("limit", default=50, lowest=1, highest=MAX_OFFSET),
            offset=call.count("offset", default=0, highest=MAX_OFFSET),
        ),
    )


@routes.get("/v1/trips/{id}/locations/members", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS)
async def list_member_positions(call: Call) -> list[MemberPosition]:
    """Show the same as a bare list, as socket events have it."""
    return [wire.member_position(one) for one in await _last(call)]


@routes.get("/v1/trips/{id}/locations/track", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS,
            refusals=(400, 404), query=(
    Param("user", "uuid", "Whose; mine unless told."),
    Param("from", "date-time", "From when; a day before `to` unless told, and thirty days back at most."),
    Param("to", "date-time", "Until when; now unless told."),
    Param("points", "integer", "In how many points at most, 2 to 1000; 500 unless told."),
))  # fmt: skip
async def show_track(call: Call) -> TrackView:
    """Show where a member was, oldest first, in the points that tell most of it."""
    text = call.query("user")
    user_id = call.me if not text else parse_uuid(text)
    if user_id is None:
        raise NotFound("member", code="member_not_found")
    # What was recorded in this very moment belongs to it as well.
    end = wire.moment_in(call.query("to"), "to", call.now + timedelta(milliseconds=1))
    default = end - TRACK_DEFAULT if end.year > 1 else end
    start = wire.moment_in(call.query("from"), "from", default)
    points = await service.track(
        call.trip_id,
        UserId(user_id),
        call.me,
        start=start,
        end=end,
        most=call.count("points", default=TRACK_POINTS, lowest=2, highest=MAX_POINTS),
        positions=call.ports.positions,
        views=call.ports.position_views,
        now=call.now,
    )
    return TrackView(user_id, [wire.position(point) for point in points])


@routes.get("/v1/trips/{id}/locations/views", gate=Gate("location", "read"), query=(
    Param("limit", "integer", "How many, 1 to 500; 100 unless told."),
    Param("offset", "integer", "How many to pass over; 0 unless told."),
))  # fmt: skip
async def list_views(call: Call) -> ViewPage:
    """List who was shown my position on this trip, by the hour, newest first."""
    found = await call.ports.position_views.of(
        call.trip_id,
        call.me,
        rule("location", "read"),
        limit=call.count("limit", default=100, lowest=1, highest=500),
        offset=call.count("offset", default=0, highest=MAX_OFFSET),
    )
    return ViewPage([ViewView(one.viewer_id, one.viewer_name, one.hour) for one in found])


@routes.get("/v1/location/preferences")
async def get_preferences(call: Call) -> PreferencesView:
    """Show what decides who sees my position."""
    return wire.preferences(await call.ports.location_sharing.own(call.me), call.now)


@routes.put("/v1/location/preferences", refusals=(400, 403, 404, 409), statements=2,
            why="the reply shows all that applies now, of which the profile is stored elsewhere")  # fmt: skip
async def put_preferences(call: Call, body: PreferencesIn) -> PreferencesView:
    """Change what decides who sees my position, for all trips or, with a `tripId`, for one."""
    trip_id = body.trip
    if trip_id is not None:
        opinion = Opinion(body.is_sharing_enabled, body.sharing_expires_in)
        expires_at = expiry(opinion, call.now)
        await call.ports.location_sharing.change(
            trip_id,
            call.me,
            rule("location", "update"),
            is_enabled=body.is_sharing_enabled if expires_at is None else True,
            expires_at=expires_at,
            privacy=None if body.privacy is UNSET else body.privacy,
            keep_privacy=body.privacy is UNSET,
            event_id=EventId(call.ports.new_id()),
            now=call.now,
        )
    if body.location_privacy_preference is not None:
        change = ProfileChange(location_privacy_preference=body.location_privacy_preference)
        await profiles.change_profile(call.me, change, call.caller, profiles=call.ports.profiles, now=call.now)
    if body.ghost_mode is not None:
        await profiles.change_preferences(
            call.me, {"ghostMode": body.ghost_mode}, call.caller, profiles=call.ports.profiles, now=call.now
        )
    return wire.preferences(await call.ports.location_sharing.own(call.me), call.now)


@routes.put("/v1/trips/{id}/meeting-point", gate=Gate("meeting_point", "update"))
async def put_meeting_point(call: Call, body: MeetingPointIn) -> MeetingPointView:
    """Say where the crew meets."""
    point = MeetingPoint(body.latitude, body.longitude, body.name, body.radius, call.me, call.now)
    return wire.meeting_point(
        await service.set_meeting_point(
            call.trip_id, call.me, point, points=call.ports.meeting_points, new_id=call.ports.new_id
        )
    )


@routes.get("/v1/trips/{id}/meeting-point", gate=Gate("meeting_point", "read"), refusals=(404,))
async def get_meeting_point(call: Call) -> MeetingPointView:
    """Show where the crew meets."""
    return wire.meeting_point(
        await call.ports.meeting_points.get(call.trip_id, call.me, rule("meeting_point", "read"))
    )


@routes.delete("/v1/trips/{id}/meeting-point", gate=Gate("meeting_point", "delete"), status=204)
async def delete_meeting_point(call: Call) -> None:
    """Meet nowhere in particular."""
    await call.ports.meeting_points.clear(
        call.trip_id, call.me, rule("meeting_point", "delete"), EventId(call.ports.new_id()), now=call.now
    )


@routes.get("/v1/trips/{id}/meeting-point/suggest", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS,
            refusals=(404,))  # fmt: skip
async def suggest_meeting_point(call: Call) -> SuggestionView:
    """Suggest the place that is fairest to everybody whose position I may see."""
    found = await service.suggest_meeting_point(
        call.trip_id, call.me, positions=call.ports.positions, views=call.ports.position_views, now=call.now
    )
    return wire.suggestion(found)


async def _report(call: Call, trip_id: TripId, body: LocationIn, otherwise: Privacy) -> LocationView:
    fix = wire.fix_in(body, otherwise)
    report = single(trip_id, call.me, fix, wire.opinion_in(body), EventId(call.ports.new_id()), now=call.now)
    accepted = await _accept(call, report)
    [privacy] = accepted.stored_under
    return wire.location_view(call.me, trip_id, report.points[0], privacy, call.now)


async def _accept(call: Call, report: Report) -> Accepted:
    return await service.accept(
        report, positions=call.ports.positions, stream=call.ports.location_stream, outbox=call.ports.outbox
    )


async def _last(call: Call) -> Sequence[service.Shown]:
    return await service.last_positions(
        call.trip_id, call.me, positions=call.ports.positions, views=call.ports.position_views, now=call.now
    )
