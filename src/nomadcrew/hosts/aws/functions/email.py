"""Consumes the email queue: sends the mails that events require."""

from typing import Final

from nomadcrew.api.mail.consumer import send_mail_for
from nomadcrew.api.rendering import environment
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry
from nomadcrew.wire.events import unpack

PORTS: Final = (
    "codes", "documents", "invitation_links", "invitations", "mailer", "profiles", "queue", "registrations",
)  # fmt: skip


async def send(job: Job, ports: Ports) -> None:
    await send_mail_for(unpack(job.body), ports)


environment()  # while INIT has a whole CPU
handler = queue_entry(send, lambda_ports, PORTS)
