"""Turns events into notifications. On AWS it also forwards events that need a mail."""

from typing import Final

import msgspec

from nomadcrew.bootstrap.aws import lambda_ports
from nomadcrew.core.events import CONSUMERS, EMAIL, NOTIFICATIONS, PUSH, Event, job_id
from nomadcrew.core.notifications.service import telling, toast_event
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.events import pack, unpack
from nomadcrew.wire.pushes import push_job
from nomadcrew.wire.queue_entry import queue_entry

PORTS: Final = ("live", "notifications", "outbox", "queue")


class _About(msgspec.Struct):
    """The subject of an event's mails; an event has one of these ids."""

    invitation_id: str = ""
    registration_id: str = ""
    user_id: str = ""


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


async def pass_on(job: Job, ports: Ports) -> None:
    """Notify users, and queue the event's mail. The group keeps mails about one invitation or account in order."""
    event = unpack(job.body)
    consumers = CONSUMERS.get(event.type, ())
    if EMAIL in consumers:
        about = msgspec.json.decode(event.payload, type=_About)
        group = about.invitation_id or about.registration_id or about.user_id or str(event.id)
        await ports.queue.send(EMAIL, pack(event), job_id=job_id(event.id, EMAIL), group=group)
    if NOTIFICATIONS in consumers:
        await tell_people(event, ports)


handler = queue_entry(pass_on, lambda_ports, PORTS)
