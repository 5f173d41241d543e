"""One client that misbehaves stops no other: the server under every attack at once, and after it."""

import asyncio
import contextlib
import json
import socket
import statistics
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from nomadcrew.hosts.machine.http.protocol import HEAD_TIMEOUT_S
from tests.e2e.attacks import ATTACKS, Attacker, idle_connections, many_sockets, under_attack
from tests.e2e.client import NEW_TRIP, Api, User, eventually
from tests.e2e.server import Server

# The attackers have addresses of their own, and memory is read as Linux tells it.
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="other addresses than 127.0.0.1 must be set up first"),
    pytest.mark.one_machine("attacks a server of its own"),
]

ATTACK_S = 12.0
P99_MS = 250.0
MOST_MIB = 128.0
LEFT_MIB = 64.0
PDF = b"%PDF-1.4\n" + b"x" * (10 * (1 << 20) - 100) + b"\n%%EOF\n"


@dataclass
class Besieged:
    """A server with its limits on, a well-behaved user, and a member whose credentials the attackers have."""

    server: Server
    ana: User
    mallory: User
    link: str
    silent: list[socket.socket]
    """Connections that were opened first and send nothing more: nothing yet, half a head, half a handshake."""

    def rss_mib(self) -> float:
        """The resident memory of the host's process."""
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    async def latencies(self, seconds: float) -> list[float | None]:
        command = ("-m", "tests.e2e.prober", self.server.url, self.ana.token, str(seconds))
        process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        latencies: list[float | None] = json.loads(out)
        return latencies


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def besieged() -> AsyncIterator[Besieged]:
    async with Server(NOMADCREW_RATE_LIMITS="default=100000/60", NOMADCREW_CONNECTIONS_PER_ADDRESS="200") as server:
        api = Api(server.url)
        ana, mallory = await api.register("ana"), await api.register("mallory")
        await ana.send("POST", "/v1/trips", NEW_TRIP)
        trip = f"/v1/trips/{(await mallory.send('POST', '/v1/trips', NEW_TRIP)).json()['id']}"
        own = {"authorization": f"Bearer {mallory.token}"}
        uploaded = await api.send("POST", f"{trip}/chat/attachments", content=PDF, headers=own)
        id_ = uploaded.json()["id"]
        await mallory.send("POST", f"{trip}/chat/messages", {"content": "a plan", "attachmentId": id_})
        link = (await mallory.send("GET", f"{trip}/chat/attachments/{id_}")).headers["location"]
        by = Attacker(server.url, "127.0.0.98", token=mallory.token)
        silent = [await by.connect(first) for first in (b"", b"GET / HTTP/1.1\r\n", by.upgrade()[:-4])]
        yield Besieged(server, ana, mallory, link, [each for each in silent if each is not None])
        by.close()
        await api.close()
        assert server.errors == [], "\n".join(server.errors)


async def test_no_attack_slows_others_down_or_fills_the_memory(besieged: Besieged) -> None:
    await besieged.latencies(2)  # warm
    rest_mib = besieged.rss_mib()
    probing = asyncio.create_task(besieged.latencies(ATTACK_S))
    highest_mib = rest_mib
    async with under_attack(besieged.server.url, *ATTACKS, token=besieged.mallory.token, link=besieged.link):
        while not probing.done():
            await asyncio.sleep(0.1)
            highest_mib = max(highest_mib, besieged.rss_mib())
    latencies = [latency for latency in await probing if latency is not None]
    assert len(latencies) == len(await probing) > 50
    assert statistics.quantiles(latencies, n=100)[98] <= P99_MS
    assert highest_mib - rest_mib <= MOST_MIB

    async def recovered() -> bool:
        return besieged.rss_mib() - rest_mib <= LEFT_MIB

    await eventually(recovered)


async def test_one_address_cannot_take_every_connection(besieged: Besieged) -> None:
    async with under_attack(besieged.server.url, idle_connections):
        await asyncio.sleep(2)
        other = Attacker(besieged.server.url, "127.0.0.99")
        answered = await other.connect(b"GET /health/liveness HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n")
        assert answered is not None
        async with asyncio.timeout(5):
            assert (await asyncio.get_running_loop().sock_recv(answered, 100)).startswith(b"HTTP/1.1 200")
        other.close()
        assert "too many connections of one address" in besieged.server.log


async def test_one_user_cannot_take_every_socket(besieged: Besieged) -> None:
    async with under_attack(besieged.server.url, many_sockets, token=besieged.mallory.token):
        await asyncio.sleep(2)
        page = (await besieged.ana.api.send("GET", "/metrics")).text
        sockets = float(page.partition("\nnomadcrew_sockets ")[2].split()[0])
        assert 10 <= sockets <= 25


async def test_half_sent_heads_and_silent_connections_end(besieged: Besieged) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(HEAD_TIMEOUT_S + 5):
        assert len(besieged.silent) == 3
        for silent in besieged.silent:
            with contextlib.suppress(ConnectionResetError):
                assert await loop.sock_recv(silent, 100) == b""
