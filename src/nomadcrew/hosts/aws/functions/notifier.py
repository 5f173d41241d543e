"""The Lambda function `notifier`: it notifies members, and forwards the events that need a mail."""

import msgspec

from nomadcrew.api.notifications.consumer import PORTS, notify
from nomadcrew.core.events import CONSUMERS, EMAIL, NOTIFICATIONS, job_id
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry
from nomadcrew.wire.events import pack, unpack


class _About(msgspec.Struct):
    """The subject of an event's mails; an event has one of these ids."""

    invitation_id: str = ""
    registration_id: str = ""
    code_id: str = ""
    user_id: str = ""


async def forward(job: Job, ports: Ports) -> None:
    """Notify users, and queue the event's mail. The group keeps mails about one invitation or account in order."""
    event = unpack(job.body)
    consumers = CONSUMERS.get(event.type, ())
    if EMAIL in consumers:
        about = msgspec.json.decode(event.payload, type=_About)
        group = about.invitation_id or about.registration_id or about.code_id or about.user_id or str(event.id)
        await ports.queue.send(EMAIL, pack(event), job_id=job_id(event.id, EMAIL), group=group)
    if NOTIFICATIONS in consumers:
        await notify(event, ports)


handler = queue_entry(forward, lambda_ports, PORTS)
