"""Composes mails in MIME, for all mailers."""

import hashlib
import re
from datetime import datetime
from email.errors import MessageError
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy
from email.utils import format_datetime, parseaddr

from msgspec import Struct

from nomadcrew.core.mail import MailMessage, MailRefused
from nomadcrew.core.text import ascii_domain

# RFC 2047 forbids encoded words in addresses, and programs on the way would decode them.
_LOCAL_PART = re.compile(r"(?!.*=\?.*\?=)[^\s\x00-\x1f@<>\"(),:;\\\[\]]+")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")
# Also what Python's parsers take for a line break.
_BREAK = re.compile(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029\x00]")
_PLAIN = re.compile(r"(?!.*=\?)(?! )[A-Za-z0-9 !#$%&'*+/=?^_`{|}~.-]{0,60}(?<! )")
_PHRASE = re.compile(r"[A-Za-z0-9 ]{1,60}")
_FOLD = "\r\n "
_WORD_CHARS = 64  # leaves room for the header's name in 78
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class MailSender(Struct, frozen=True):
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

    @property
    def header(self) -> str:
        if not self.name:
            return self.address
        return f"{self.name if _PHRASE.fullmatch(self.name) else encoded(self.name)} <{self.address}>"


class _Written(str):
    """The value of a header as it is written.

    The headers of `email` parse what they are given and decode its encoded words, whose text may become further
    headers or a body.
    """

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, value: str) -> "_Written":
        written = super().__new__(cls, value)
        written.name = name
        return written

    def fold(self, *, policy: EmailPolicy) -> str:
        """The header's lines. Raises ValueError if one of them would be a header of its own."""
        if _BREAK.search(self.replace(_FOLD, " ")):
            raise ValueError("a header must not have a line break")
        return f"{self.name}: {self}{policy.linesep}"


def compose(
    message: MailMessage, sender: MailSender, now: datetime, *, encoding: str | None = None
) -> EmailMessage:
    """The mail with its headers: text first, HTML as the alternative. Default `encoding`: the best fit.

    Raises:
        MailRefused: an address or a header is not valid in a mail.
    """
    try:
        to = recipient_of(message)
        mail = EmailMessage(policy=SMTP if to.isascii() else SMTPUTF8)
        mail["From"] = _Written("From", sender.header)
        mail["To"] = _Written("To", to)
        mail["Subject"] = _Written("Subject", encoded(message.subject))
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{file_stem(message.id)}@{sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text, cte=encoding)
        mail.add_alternative(message.html, subtype="html", cte=encoding)
        mail.as_bytes()  # checks each header once more
    except (ValueError, MessageError) as error:
        raise MailRefused(f"the mail cannot be composed: {type(error).__name__}") from None
    return mail


def recipient_of(message: MailMessage) -> str:
    """The recipient's address; an internationalised domain is encoded in ASCII.

    Raises:
        MailRefused: it is not a single plain address.
    """
    local, _, domain = message.to.rpartition("@")
    domain = ascii_domain(domain)
    if not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise MailRefused("the mail has no plain recipient")
    return f"{local}@{domain}"


def encoded(text: str) -> str:
    """A text for a header: as it is if it is plain, else in encoded words of RFC 2047, on lines of their own.

    A text that looks like an encoded word is encoded, so that it is read as it was written.

    Raises:
        ValueError: the text has a line break.
    """
    if _BREAK.search(text):
        raise ValueError("a header must not have a line break")
    if _PLAIN.fullmatch(text):
        return text
    words = Header(text, "utf-8", maxlinelen=_WORD_CHARS).encode(splitchars="").split("\n")
    return _FOLD.join(word.strip() for word in words)


def file_stem(message_id: str) -> str:
    """The id if it is valid in a file name and a header, as event ids are; else its SHA-256."""
    return message_id if _SAFE_NAME.fullmatch(message_id) else hashlib.sha256(message_id.encode()).hexdigest()
