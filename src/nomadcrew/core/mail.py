"""Mail as the product sends it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nomadcrew.core.errors import Hopeless


@dataclass(frozen=True, slots=True)
class Message:
    """One mail to one person. `id` is the event it follows from, so that a repeat can be recognised."""

    id: str
    to: str
    subject: str
    text: str
    html: str


class MailRefused(Hopeless):
    """The receiving side will never take this mail: no such mailbox, or content it does not want.

    The text holds the server's code and no address. Trying again is of no use.
    """


class Mailer(Protocol):
    async def send(self, message: Message) -> None:
        """Hand the mail over; safe to repeat.

        Raises:
            Unavailable: not now; try again later.
            MailRefused: not ever.
        """
        ...


class Suppression(Protocol):
    """Addresses that mail is not sent to, since it came back or was complained about."""

    async def suppress(self, address: str, reason: str, *, now: datetime) -> None:
        """Send no more mail to an address; safe to repeat."""
        ...
