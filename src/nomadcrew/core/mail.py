"""Outgoing mail and its ports."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.text import email_key

# Mails to one address within a day that other users cause: invitations to any trip, and confirmations of contact
# addresses.
MAX_MAILS = 10


def recipient_key(address: str) -> str:
    """The mailbox whose mails are counted: as `email_key`, without the +tag that many hosts deliver to the same."""
    local, _, domain = email_key(address).rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


class MailMessage(Struct, frozen=True):
    """One mail to one user. `id` is the id of its event, so that a repeat can be recognised."""

    id: str
    to: str
    subject: str
    text: str
    html: str


class MailRefused(PermanentFailure):
    """The receiving server permanently refuses the mail: no such mailbox, or unwanted content.

    The text has the server's code, but no address.
    """


class Mailer(Protocol):
    async def send(self, message: MailMessage) -> None:
        """Send the mail. Safe to repeat.

        Raises:
            Unavailable: an outage; retry later.
            MailRefused: a permanent refusal.
        """
        ...


class Suppression(Protocol):
    """Addresses that bounced or complained and get no more mail."""

    async def suppress(self, address: str, reason: str, *, now: datetime) -> None:
        """Send no more mail to an address. Safe to repeat."""
        ...
