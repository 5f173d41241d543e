"""Sends mail by SMTP, or writes it to files."""

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from nomadcrew.adapters.machine.keys import write_new
from nomadcrew.adapters.mime import MailSender, compose, file_stem, recipient_of
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.mail import MailMessage, MailRefused

TIMEOUT_S = 15.0
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class FileMailer:
    """`Mailer` that writes each mail once, to `<message id>.eml` in a folder."""

    def __init__(self, folder: Path, sender: MailSender, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._folder = folder
        self._sender = sender
        self._clock = clock

    async def send(self, message: MailMessage) -> None:
        # Readable encoding, for users who copy a link from the file.
        mail = compose(message, self._sender, self._clock(), encoding="8bit")
        try:
            await asyncio.to_thread(write_new, self._folder / f"{file_stem(message.id)}.eml", mail.as_bytes())
        except OSError as error:
            raise Unavailable("The mail could not be written to the disk.", details=type(error).__name__) from error


class SmtpServer(Struct, frozen=True):
    """The address of a mail server. `security` is smtp (none), smtp+starttls or smtps."""

    security: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> "SmtpServer":
        """The server of `smtp[+starttls|s]://[user:password@]host[:port]`. Default port: 25, 587 or 465.

        Raises:
            ValueError: the URL is not valid. The message does not repeat it, as it may contain a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("The port of the mail server's URL must be a number.") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("The mail server's URL must be smtp://, smtp+starttls:// or smtps:// and a host.")
        if (parts.username is None) != (parts.password is None):
            raise ValueError("The mail server's URL must have a user and a password, or neither.")
        return cls(
            parts.scheme,
            parts.hostname,
            port or _PORTS[parts.scheme],
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
        )


class SmtpMailer:
    """`Mailer` by SMTP: one connection per mail, in a thread.

    A mail may arrive twice if the server's last reply is lost; both copies have the same Message-ID.
    """

    def __init__(
        self,
        server: SmtpServer,
        sender: MailSender,
        *,
        clock: Callable[[], datetime] = utc_now,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`tls` overrides the system's certificate authorities; `timeout_s`: for the connection and each reply."""
        self._server = server
        self._sender = sender
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        self._timeout_s = timeout_s

    async def send(self, message: MailMessage) -> None:
        mail = compose(message, self._sender, self._clock())
        try:
            await asyncio.to_thread(self._deliver, mail, recipient_of(message))
        # A failed job is logged with its causes, and those of a refusal quote the address: hence `from None`.
        except smtplib.SMTPRecipientsRefused as error:
            raise _refusal(max(code for code, _ in error.recipients.values()), error) from None
        except smtplib.SMTPDataError as error:
            raise _refusal(error.smtp_code, error) from None
        except smtplib.SMTPNotSupportedError as error:
            raise _not_supported(message, error) from None
        except (smtplib.SMTPException, OSError) as error:
            # A wrong password or sender is a configuration error: the mail waits until it is fixed.
            raise Unavailable(
                "The mail server refuses mail at the moment.", details=type(error).__name__
            ) from error

    def _deliver(self, mail: EmailMessage, to: str) -> None:
        with self._connect() as smtp:
            if self._server.security == "smtp+starttls":
                smtp.starttls(context=self._tls)
            if self._server.user is not None and self._server.password is not None:
                smtp.login(self._server.user, self._server.password)
            smtp.send_message(mail, self._sender.address, [to])

    def _connect(self) -> smtplib.SMTP:
        host, port = self._server.host, self._server.port
        if self._server.security == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=self._timeout_s, context=self._tls)
        return smtplib.SMTP(host, port, timeout=self._timeout_s)


def _refusal(code: int, error: Exception) -> Exception:
    if code >= 500:
        return MailRefused(f"the mail server refused with {code}")
    return Unavailable("The mail server asks to try again later.", details=type(error).__name__)


def _not_supported(message: MailMessage, error: Exception) -> Exception:
    """A server without SMTPUTF8 can never deliver the address; one without STARTTLS or sign-in is misconfigured."""
    if not message.to.isascii():  # domains are encoded in ASCII, so this is the local part
        return MailRefused("the mail server does not support non-ASCII addresses")
    return Unavailable("The mail server's settings do not match the server.", details=type(error).__name__)
