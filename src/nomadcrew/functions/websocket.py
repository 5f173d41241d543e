"""What a socket may ask: the monolith's frames."""

from nomadcrew.core.ids import UserId
from nomadcrew.core.ports import Ports
from nomadcrew.wire.events import PONG, frame
from nomadcrew.wire.sockets import Actions, SocketCall

actions = Actions()


async def greeting(me: UserId, ports: Ports) -> str:
    """The frame every socket gets first."""
    trips = [str(trip_id) for trip_id in await ports.members.active(me)]
    return frame("connected", {"userId": str(me), "tripCount": len(trips), "trips": trips})


@actions.on("ping")
async def ping(_call: SocketCall) -> str:
    return PONG


@actions.on("subscribe")
async def subscribe(call: SocketCall) -> str:
    """Undo an `unsubscribe`. Members get their trips' events without asking."""
    trip_id = call.trip_id
    if trip_id is None:
        return frame("error", error="tripId is required")
    if not await call.ports.members.is_active(trip_id, call.me):
        return frame("error", error="You are not a member of this trip.")
    call.ports.connections.unmute(call.connection_id, trip_id)
    return frame("subscribed", {"tripId": str(trip_id)})


@actions.on("unsubscribe")
async def unsubscribe(call: SocketCall) -> str:
    """Stop a trip's events on this socket."""
    trip_id = call.trip_id
    if trip_id is None:
        return frame("error", error="tripId is required")
    subscribed = await call.ports.members.is_active(trip_id, call.me)
    if not subscribed or not call.ports.connections.mute(call.connection_id, trip_id):
        return frame("error", error="This socket does not follow that trip.")
    return frame("unsubscribed", {"tripId": str(trip_id)})
