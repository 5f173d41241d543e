"""What events give people to know; and on AWS the way of those that call for a mail."""

from typing import Final

from nomadcrew.core.events import PUSH, Event, job_id
from nomadcrew.core.notifications.service import telling, toast_event
from nomadcrew.core.ports import Ports
from nomadcrew.wire.push_jobs import push_job

PORTS: Final = ("live", "notifications", "outbox", "queue")


async def tell_people(event: Event, ports: Ports) -> None:
    """Tell whom an event concerns, each as they want it: in the list, on their sockets, on their phones.

    Safe to repeat: what is kept is kept once, what was pushed is not pushed again, and clients know by its id what
    they have shown already.
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
