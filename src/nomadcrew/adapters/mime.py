"""Composes mails in MIME, for all mailers."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr

from nomadcrew.core.mail import MailMessage, MailRefused

_LOCAL_PART = re.compile(r"[^\s\x00-\x1f@<>\"'(),:;\\\[\]]+")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class MailSender:
    """The sender of mails, such as `NomadCrew <no-reply@example.org>`."""

    name: str
    address: str

    @classmethod
    def parse(cls, text: str) -> "MailSender":
        """Raises ValueError: `text` contains no address."""
        name, address = parseaddr(text)
        local, _, domain = address.rpartition("@")
        if not local or not domain or not address.isascii() or not text.isprintable():
            raise ValueError(f"{text!r} is not a sender; use NomadCrew <no-reply@example.org>.")
        return cls(name, address)

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def compose(
    message: MailMessage, sender: MailSender, now: datetime, *, encoding: str | None = None
) -> EmailMessage:
    """The mail with its headers: text first, HTML as the alternative. Default `encoding`: the best fit.

    Raises:
        MailRefused: an address or a header is not valid in a mail.
    """
    try:
        to = _recipient(message.to)
        mail = EmailMessage(policy=SMTP if to.username.isascii() else SMTPUTF8)
        mail["From"] = Address(sender.name, addr_spec=sender.address)
        mail["To"] = to
        mail["Subject"] = message.subject
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{file_stem(message.id)}@{sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text, cte=encoding)
        mail.add_alternative(message.html, subtype="html", cte=encoding)
    except (ValueError, MessageError) as error:
        raise MailRefused(f"the mail cannot be composed: {type(error).__name__}") from None
    return mail


def _recipient(address: str) -> Address:
    """The recipient's address; an internationalised domain is encoded in ASCII.

    Raises:
        ValueError: it is not a single plain address.
    """
    local, _, domain = address.rpartition("@")
    if not _LOCAL_PART.fullmatch(local) or not domain:
        raise ValueError("not a plain address")
    return Address(username=local, domain=domain.encode("idna").decode())


def file_stem(message_id: str) -> str:
    """The id if it is valid in a file name and a header, as event ids are; else its SHA-256."""
    return message_id if _SAFE_NAME.fullmatch(message_id) else hashlib.sha256(message_id.encode()).hexdigest()
