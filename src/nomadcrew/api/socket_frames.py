"""The table of socket frames: the monolith's frames, and those of the features."""

from typing import Final

from nomadcrew.api.chat import frames as chat_frames
from nomadcrew.api.locations.frames import LOCATION_PORTS, add_location_frames
from nomadcrew.web.sockets import FrameHandlers, SocketCall
from nomadcrew.wire.events import PONG, frame

PORTS: Final = tuple(
    sorted(
        {"broadcaster", "chat", "connections", "limits", "members", "open_sessions", "presence", "queue", "sockets",
         *LOCATION_PORTS}
    )
)  # fmt: skip

frames = FrameHandlers()
add_location_frames(frames)


@frames.on("ping")
async def ping(_call: SocketCall) -> str:
    return PONG


@frames.on("subscribe")
async def subscribe(call: SocketCall) -> str:
    """Undo an `unsubscribe`. Members get their trips' events without subscribing."""
    trip_id = call.trip_id
    if trip_id is None:
        return frame("error", error="tripId is required")
    if not await call.ports.members.is_active(trip_id, call.user_id):
        return frame("error", error="You are not a member of this trip.")
    await call.ports.connections.unmute(call.connection_id, trip_id)
    return frame("subscribed", {"tripId": str(trip_id)})


@frames.on("unsubscribe")
async def unsubscribe(call: SocketCall) -> str:
    """Stop a trip's events on this socket."""
    trip_id = call.trip_id
    if trip_id is None:
        return frame("error", error="tripId is required")
    subscribed = await call.ports.members.is_active(trip_id, call.user_id)
    if not subscribed or not await call.ports.connections.mute(call.connection_id, trip_id):
        return frame("error", error="This socket is not subscribed to the trip.")
    return frame("unsubscribed", {"tripId": str(trip_id)})


chat_frames.add_chat_frames(frames)
