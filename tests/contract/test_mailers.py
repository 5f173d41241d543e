"""Mailers: into files, and to a server by SMTP."""

import asyncio
import email
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
# What no mail can be made of, whoever carries it.
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
]


def parsed(data: bytes) -> EmailMessage:
    mail = email.message_from_bytes(data, policy=default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def check_it_is_the_message(data: bytes) -> None:
    mail = parsed(data)
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


async def to_file(tmp_path: Path, message: MailMessage) -> list[Path]:
    await FileMailer(tmp_path, SENDER, clock=lambda: NOON).send(message)
    return sorted(tmp_path.iterdir())


async def test_a_mail_becomes_a_file_named_after_its_event(tmp_path: Path) -> None:
    [file] = await to_file(tmp_path, MESSAGE)
    assert file.name == f"{MESSAGE.id}.eml"
    check_it_is_the_message(file.read_bytes())


async def test_a_link_in_a_file_can_be_copied(tmp_path: Path) -> None:
    [file] = await to_file(tmp_path, replace(MESSAGE, text=f"Grüße\n{MESSAGE.text}"))
    assert MESSAGE.text.splitlines()[1] in file.read_text().splitlines()


async def test_a_mail_sent_again_is_the_same_file(tmp_path: Path) -> None:
    [file] = await to_file(tmp_path, MESSAGE)
    before = file.read_bytes()
    assert await to_file(tmp_path, replace(MESSAGE, subject="changed")) == [file]
    assert file.read_bytes() == before


async def test_an_id_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    for id_ in ("../escaped", "/etc/passwd", "", ".", "a\nb", "x" * 500):
        await to_file(folder, replace(MESSAGE, id=id_))
    assert len(list(folder.iterdir())) == 6
    assert list(tmp_path.iterdir()) == [folder]


async def test_a_folder_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await to_file(tmp_path / "missing", MESSAGE)


@pytest.mark.parametrize("changes", UNWRITABLE, ids=str)
async def test_a_mail_whose_headers_cannot_be_written_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(MailRefused) as caught:
        await to_file(tmp_path, replace(MESSAGE, **changes))
    assert "example.org" not in "".join(traceback.format_exception(caught.value))
    assert list(tmp_path.iterdir()) == []


@dataclass
class Inbox:
    """A mail server's memory; `say` maps a stage to the answer it gives there instead of accepting."""

    say: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    users: list[tuple[bytes, bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.say.get("MAIL", "250 OK")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" not in self.say:
            envelope.rcpt_tos.append(address)
        return self.say.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.say:
            return self.say["DATA"]
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
    """A server on a free port, which is its value."""
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
    """What a server shows, and a client that trusts it."""
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
    shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shows.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return shows, ssl.create_default_context(cafile=str(folder / "cert.pem"))


async def deliver(url: str, message: MailMessage = MESSAGE, tls: ssl.SSLContext | None = None) -> None:
    mailer = SmtpMailer(SmtpServer.parse(url), SENDER, clock=lambda: NOON, tls=tls, timeout_s=5)
    await mailer.send(message)


async def test_a_mail_arrives_at_the_server() -> None:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        await deliver(f"smtp://127.0.0.1:{port}")
    [mail] = inbox.mails
    check_it_is_the_message(mail)
    assert inbox.recipients == [["ben@example.org"]]


async def test_a_mail_sent_twice_has_one_message_id() -> None:
    inbox = Inbox()
    async with mail_server(inbox) as port:
        for _ in range(2):
            await deliver(f"smtp://127.0.0.1:{port}")
    assert len({parsed(mail)["message-id"] for mail in inbox.mails}) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_user_and_password_are_given_to_the_server() -> None:
    inbox = Inbox()
    async with mail_server(inbox, auth_required=True, auth_require_tls=False) as port:
        await deliver(f"smtp://trips%40example.org:p%40ss%3Aword%2F1@127.0.0.1:{port}")
        with pytest.raises(Unavailable):
            await deliver(f"smtp://trips:wrong@127.0.0.1:{port}")
    assert inbox.users[0] == (b"trips@example.org", b"p@ss:word/1")
    assert len(inbox.mails) == 1


async def test_starttls_is_used_and_not_optional(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
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


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
async def test_what_the_server_will_never_take_is_refused(stage: str) -> None:
    async with mail_server(Inbox({stage: "550 no such mailbox"})) as port:
        with pytest.raises(MailRefused, match="550") as caught:
            await deliver(f"smtp://127.0.0.1:{port}")
    assert "ben@" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("RCPT", "450 greylisted"),
        ("DATA", "451 try later"),
        ("MAIL", "451 try later"),
        ("MAIL", "553 sender not allowed"),
    ],
)
async def test_what_may_pass_or_be_put_right_is_tried_again(stage: str, answer: str) -> None:
    async with mail_server(Inbox({stage: answer})) as port:
        with pytest.raises(Unavailable):
            await deliver(f"smtp://127.0.0.1:{port}")


async def test_no_server_is_an_outage() -> None:
    async with mail_server(Inbox()) as port:
        pass
    with pytest.raises(Unavailable):
        await deliver(f"smtp://127.0.0.1:{port}")


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    mailer = SmtpMailer(SmtpServer.parse(url), SENDER, timeout_s=0.2)
    with pytest.raises(Unavailable):
        await mailer.send(MESSAGE)
    server.close()
    await server.wait_closed()


async def test_an_address_with_other_letters_arrives_where_the_server_can_carry_it() -> None:
    inbox, message = Inbox(), replace(MESSAGE, to="bén@exämple.org")
    async with mail_server(inbox, enable_SMTPUTF8=True) as port:
        await deliver(f"smtp://127.0.0.1:{port}", message)
    assert inbox.recipients == [["bén@xn--exmple-cua.org"]]
    async with mail_server(inbox, enable_SMTPUTF8=False) as port:
        with pytest.raises(MailRefused):
            await deliver(f"smtp://127.0.0.1:{port}", message)


async def test_a_domain_with_other_letters_needs_no_special_server(tmp_path: Path) -> None:
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
def test_a_servers_address_is_read(url: str, server: SmtpServer) -> None:
    assert SmtpServer.parse(url) == server


@pytest.mark.parametrize(
    "url", ["mail.example", "http://mail.example", "smtp://", "smtp://u@h", "smtp://u:secret@h:x"]
)
def test_a_wrong_address_of_a_server_is_told_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="mail server") as caught:
        SmtpServer.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "NomadCrew", "a@", "@b", "A <a@b>\r\nBcc: c@d"])
def test_a_wrong_sender_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="sender"):
        MailSender.parse(text)


def test_a_sender_has_a_name_or_none() -> None:
    assert MailSender.parse("NomadCrew <a@b.example>") == MailSender("NomadCrew", "a@b.example")
    assert MailSender.parse("a@b.example") == MailSender("", "a@b.example")
