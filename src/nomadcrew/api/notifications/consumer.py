"""Turns events into notifications, for the queue consumers of both hosts."""

from typing import Final

from nomadcrew.core.events import PUSH, Event, job_id
from nomadcrew.core.notifications.push import CHAT_HOLD_S, CHAT_MESSAGE
from nomadcrew.core.notifications.service import plan_delivery, toast_event
from nomadcrew.core.ports import Ports
from nomadcrew.wire.push_jobs import push_job

PORTS: Final = ("broadcaster", "notifications", "outbox", "queue")


async def notify(event: Event, ports: Ports) -> None:
    """Notify the users whom an event concerns, by the channels of their preferences: list, sockets, phones.

    Safe to repeat: a notification is stored once and pushed once, and clients drop duplicate toasts by id.
    """
    now = ports.clock()
    plan = await plan_delivery(event, notifications=ports.notifications, now=now)
    if plan.drafts:
        ports.outbox.before_write()
        if await ports.notifications.store(event.trip_id, plan.drafts, caused_at=event.occurred_at, now=now):
            await ports.outbox.after_commit()
    if ports.site.push_leaves:
        for task in plan.pushes:
            hold_s = CHAT_HOLD_S if task.type == CHAT_MESSAGE else 0
            await ports.queue.send(PUSH, push_job(task), job_id=job_id(task.id, PUSH), delay_s=hold_s)
    for toast in plan.toasts if ports.broadcaster.has_listeners() else ():
        await ports.broadcaster.send_to(toast_event(toast, event, now), toast.user_ids)
