"""`WebhookSender` against receivers on this machine."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address

import pytest

from nomadcrew.adapters.http.webhooks import HttpWebhookSender
from nomadcrew.core.webhooks.addresses import Address, parse_networks

HERE = parse_networks(["127.0.0.0/8"])
MESSAGE = (b'{"type":"TODO_CREATED"}', {"webhook-id": "1"})


class Receiver:
    """A server that stores requests and answers with `reply`, a byte at a time if `slow_s` is set."""

    def __init__(self, reply: bytes, slow_s: float = 0) -> None:
        self.reply, self.slow_s = reply, slow_s
        self.got: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.got.append(head + await reader.readexactly(len(MESSAGE[0])))
            for part in [self.reply] if not self.slow_s else [bytes([byte]) for byte in self.reply]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(self.slow_s)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver(reply: bytes, slow_s: float = 0) -> AsyncIterator[Receiver]:
    made = Receiver(reply, slow_s)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def leading_to(*addresses: str) -> "Resolver":
    return Resolver([[ip_address(address) for address in addresses]])


class Resolver:
    """Answers each look-up with the next of `answers`, the last one for ever."""

    def __init__(self, answers: Sequence[Sequence[Address]]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, _host: str, _port: int) -> Sequence[Address]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_message_is_posted_with_its_headers() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as one:
        outcome = await HttpWebhookSender(HERE).send(f"http://127.0.0.1:{one.port}/in?a=b", *MESSAGE)
    assert (outcome.status, outcome.error) == (204, None)
    [request] = one.got
    assert request.startswith(b"POST /in?a=b HTTP/1.1\r\n")
    assert b"webhook-id: 1\r\n" in request
    assert b"content-type: application/json\r\n" in request
    assert request.endswith(MESSAGE[0])


async def test_a_redirect_is_not_followed() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as target:
        reply = f"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{target.port}/\r\n\r\n".encode()
        async with receiver(reply) as one:
            outcome = await HttpWebhookSender(HERE).send(f"http://127.0.0.1:{one.port}/", *MESSAGE)
    assert (outcome.status, outcome.is_delivered) == (307, False)
    assert target.got == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"])
async def test_this_machine_receives_nothing_unless_the_operator_allows_it(host: str) -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as one:
        for scheme in ("http", "https"):
            outcome = await HttpWebhookSender().send(f"{scheme}://{host}:{one.port}/", *MESSAGE)
            assert (outcome.status, outcome.error) in [(None, "address_refused"), (None, "name_unknown")]
    assert one.got == []


async def test_a_name_with_one_internal_address_receives_nothing() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as one:
        sender = HttpWebhookSender(resolve=leading_to("93.184.216.34", "127.0.0.1"))
        outcome = await sender.send(f"https://hooks.example.org:{one.port}/", *MESSAGE)
    assert outcome.error == "address_refused"
    assert one.got == []


async def test_a_name_is_resolved_once_so_that_it_cannot_lead_elsewhere_after_the_check() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as one:
        rebinding = Resolver([[ip_address("127.0.0.1")], [ip_address("127.0.0.2")]])
        sender = HttpWebhookSender(parse_networks(["127.0.0.1/32"]), resolve=rebinding)
        url = f"http://rebinding.example.org:{one.port}/"
        assert (await sender.send(url, *MESSAGE)).status == 204
        assert rebinding.asked == 1
        # The next message is checked again, and the name leads to an address that is not allowed now.
        assert (await sender.send(url, *MESSAGE)).error == "address_refused"
    assert len(one.got) == 1
    assert b"Host: rebinding.example.org" in one.got[0]


async def test_a_reply_that_trickles_in_ends_at_the_deadline() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n" + b"x: y\r\n" * 100, slow_s=0.02) as one:
        started_s = time.monotonic()
        outcome = await HttpWebhookSender(HERE, timeout_s=0.3).send(f"http://127.0.0.1:{one.port}/", *MESSAGE)
    assert outcome.error == "timeout"
    assert time.monotonic() - started_s < 2


async def test_a_silent_receiver_ends_at_the_deadline() -> None:
    with silent() as port:
        outcome = await HttpWebhookSender(HERE, timeout_s=0.2).send(f"http://127.0.0.1:{port}/", *MESSAGE)
    assert outcome.error == "timeout"


async def test_the_body_of_a_reply_is_not_read() -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n" + b"x" * 1000
    async with receiver(endless) as one:
        outcome = await HttpWebhookSender(HERE).send(f"http://127.0.0.1:{one.port}/", *MESSAGE)
    assert outcome.status == 200


@pytest.mark.parametrize("reply", [b"", b"nonsense\r\n\r\n"])
async def test_a_reply_that_is_not_http_is_a_failure(reply: bytes) -> None:
    async with receiver(reply) as one:
        outcome = await HttpWebhookSender(HERE).send(f"http://127.0.0.1:{one.port}/", *MESSAGE)
    assert (outcome.status, outcome.error) == (None, "connection_failed")


async def test_a_server_that_answers_no_handshake_ends_at_the_deadline() -> None:
    async with receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as one:
        outcome = await HttpWebhookSender(HERE, timeout_s=0.5).send(f"https://127.0.0.1:{one.port}/", *MESSAGE)
    assert (outcome.status, outcome.error) == (None, "timeout")


async def test_a_refused_connection_is_a_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    outcome = await HttpWebhookSender(HERE).send(f"http://127.0.0.1:{port}/", *MESSAGE)
    assert outcome.error == "connection_failed"


async def test_certificates_are_checked_for_the_name() -> None:
    contexts: list[ssl.SSLContext] = []

    def watched() -> ssl.SSLContext:
        contexts.append(ssl.create_default_context())
        return contexts[-1]

    async with receiver(b"") as one:
        await HttpWebhookSender(HERE, timeout_s=0.2, tls=watched).send(f"https://127.0.0.1:{one.port}/", *MESSAGE)
    [context] = contexts
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


async def test_a_url_that_is_none_is_refused() -> None:
    assert (await HttpWebhookSender(HERE).send("https://", *MESSAGE)).error == "address_refused"
    assert threading.active_count() < 100


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]
