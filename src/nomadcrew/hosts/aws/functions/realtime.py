"""Consumes the realtime queue: sends events, greetings and keep-alive frames to sockets."""

import logging
from collections.abc import Collection
from datetime import timedelta
from typing import Final

import msgspec

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event, listeners
from nomadcrew.core.ids import UserId
from nomadcrew.core.locations.model import position_owner
from nomadcrew.core.ports import Ports
from nomadcrew.core.presence.service import announce
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.dead_connections import drop_connection, ping_all
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry
from nomadcrew.web.sockets import greeting
from nomadcrew.wire.events import NotAnEvent, event_frame, event_of, unpack
from nomadcrew.wire.realtime_tasks import RealtimeTask, task_in

log = logging.getLogger("nomadcrew.realtime")

PORTS: Final = (
    "all_sockets", "events", "members", "position_views", "presence", "queue", "socket_delivery", "sockets",
    "sync_points",
)  # fmt: skip
# The gateway needs a moment before it can send to a new socket; after three attempts the socket is dead.
GREET_ATTEMPTS = 3
# A late broadcast is worthless, and its member may be hidden by now.
LIVE_FOR = timedelta(seconds=10)


async def consume_task(job: Job, ports: Ports) -> None:
    """Handle a message of the realtime queue: a `Task`, or an event."""
    try:
        task = task_in(job.body)
    except msgspec.MsgspecError as error:
        raise NotAnEvent(type(error).__name__) from error
    if task.keep_alive:
        await ping_all(ports)
    elif task.user_id is not None and task.drop:
        await drop_connection(task.drop, UserId(task.user_id), ports)
    elif task.user_id is not None and (task.greet or task.online is not None):
        await _announce_and_greet(task, UserId(task.user_id), job.attempt, ports)
    elif task.event is not None:
        people = [UserId(user_id) for user_id in task.user_ids]
        await ports.socket_delivery.deliver(event_frame(event_of(task.event)), people, None, now=ports.clock())
    else:
        await _deliver(unpack(job.body), ports)


async def _announce_and_greet(task: RealtimeTask, user_id: UserId, attempt: int, ports: Ports) -> None:
    """Announce the user as online or offline, then greet the new socket."""
    if task.online is not None:
        # Announce first: repeating it is harmless, repeating the greeting is not.
        await announce(
            [user_id],
            presence=ports.presence,
            broadcast=lambda event: _deliver(event, ports),
            new_id=ports.new_id,
            now=ports.clock(),
            online=task.online,
        )
    if task.greet:
        await _greet(task.greet, user_id, attempt, ports)


async def _deliver(event: Event, ports: Ports) -> None:
    if not event.kept and ports.clock() - event.occurred_at > LIVE_FOR:
        log.warning("Broadcast dropped: too late", extra={"fields": {"type": event.type}})
        return
    trips = [event.trip_id] if event.audience == Audience.TRIP and event.trip_id is not None else []
    people, muted = listeners(event, await ports.events.recipients(trips))
    reached = await ports.socket_delivery.deliver(event_frame(event), people, muted, now=ports.clock())
    await _note_views(event, reached, ports)


async def _note_views(event: Event, viewers: Collection[UserId], ports: Ports) -> None:
    """Record the viewers of a position. An outage loses the views: a retry would send the position again, late."""
    owner = position_owner(event)
    if owner is None or event.trip_id is None or not viewers:
        return
    try:
        await ports.position_views.record(event.trip_id, viewers, [owner], now=ports.clock())
    except Unavailable as error:
        log.warning("Views not recorded", extra={"fields": {"reason": error.details}})


async def _greet(connection_id: str, user_id: UserId, attempt: int, ports: Ports) -> None:
    if not await ports.sockets.send(connection_id, await greeting(user_id, ports)) and attempt < GREET_ATTEMPTS:
        raise Unavailable(details="the socket is not open yet")


handler = queue_entry(consume_task, lambda_ports, PORTS)
