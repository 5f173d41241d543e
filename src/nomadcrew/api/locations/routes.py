"""Positions, location preferences and the meeting point: /v1/trips/{id}/locations, /v1/location."""

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
    MemberPositionView,
    PreferencesIn,
    PreferencesView,
    StatusView,
    SuggestionView,
    TrackView,
    ViewPage,
    ViewView,
)
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotFound, NotTripMember
from nomadcrew.core.ids import EventId, TripId, UserId, parse_uuid
from nomadcrew.core.locations import service
from nomadcrew.core.locations.model import MAX_POINTS, Accepted, MeetingPoint, Privacy, Report
from nomadcrew.core.locations.reports import SharingChoice, batch, expiry, judged, single
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.users import profiles
from nomadcrew.core.users.ports import ProfileChange
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.pages import AFTER, after_of, last_of, paged
from nomadcrew.web.routes import Gate, Param, Routes

routes = Routes(
    "locations",
    ports=(
        "idempotency", "limits", "location_sharing", "location_stream", "meeting_points", "open_sessions", "outbox",
        "position_views", "positions", "profiles",
    ),
)  # fmt: skip
MAX_OFFSET = 1_000_000
TRACK_DEFAULT = timedelta(hours=24)
TRACK_POINTS = 500
NOTES_VIEWS = "the views are recorded, once an hour, after privacy has decided which positions are visible"


@routes.post("/v1/trips/{id}/locations", status=201, gate=Gate("location", "create"), bucket="positions",
             refusals=(400,), uses_outbox=False)  # fmt: skip
async def post_location(call: Call, body: LocationIn) -> LocationView:
    """Report the caller's position.

    The first position on a trip turns sharing on for it. Default `privacy`: `precise`.
    """
    return await _report(call, call.trip_id, body, Privacy.PRECISE)


@routes.put("/v1/trips/{id}/locations", gate=Gate("location", "update"), bucket="positions", refusals=(400,),
            uses_outbox=False)  # fmt: skip
async def put_location(call: Call, body: LocationIn) -> StatusView:
    """Report the caller's position, with `approximate` as the default `privacy`."""
    await _report(call, call.trip_id, body, Privacy.APPROXIMATE)
    return StatusView("Location updated successfully")


@routes.post("/v1/trips/{id}/locations:batch", gate=Gate("location", "create"), bucket="position_batches",
             refusals=(400,), uses_outbox=False)  # fmt: skip
async def post_batch(call: Call, body: BatchIn) -> BatchView:
    """Report up to 500 collected positions, in any order.

    The reply has a verdict for each position.
    """
    report, rulings = batch(
        call.trip_id,
        call.user_id,
        wire.fixes_in(body),
        wire.opinion_in(body),
        EventId(call.ports.new_id()),
        now=call.now,
    )
    accepted = await _accept(call, report)
    return wire.rulings(judged(rulings, accepted))


@routes.post("/v1/location/update", bucket="positions", refusals=(400, 403, 404), statements=2,
             why="the trips with sharing on are read before the report; one statement with a `tripId`",
             uses_outbox=False)  # fmt: skip
async def update_everywhere(call: Call, body: LocationIn) -> LocationView:
    """Report the caller's position on every trip with sharing on, or on the trip of `tripId`."""
    trip_id = wire.trip_id_in(body.trip_id)
    if trip_id is not None:
        view = await _report(call, trip_id, body, Privacy.PRECISE)
        view.trip_id = UNSET
        return view
    fix = wire.fix_in(body, Privacy.PRECISE)
    # Validate once: the checks do not depend on the trip, so every trip would refuse the same body.
    checked = single(
        TripId(call.user_id), call.user_id, fix, wire.opinion_in(body), EventId(call.ports.new_id()), now=call.now
    )
    reply = wire.location_view(call.user_id, None, checked.points[0], Privacy.HIDDEN, call.now)
    for shared in await call.ports.location_sharing.shared_trips(call.user_id, now=call.now):
        try:
            view = await _report(call, shared, body, Privacy.PRECISE)
        except (NotTripMember, NotFound):
            continue  # the caller left the trip, or it was deleted, in this moment
        view.trip_id, view.id = UNSET, reply.id
        reply = view
    return reply


@routes.get("/v1/trips/{id}/locations", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS, query=(
    Param("limit", "integer", "Repeated in the reply, not applied."),
    Param("offset", "integer", "Repeated in the reply, not applied."),
))  # fmt: skip
async def list_locations(call: Call) -> LocationPage:
    """List the members' positions.

    Members who share nothing are left out. The caller's own position is always included.
    """
    positions = await _last_positions(call)
    return LocationPage(
        [wire.member_location(call.trip_id, position) for position in positions],
        LocationPagination(
            has_more=False,
            total=len(positions),
            limit=call.count("limit", default=50, lowest=1, highest=MAX_OFFSET),
            offset=call.count("offset", default=0, highest=MAX_OFFSET),
        ),
    )


@routes.get("/v1/trips/{id}/locations/members", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS)
async def list_member_positions(call: Call) -> list[MemberPositionView]:
    """List the members' positions as a bare array.

    The positions have the form of those in socket events.
    """
    return [wire.member_position(position) for position in await _last_positions(call)]


@routes.get("/v1/trips/{id}/locations/track", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS,
            refusals=(400, 404), query=(
    Param("user", "uuid", "The member's user id. Default: the caller."),
    Param("from", "date-time", "Start, at most 30 days ago. Default: one day before `to`."),
    Param("to", "date-time", "End. Default: now."),
    Param("points", "integer", "Maximum number of points, 2 to 1000. Default: 500."),
))  # fmt: skip
async def show_track(call: Call) -> TrackView:
    """Get a member's track, oldest first.

    A long track is thinned to the points that preserve its shape.
    """
    text = call.query("user")
    user_id = call.user_id if not text else parse_uuid(text)
    if user_id is None:
        raise NotFound("member", code="member_not_found")
    # The end is exclusive; a point recorded now belongs to the track.
    end = wire.moment_in(call.query("to"), "to", call.now + timedelta(milliseconds=1))
    default = end - TRACK_DEFAULT if end.year > 1 else end
    start = wire.moment_in(call.query("from"), "from", default)
    points = await service.track(
        call.trip_id,
        UserId(user_id),
        call.user_id,
        start=start,
        end=end,
        most=call.count("points", default=TRACK_POINTS, lowest=2, highest=MAX_POINTS),
        positions=call.ports.positions,
        views=call.ports.position_views,
        now=call.now,
    )
    return TrackView(user_id, [wire.position(point) for point in points])


@routes.get("/v1/trips/{id}/locations/views", gate=Gate("location", "read"), refusals=(400,), query=(
    Param("limit", "integer", "Page size, 1 to 500. Default: 100."),
    Param("offset", "integer", "Number of views to skip, without `after`. Default: 0."),
    AFTER,
))  # fmt: skip
async def list_views(call: Call) -> ViewPage | Reply:
    """List the members who saw the caller's position on this trip, by hour, newest first.

    The Link header leads to the next page.
    """
    limit, after = call.count("limit", default=100, lowest=1, highest=500), after_of(call)
    views = await call.ports.position_views.list_for_owner(
        Access(call.trip_id, call.user_id, rule("location", "read")),
        limit=limit,
        offset=0 if after else call.count("offset", default=0, highest=MAX_OFFSET),
        after=after,
    )
    last = last_of(views, limit, lambda view: After(view.hour, view.viewer_id))
    return paged(call, ViewPage([ViewView(view.viewer_id, view.viewer_name, view.hour) for view in views]), last)


@routes.get("/v1/location/preferences")
async def get_preferences(call: Call) -> PreferencesView:
    """Get the caller's location preferences."""
    return wire.preferences(await call.ports.location_sharing.own_settings(call.user_id), call.now)


@routes.put("/v1/location/preferences", refusals=(400, 403, 404, 409), statements=2,
            why="the reply shows every preference, and the profile's are stored elsewhere")  # fmt: skip
async def put_preferences(call: Call, body: PreferencesIn) -> PreferencesView:
    """Update the caller's location preferences, for all trips or, with a `tripId`, for one."""
    trip_id = body.trip
    if trip_id is not None:
        opinion = SharingChoice(body.is_sharing_enabled, body.sharing_expires_in)
        expires_at = expiry(opinion, call.now)
        await call.ports.location_sharing.change_sharing(
            Command(trip_id, call.user_id, rule("location", "update"), EventId(call.ports.new_id()), call.now),
            is_enabled=body.is_sharing_enabled if expires_at is None else True,
            expires_at=expires_at,
            privacy=None if body.privacy is UNSET else body.privacy,
            keep_privacy=body.privacy is UNSET,
        )
    if body.location_privacy_preference is not None:
        change = ProfileChange(location_privacy_preference=body.location_privacy_preference)
        await profiles.change_profile(call.user_id, change, call.claims, profiles=call.ports.profiles, now=call.now)
    if body.ghost_mode is not None:
        await profiles.change_preferences(
            call.user_id, {"ghostMode": body.ghost_mode}, call.claims, profiles=call.ports.profiles, now=call.now
        )
    return wire.preferences(await call.ports.location_sharing.own_settings(call.user_id), call.now)


@routes.put("/v1/trips/{id}/meeting-point", gate=Gate("meeting_point", "update"))
async def put_meeting_point(call: Call, body: MeetingPointIn) -> MeetingPointView:
    """Set the meeting point."""
    point = MeetingPoint(body.latitude, body.longitude, body.name, body.radius, call.user_id, call.now)
    return wire.meeting_point(
        await service.set_meeting_point(
            call.trip_id, call.user_id, point, points=call.ports.meeting_points, new_id=call.ports.new_id
        )
    )


@routes.get("/v1/trips/{id}/meeting-point", gate=Gate("meeting_point", "read"), refusals=(404,))
async def get_meeting_point(call: Call) -> MeetingPointView:
    """Get the meeting point."""
    return wire.meeting_point(
        await call.ports.meeting_points.get(Access(call.trip_id, call.user_id, rule("meeting_point", "read")))
    )


@routes.delete("/v1/trips/{id}/meeting-point", gate=Gate("meeting_point", "delete"), status=204)
async def delete_meeting_point(call: Call) -> None:
    """Remove the meeting point."""
    await call.ports.meeting_points.clear(
        Command(call.trip_id, call.user_id, rule("meeting_point", "delete"), EventId(call.ports.new_id()), call.now)
    )


@routes.get("/v1/trips/{id}/meeting-point/suggest", gate=Gate("location", "read"), statements=2, why=NOTES_VIEWS,
            refusals=(404,))  # fmt: skip
async def suggest_meeting_point(call: Call) -> SuggestionView:
    """Suggest a meeting point.

    It has the least total distance from the members whose positions the caller may see.
    """
    suggestion = await service.suggest_meeting_point(
        call.trip_id, call.user_id, positions=call.ports.positions, views=call.ports.position_views, now=call.now
    )
    return wire.suggestion(suggestion)


async def _report(call: Call, trip_id: TripId, body: LocationIn, default_privacy: Privacy) -> LocationView:
    fix = wire.fix_in(body, default_privacy)
    report = single(trip_id, call.user_id, fix, wire.opinion_in(body), EventId(call.ports.new_id()), now=call.now)
    accepted = await _accept(call, report)
    [privacy] = accepted.stored_under
    return wire.location_view(call.user_id, trip_id, report.points[0], privacy, call.now)


async def _accept(call: Call, report: Report) -> Accepted:
    return await service.accept(
        report, positions=call.ports.positions, stream=call.ports.location_stream, outbox=call.ports.outbox
    )


async def _last_positions(call: Call) -> Sequence[service.MemberPosition]:
    return await service.last_positions(
        call.trip_id, call.user_id, positions=call.ports.positions, views=call.ports.position_views, now=call.now
    )
