"""Synchronisation: GET /v1/sync; a trip's first screen: GET /v1/trips/{id}/screen."""

from collections.abc import Sequence

from nomadcrew.api.sync.bodies import SyncView
from nomadcrew.api.sync.screen import ScreenView, screen_view
from nomadcrew.api.sync.views import change_view
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId, parse_uuid
from nomadcrew.core.screens import service as screens
from nomadcrew.core.screens.model import Part
from nomadcrew.core.screens.service import parts_in
from nomadcrew.core.sync import service
from nomadcrew.core.sync.cursors import cursor_of, text_of
from nomadcrew.core.sync.model import MAX_CHANGES, MAX_TRIPS
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Gate, Param, Routes

routes = Routes(
    "sync",
    ports=("changes", "limits", "open_sessions", "picture_links", "private_addresses", "screens"),
    uses_outbox=False,
)


@routes.get("/v1/sync", refusals=(400, 410), query=(
    Param("since", "string", "The `cursor` of the last reply. Default: start with an empty copy."),
    Param("trips", "string", "Ids of trips, separated by commas, as in each earlier request. Default: all trips."),
    Param("limit", "integer", f"Page size, 1 to {MAX_CHANGES}. Default: 200."),
))  # fmt: skip
async def sync(call: Call) -> SyncView:
    """Synchronise a copy of all that the caller sees.

    Replies with the entities that changed since the cursor, each once and as it is now, and with tombstones of
    those that the caller sees no longer. The tombstone of a trip stands for all entities of that trip. A joined
    trip comes whole. A page may end early; follow `cursor` while there are more. Answers 410 `cursor_expired`
    after 60 days and after a restored backup: the client drops its copy and starts without `since`. Positions,
    presence and weather are not synchronised. A user's new name or picture comes with the member, not with earlier
    messages.
    """
    since = call.query("since")
    page = await service.changes_since(
        cursor_of(since) if since else None,
        _trips(call.query("trips")),
        call.user_id,
        changes=call.ports.changes,
        limit=call.count("limit", default=200, lowest=1, highest=MAX_CHANGES),
        now=call.now,
    )
    return SyncView([change_view(change, call) for change in page.changes], text_of(page.cursor), page.has_more)


@routes.get("/v1/trips/{id}/screen", gate=Gate("trip", "read"), refusals=(400,), query=(
    Param("include", "string", f"Some of {', '.join(Part)}, separated by commas. Default: all."),
))  # fmt: skip
async def get_screen(call: Call) -> ScreenView:
    """Get a trip's first screen.

    Each part is what its own route returns without a query.
    """
    parts = parts_in(call.query("include"))
    screen = await screens.get_screen(call.trip_id, parts, call.user_id, screens=call.ports.screens, now=call.now)
    return screen_view(screen, frozenset(parts), call)


def _trips(text: str | None) -> Sequence[TripId] | None:
    """The trips in the query, in order and without duplicates; None for all.

    Raises:
        Invalid: one is not an id, or there are too many.
    """
    if not text:
        return None
    ids = [parse_uuid(part.strip()) for part in text.split(",")]
    if None in ids or len(ids) > MAX_TRIPS:
        raise Invalid(
            f"`trips` must be at most {MAX_TRIPS} ids of trips, separated by commas.", code="invalid_trips"
        )
    return sorted({TripId(id_) for id_ in ids if id_ is not None})
