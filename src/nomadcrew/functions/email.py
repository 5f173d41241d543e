"""Consumes the email queue: sends the mails that events require."""

from typing import Final

from nomadcrew.bootstrap.aws import lambda_ports
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.functions.mails import send_mail_for
from nomadcrew.wire.events import unpack
from nomadcrew.wire.queue_entry import queue_entry

PORTS: Final = ("codes", "invitation_links", "invitations", "mailer", "queue", "registrations")


async def send(job: Job, ports: Ports) -> None:
    await send_mail_for(unpack(job.body), ports)


handler = queue_entry(send, lambda_ports, PORTS)
