"""Turns events into notifications, for the queue consumers of both hosts."""

from typing import Final

from nomadcrew.core.events import PUSH, Event, job_id
from nomadcrew.core.notifications.service import telling, toast_event
from nomadcrew.core.ports import Ports
from nomadcrew.wire.push_jobs import push_job

PORTS: Final = ("live", "notifications", "outbox", "queue")


async def tell_people(event: Event, ports: Ports) -> None:
    """Notify the users whom an event concerns, by the channels of their preferences: list, sockets, phones.

    Safe to repeat: a notification is stored once and pushed once, and clients drop duplicate toasts by id.
    """
    now = ports.clock()
    plan = await telling(event, notifications=ports.notifications, now=now)
    if plan.drafts and event.trip_id is not None:
        ports.outbox.expect()
        if await ports.notifications.store(event.trip_id, plan.drafts, now=now):
            await ports.outbox.written()
    if ports.site.push_leaves:
        for task in plan.pushes:
            await ports.queue.send(PUSH, push_job(task), job_id=job_id(task.id, PUSH))
    for toast in plan.toasts:
        await ports.live.tell_people(toast_event(toast, event, now), toast.people)
