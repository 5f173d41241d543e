"""Sends webhooks. A receiver's name is resolved once, and the connection goes to the address that was checked.

A name may lead elsewhere at its next look-up, so the library that connects gets no name. Redirects are not
followed, and a reply is not read beyond its head.
"""

import asyncio
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import SplitResult

from nomadcrew.core.webhooks.addresses import Address, Network, may_receive, split
from nomadcrew.core.webhooks.model import Outcome

TIMEOUT_S = 15.0  # for the whole attempt, behind the look-up
CONNECT_S = 5.0
AT_ONCE = 10
PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Sequence[Address]]


class _Refused(Exception):
    """The name leads to an address that may not receive webhooks."""


class HttpWebhookSender:
    """`WebhookSender` with the standard library, in threads of its own."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        *,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """`networks` may receive webhooks in addition to the internet, and over plain http."""
        self._networks = networks
        self._timeout_s = timeout_s
        self._resolve = resolve or _resolved
        self._tls = tls
        self._threads = ThreadPoolExecutor(AT_ONCE, "webhooks")

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        started_s = time.monotonic()
        status, error = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._attempt, url, body, dict(headers)
        )
        return Outcome(status, error, round((time.monotonic() - started_s) * 1000))

    def _attempt(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int | None, str | None]:
        try:
            return self._post(url, body, headers), None
        except _Refused:
            return None, "address_refused"
        except socket.gaierror:
            return None, "name_unknown"
        except TimeoutError:
            return None, "timeout"
        except ssl.SSLError:
            return None, "tls_failed"
        except (OSError, http.client.HTTPException, ValueError):
            return None, "connection_failed"

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        parts = split(url)
        if parts is None or parts.hostname is None:
            raise _Refused
        with _Deadline(self._connected(parts, parts.hostname), self._timeout_s) as held:
            if parts.scheme == "https":
                held.sock = self._tls().wrap_socket(
                    held.sock, server_hostname=parts.hostname, do_handshake_on_connect=False
                )
                held.sock.do_handshake()
            connection = http.client.HTTPConnection(parts.hostname, parts.port)
            connection.auto_open = 0  # it must not connect by itself, which would resolve the name again
            connection.sock = held.sock
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, {"content-type": "application/json", **headers})
            return connection.getresponse().status

    def _connected(self, parts: SplitResult, host: str) -> socket.socket:
        """A connection to an address of the host, all of which were checked."""
        port = parts.port or PORTS[parts.scheme]
        addresses = self._resolve(host, port)
        if not addresses or not all(may_receive(each, parts.scheme, self._networks) for each in addresses):
            raise _Refused
        sock = socket.create_connection((str(addresses[0]), port), CONNECT_S)
        if not may_receive(_address(sock.getpeername()), parts.scheme, self._networks):
            sock.close()
            raise _Refused
        return sock


class _Deadline:
    """Closes a connection at its end, or when its time is over.

    Each byte restarts the timeout of a socket, so a handshake or a reply that trickles in needs a deadline.
    """

    def __init__(self, sock: socket.socket | ssl.SSLSocket, timeout_s: float) -> None:
        self.sock: Any = sock  # replaced once it speaks TLS
        sock.settimeout(timeout_s)
        self._is_over = False
        self._timer = threading.Timer(timeout_s, self._end)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        self.sock.close()
        if self._is_over:
            raise TimeoutError from None

    def _end(self) -> None:
        self._is_over = True
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _resolved(host: str, port: int) -> Sequence[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [_address(each[4]) for each in found]


def _address(name: tuple[Any, ...]) -> Address:
    """The address in the name of a socket, without the zone of IPv6."""
    return ip_address(str(name[0]).partition("%")[0])
