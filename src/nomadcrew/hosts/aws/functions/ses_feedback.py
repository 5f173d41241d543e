"""Consumes SES feedback: suppresses mail to addresses that bounced or complained."""

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

PORTS: Final = ("queue", "suppression")


class BouncedRecipient(Struct, rename="camel"):
    email_address: str


class Bounce(Struct, rename="camel"):
    """A bounce. A transient one, such as a full mailbox, does not suppress mail."""

    bounce_type: str
    bounced_recipients: list[BouncedRecipient] = []


class Complaint(Struct, rename="camel"):
    complained_recipients: list[BouncedRecipient] = []


class Detail(Struct, rename="camel"):
    event_type: str
    bounce: Bounce | None = None
    complaint: Complaint | None = None


class Feedback(Struct):
    """The fields read from an SES event on the bus."""

    source: Literal["aws.ses"]
    detail: Detail


async def consume_feedback(job: Job, ports: Ports) -> None:
    """Suppress mail to addresses that bounced permanently or complained.

    Raises:
        PermanentFailure: the message is not SES feedback.
    """
    try:
        detail = msgspec.json.decode(job.body, type=Feedback).detail
    except msgspec.MsgspecError as error:
        # The error's text could contain an address.
        raise PermanentFailure(type(error).__name__) from None
    for address, reason in _suppressed(detail):
        await ports.suppression.suppress(address, reason, now=ports.clock())


def _suppressed(detail: Detail) -> list[tuple[str, str]]:
    """Addresses and reasons."""
    groups: list[tuple[list[BouncedRecipient], str]] = []
    if detail.bounce is not None and detail.bounce.bounce_type == "Permanent":
        groups.append((detail.bounce.bounced_recipients, "bounce"))
    if detail.complaint is not None:
        groups.append((detail.complaint.complained_recipients, "complaint"))
    return [(recipient.email_address, reason) for recipients, reason in groups for recipient in recipients]


handler: Any = queue_entry(consume_feedback, lambda_ports, PORTS)
