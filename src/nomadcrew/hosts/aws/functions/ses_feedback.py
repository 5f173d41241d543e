"""Bounces and complaints: who gets no more mail."""

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

PORTS: Final = ("queue", "suppression")


class Recipient(Struct, rename="camel"):
    email_address: str


class Bounce(Struct, rename="camel"):
    """A transient one may pass: the mailbox is full, or the server was away."""

    bounce_type: str
    bounced_recipients: list[Recipient] = []


class Complaint(Struct, rename="camel"):
    complained_recipients: list[Recipient] = []


class Detail(Struct, rename="camel"):
    event_type: str
    bounce: Bounce | None = None
    complaint: Complaint | None = None


class Feedback(Struct):
    """An event of SES on the bus, as far as it matters here."""

    source: Literal["aws.ses"]
    detail: Detail


async def listen(job: Job, ports: Ports) -> None:
    """Send no more mail to addresses that are gone or complained.

    Raises:
        Hopeless: that is no feedback.
    """
    try:
        detail = msgspec.json.decode(job.body, type=Feedback).detail
    except msgspec.MsgspecError as error:
        # Its text could repeat an address.
        raise Hopeless(type(error).__name__) from None
    for address, reason in _gone(detail):
        await ports.suppression.suppress(address, reason, now=ports.clock())


def _gone(detail: Detail) -> list[tuple[str, str]]:
    found: list[tuple[list[Recipient], str]] = []
    if detail.bounce is not None and detail.bounce.bounce_type == "Permanent":
        found.append((detail.bounce.bounced_recipients, "bounce"))
    if detail.complaint is not None:
        found.append((detail.complaint.complained_recipients, "complaint"))
    return [(recipient.email_address, reason) for recipients, reason in found for recipient in recipients]


handler: Any = queue_entry(listen, lambda_ports, PORTS)
