"""Mailers: to files, and to an SMTP server."""

import asyncio
import email
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import compat32, default
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from nomadcrew.adapters.machine.mailer import FileMailer, SmtpMailer, SmtpServer
from nomadcrew.adapters.mime import MailSender
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.mail import MailMessage, MailRefused

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SENDER = MailSender("NomadCrew", "trips@example.org")
MESSAGE = MailMessage(
    "019a0000-0000-7000-8000-000000000001",
    "ben@example.org",
    "Ana invites you to Zürich – 7 days",
    "Hello Ben\nhttps://trips.example/" + "a" * 600 + "\n",
    "<p>Hello <b>Ben</b></p>",
)
# Changes that no mailer can write as headers.
UNWRITABLE = [
    {"subject": "Hi\r\nBcc: all@example.org"},
    {"subject": "Hi\nBcc: all@example.org"},
    {"to": "ben@example.org\r\nBcc: all@example.org"},
    {"to": "ben@example.org, all@example.org"},
    {"to": "no address"},
    {"to": "@example.org"},
    {"to": "ben <ben@example.org>"},
    {"to": "ben@exa..mple.org"},
    {"to": ""},
    {"to": "=?utf-8?q?a=0D=0AX=3A_1?=@example.org"},
    {"to": "=?utf-8?b?YQ0KWDogMQ==?=@example.org"},
]


# Texts that a parser of headers reads as something else.
DECEPTIVE = [
    "=?utf-8?q?a=0D=0AX:_1?=", "=?utf-8?b?YQ0KWDogMQ==?=", "=?utf-8?q?a=0D=0A=0D=0A<b>body</b>?=",
    "=?utf-8?q?caf=C3=A9?=",
    "=?us-ascii*en?q?a=0AX:_1?= and =?utf-8?q?b?=", "=?UTF-8?Q?=0D=0A?=" * 12, "=?bogus?q?a?=", "a =?= ?= b",
    "Ünïcode " * 30, "x" * 300, "👨‍👩‍👧" * 20, "", " spaces ", "a <b@example.org>, c",
]  # fmt: skip
HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
]  # fmt: skip


def check_deceptive(data: bytes, subject: str, to: str = "ben@example.org") -> None:
    """The mail has exactly our headers, and its subject is read as it was given."""
    for policy in (default, compat32):
        mail = email.message_from_bytes(data, policy=policy)
        assert sorted(mail.keys()) == sorted(HEADERS)
    raw = email.message_from_bytes(data, policy=compat32)
    assert str(make_header(decode_header(raw["Subject"]))) == subject
    assert raw["To"] == to
    head, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    assert head.isascii()
    assert all(len(line) <= 78 for line in head.split(b"\n") if line.startswith((b"Subject", b" =?")))
    assert body.startswith(b"--")


def parse(data: bytes) -> EmailMessage:
    mail = email.message_from_bytes(data, policy=default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def check_message(data: bytes) -> None:
    mail = parse(data)
    assert mail["from"] == "NomadCrew <trips@example.org>"
    assert mail["to"] == "ben@example.org"
    assert mail["subject"] == MESSAGE.subject
    assert mail["message-id"] == f"<{MESSAGE.id}@example.org>"
    assert parsedate_to_datetime(mail["date"]) == NOON
    assert mail["auto-submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"
    text, html = mail.iter_parts()
    assert isinstance(text, EmailMessage)
    assert isinstance(html, EmailMessage)
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().replace("\r\n", "\n") == MESSAGE.text
    assert html.get_content().strip() == MESSAGE.html
    assert all(len(line) <= 998 for line in data.splitlines())


async def send_to_file(tmp_path: Path, message: MailMessage) -> list[Path]:
    await FileMailer(tmp_path, SENDER, clock=lambda: NOON).send(message)
    return sorted(tmp_path.iterdir())


async def test_a_mail_is_stored_in_a_file_named_after_its_event(tmp_path: Path) -> None:
    [file] = await send_to_file(tmp_path, MESSAGE)
    assert file.name == f"{MESSAGE.id}.eml"
    check_message(file.read_bytes())


async def test_a_link_in_a_file_is_on_one_line(tmp_path: Path) -> None:
    [file] = await send_to_file(tmp_path, replace(MESSAGE, text=f"Grüße\n{MESSAGE.text}"))
    assert MESSAGE.text.splitlines()[1] in file.read_text().splitlines()


async def test_a_repeated_mail_is_the_same_file(tmp_path: Path) -> None:
    [file] = await send_to_file(tmp_path, MESSAGE)
    before = file.read_bytes()
    assert await send_to_file(tmp_path, replace(MESSAGE, subject="changed")) == [file]
    assert file.read_bytes() == before


async def test_an_id_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    for id_ in ("../escaped", "/etc/passwd", "", ".", "a\nb", "x" * 500):
        await send_to_file(folder, replace(MESSAGE, id=id_))
    assert len(list(folder.iterdir())) == 6
    assert list(tmp_path.iterdir()) == [folder]


async def test_an_unwritable_folder_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await send_to_file(tmp_path / "missing", MESSAGE)


@pytest.mark.parametrize("changes", UNWRITABLE, ids=str)
async def test_a_mail_with_invalid_headers_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(MailRefused) as caught:
        await send_to_file(tmp_path, replace(MESSAGE, **changes))
    assert "example.org" not in "".join(traceback.format_exception(caught.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subject", DECEPTIVE)
async def test_a_subject_in_a_file_is_read_as_it_was_written(tmp_path: Path, subject: str) -> None:
    [file] = await send_to_file(tmp_path, replace(MESSAGE, subject=subject))
    check_deceptive(file.read_bytes(), subject)


@pytest.mark.parametrize("to", ["o'brien@example.org", "a=?b+c!#$%@example.org"])
async def test_an_address_is_written_as_it_is(tmp_path: Path, to: str) -> None:
    [file] = await send_to_file(tmp_path, replace(MESSAGE, to=to))
    check_deceptive(file.read_bytes(), MESSAGE.subject, to)


@pytest.mark.parametrize("name", ["=?utf-8?q?a=0D=0AX:_1?=", "Zoë, Ana & Co.", "A. (b) <c@example.org>"])
async def test_the_name_of_the_sender_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    await FileMailer(tmp_path, MailSender(name, "trips@example.org"), clock=lambda: NOON).send(MESSAGE)
    [file] = tmp_path.iterdir()
    check_deceptive(file.read_bytes(), MESSAGE.subject)
    raw = email.message_from_bytes(file.read_bytes(), policy=compat32)
    words, _, address = raw["From"].rpartition(" ")
    assert (str(make_header(decode_header(words))), address) == (name, "<trips@example.org>")


@dataclass
class Inbox:
    """The mails of a test server; `replies` maps an SMTP command to its error reply."""

    replies: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    users: list[tuple[bytes, bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" not in self.replies:
            envelope.rcpt_tos.append(address)
        return self.replies.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.replies:
            return self.replies["DATA"]
        assert isinstance(envelope.content, bytes)
        self.mails.append(envelope.content)
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.users.append((data.login, data.password))
        return AuthResult(success=data.password == b"p@ss:word/1", handled=False)


@asynccontextmanager
async def mail_server(inbox: Inbox, *, smtps: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    """Run a server on a free port and yield the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, hostname="localhost", authenticator=inbox.authenticate, loop=loop, **options),
        "127.0.0.1",
        0,
        ssl=smtps,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS context of a server, and of a client that trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server_context, ssl.create_default_context(cafile=str(folder / "cert.pem"))


async def deliver(url: str, message: MailMessage = MESSAGE, tls: ssl.SSLContext | None = None) -> None:
    mailer = SmtpMailer(SmtpServer.parse(url), SENDER, clock=lambda: NOON, tls=tls, timeout_s=5)
    await mailer.send(message)


async def test_a_mail_arrives_at_the_server() -> None:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        await deliver(f"smtp://127.0.0.1:{port}")
    [mail] = inbox.mails
    check_message(mail)
    assert inbox.recipients == [["ben@example.org"]]


@pytest.mark.parametrize("to", ["ben@example.org", "o'brien@example.org"])
async def test_a_deceptive_mail_arrives_as_it_was_written(to: str) -> None:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        for subject in DECEPTIVE:
            await deliver(f"smtp://127.0.0.1:{port}", replace(MESSAGE, subject=subject, to=to))
    for mail, subject in zip(inbox.mails, DECEPTIVE, strict=True):
        check_deceptive(mail, subject, to)
    assert inbox.recipients == [[to]] * len(DECEPTIVE)


async def test_a_repeated_mail_has_the_same_message_id() -> None:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        for _ in range(2):
            await deliver(f"smtp://127.0.0.1:{port}")
    assert len({parse(mail)["message-id"] for mail in inbox.mails}) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_user_and_password_are_sent_to_the_server() -> None:
    inbox = Inbox()
    async with mail_server(inbox, auth_required=True, auth_require_tls=False) as port:
        await deliver(f"smtp://trips%40example.org:p%40ss%3Aword%2F1@127.0.0.1:{port}")
        with pytest.raises(Unavailable):
            await deliver(f"smtp://trips:wrong@127.0.0.1:{port}")
    assert inbox.users[0] == (b"trips@example.org", b"p@ss:word/1")
    assert len(inbox.mails) == 1


async def test_starttls_is_required(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    inbox = Inbox()
    async with mail_server(inbox, tls_context=tls[0], require_starttls=True) as port:
        await deliver(f"smtp+starttls://localhost:{port}", tls=tls[1])
    assert inbox.encrypted == [True]
    async with mail_server(inbox) as port:
        with pytest.raises(Unavailable):
            await deliver(f"smtp+starttls://localhost:{port}", tls=tls[1])
    assert len(inbox.mails) == 1


async def test_smtps_is_encrypted_from_the_start(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    inbox = Inbox()
    async with mail_server(inbox, smtps=tls[0]) as port:
        await deliver(f"smtps://localhost:{port}", tls=tls[1])
        with pytest.raises(Unavailable):
            await deliver(f"smtps://localhost:{port}")
    assert len(inbox.mails) == 1


@pytest.mark.parametrize("command", ["RCPT", "DATA"])
async def test_a_permanent_error_is_a_refusal(command: str) -> None:
    async with mail_server(Inbox({command: "550 no such mailbox"})) as port:
        with pytest.raises(MailRefused, match="550") as caught:
            await deliver(f"smtp://127.0.0.1:{port}")
    assert "ben@" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("RCPT", "450 greylisted"),
        ("DATA", "451 try later"),
        ("MAIL", "451 try later"),
        ("MAIL", "553 sender not allowed"),
    ],
)
async def test_a_temporary_or_configuration_error_is_an_outage(command: str, reply: str) -> None:
    async with mail_server(Inbox({command: reply})) as port:
        with pytest.raises(Unavailable):
            await deliver(f"smtp://127.0.0.1:{port}")


@pytest.mark.contract("jobs.mail.fix-asynchronous")
async def test_a_missing_server_is_an_outage() -> None:
    async with mail_server(Inbox()) as port:
        pass
    with pytest.raises(Unavailable):
        await deliver(f"smtp://127.0.0.1:{port}")


async def test_a_silent_server_is_an_outage_after_the_timeout() -> None:
    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stay_silent, "127.0.0.1", 0)
    url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    mailer = SmtpMailer(SmtpServer.parse(url), SENDER, timeout_s=0.2)
    with pytest.raises(Unavailable):
        await mailer.send(MESSAGE)
    server.close()
    await server.wait_closed()


async def test_a_non_ascii_address_needs_a_server_with_smtputf8() -> None:
    inbox, message = Inbox(), replace(MESSAGE, to="bén@exämple.org")
    async with mail_server(inbox, enable_SMTPUTF8=True) as port:
        await deliver(f"smtp://127.0.0.1:{port}", message)
    assert inbox.recipients == [["bén@xn--exmple-cua.org"]]
    async with mail_server(inbox, enable_SMTPUTF8=False) as port:
        with pytest.raises(MailRefused):
            await deliver(f"smtp://127.0.0.1:{port}", message)


async def test_a_non_ascii_domain_needs_no_special_server(tmp_path: Path) -> None:
    inbox = Inbox()
    async with mail_server(inbox, enable_SMTPUTF8=False) as port:
        await deliver(f"smtp://127.0.0.1:{port}", replace(MESSAGE, to="ben@exämple.org"))
    assert inbox.recipients == [["ben@xn--exmple-cua.org"]]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", SmtpServer("smtp", "mail.example", 25)),
        ("smtp+starttls://u:p@mail.example", SmtpServer("smtp+starttls", "mail.example", 587, "u", "p")),
        ("smtps://mail.example:2465", SmtpServer("smtps", "mail.example", 2465)),
    ],
)
def test_the_url_of_a_server_is_parsed(url: str, server: SmtpServer) -> None:
    assert SmtpServer.parse(url) == server


@pytest.mark.parametrize(
    "url", ["mail.example", "http://mail.example", "smtp://", "smtp://u@h", "smtp://u:secret@h:x"]
)
def test_an_invalid_server_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="mail server") as caught:
        SmtpServer.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "NomadCrew", "a@", "@b", "A <a@b>\r\nBcc: c@d"])
def test_an_invalid_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="sender"):
        MailSender.parse(text)


def test_a_sender_has_a_name_or_none() -> None:
    assert MailSender.parse("NomadCrew <a@b.example>") == MailSender("NomadCrew", "a@b.example")
    assert MailSender.parse("a@b.example") == MailSender("", "a@b.example")
