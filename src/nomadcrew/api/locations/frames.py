"""Position frames of the socket: `updateLocation`, with one position or a batch."""

from typing import TypeVar

import msgspec

from nomadcrew.api.locations.bodies import BatchIn, LocationIn, fix_in, fixes_in, opinion_in, rulings
from nomadcrew.core.errors import Invalid, NotTripMember, TooMany
from nomadcrew.core.ids import EventId, TripId
from nomadcrew.core.locations import service
from nomadcrew.core.locations.model import Accepted, Privacy, Report
from nomadcrew.core.locations.reports import batch, judged, single
from nomadcrew.web.decode import convert
from nomadcrew.web.sockets import FrameHandlers, SocketCall
from nomadcrew.wire.events import frame

Body = TypeVar("Body")

# Ports of these frames, in addition to those of every socket.
LOCATION_PORTS = ("limits", "location_stream", "outbox", "positions")


def add_location_frames(actions: FrameHandlers) -> None:
    @actions.on("updateLocation")
    async def update_location(call: SocketCall) -> str:
        """Report the caller's position, or a batch as `locations`, which is answered with a verdict for each."""
        trip_id = call.trip_id
        if trip_id is None:
            raise NotTripMember
        if "locations" in call.payload:
            return await _report_batch(call, trip_id)
        return await _report_single(call, trip_id)


async def _report_single(call: SocketCall, trip_id: TripId) -> str:
    body = _converted(call, LocationIn)
    await _spend(call, "positions")
    report = single(
        trip_id,
        call.user_id,
        fix_in(body, Privacy.PRECISE),
        opinion_in(body),
        EventId(call.ports.new_id()),
        now=call.ports.clock(),
    )
    accepted = await _accept(call, report)
    point = report.points[0]
    return frame(
        "locationUpdated",
        {
            "tripId": str(trip_id),
            "timestamp": round(point.recorded_at.timestamp() * 1000),
            "privacy": accepted.stored_under[0],
        },
    )


async def _report_batch(call: SocketCall, trip_id: TripId) -> str:
    body = _converted(call, BatchIn)
    await _spend(call, "position_batches")
    report, checked = batch(
        trip_id,
        call.user_id,
        fixes_in(body),
        opinion_in(body),
        EventId(call.ports.new_id()),
        now=call.ports.clock(),
    )
    verdicts = judged(checked, await _accept(call, report))
    return frame("locationUpdated", {"tripId": str(trip_id), **msgspec.to_builtins(rulings(verdicts))})


async def _accept(call: SocketCall, report: Report) -> Accepted:
    return await service.accept(
        report, positions=call.ports.positions, stream=call.ports.location_stream, outbox=call.ports.outbox
    )


def _converted(call: SocketCall, type_: type[Body]) -> Body:
    try:
        body: Body = convert(call.payload, type_)
    except Invalid:
        # The error's text could contain the position.
        raise Invalid("The frame must hold a position, or `locations` with up to 500 positions.") from None
    return body


async def _spend(call: SocketCall, bucket: str) -> None:
    allowance = await call.ports.limits.spend(bucket, str(call.user_id))
    if not allowance.allowed:
        raise TooMany(allowance.retry_after_s)
