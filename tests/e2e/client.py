"""The public API as an app uses it: requests with a bearer token, and sockets."""

import asyncio
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from tests.e2e.mailbox import Mailbox

T = TypeVar("T")

# A deadline against hanging, long enough for a busy machine.
WITHIN_S = 20.0
TIMEOUT_S = 10.0  # of the shipped app, which does not retry a request that timed out
PASSWORD = "Sail2Porto!"
NEW_TRIP = {
    "name": "Porto",
    "description": "by train",
    "destinationName": "Porto",
    "destinationAddress": "Porto, PT",
    "destinationLatitude": 41.15,
    "destinationLongitude": -8.61,
    "startDate": "2027-05-01T00:00:00.000Z",
    "endDate": "2027-05-09T00:00:00.000Z",
}


async def eventually(ask: Callable[[], Awaitable[T]], *, within_s: float = WITHIN_S) -> T:
    """Call `ask` until its result is truthy; return that result."""
    deadline_s = time.monotonic() + within_s
    while not (answer := await ask()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s; the last answer was {answer!r}")
        await asyncio.sleep(0.05)
    return answer


class Api:
    """A client of one server. `retries` is 3 in the shipped app, for every method and without a key.

    `statuses` counts every reply, retried ones included; `repeats` counts attempts after the first. `sockets` is
    the WebSocket address and `mailbox` receives confirmation mails, if the server does not provide them itself.
    """

    def __init__(
        self, url: str, *, retries: int = 0, sockets: str | None = None, mailbox: "Mailbox | None" = None
    ) -> None:
        self.url = url
        self.sockets = sockets or url.replace("http", "ws", 1) + "/v1/ws"
        self._mailbox = mailbox
        self.retries = retries
        self.statuses: Counter[int] = Counter()
        self.repeats = 0
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    async def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Send a request and retry it as the shipped app does.

        Raises:
            httpx.TransportError: the last attempt got no reply.
        """
        for attempt in range(self.retries + 1):
            try:
                reply = await self._http.request(method, path, **how)
            except httpx.TimeoutException:
                raise
            except httpx.TransportError:
                if attempt == self.retries:
                    raise
                wait_s = 0.0
            else:
                self.statuses[reply.status_code] += 1
                if attempt == self.retries or not (reply.status_code >= 500 or reply.status_code == 429):
                    return reply
                wait_s = float(reply.headers.get("retry-after", 0))
            self.repeats += 1
            await asyncio.sleep(max(wait_s, 0.2 * 2**attempt + random.uniform(0, 0.1)))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._http.aclose()

    async def register(self, name: str, **fields: str) -> "User":
        """Register a user named `name` with a unique username and email address."""
        tag = f"{name}-{secrets.token_hex(4)}"
        body = {"email": f"{tag}@example.org", "password": PASSWORD, "username": tag, "firstName": name.title()}
        reply = await self.send("POST", "/v1/auth/register", json=body | fields)
        if reply.status_code == 202:
            reply = await self._confirm(body["email"])
        assert reply.is_success, reply.text
        return User.of(self, reply.json())

    async def _confirm(self, address: str) -> httpx.Response:
        """Open the confirmation link mailed to an address, as the app does."""
        mailbox = self._mailbox
        assert mailbox is not None, "the server confirms addresses: pass the mailbox that receives its mail"
        from tests.e2e.mailbox import link_to

        token = (await link_to(address, "/auth/confirm", mailbox)).rpartition("/")[2]
        return await self.send("POST", "/v1/auth/confirm", json={"token": token, "password": PASSWORD})


@dataclass
class User:
    """A user with a session on one device."""

    api: Api
    id: str
    email: str
    username: str
    token: str
    refresh_token: str

    @classmethod
    def of(cls, api: Api, signed_in: dict[str, Any]) -> Self:
        user = signed_in["user"]
        return cls(
            api,
            user["id"],
            user["email"],
            user["username"],
            signed_in["access_token"],
            signed_in["refresh_token"],
        )

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        how: dict[str, Any] = {} if body is None else {"json": body}
        return await self.api.send(method, path, headers={"authorization": f"Bearer {self.token}"} | headers, **how)

    async def ask(self, method: str, path: str, body: object = None, *, status: int | None = None) -> Any:
        """The JSON of a successful reply, None if it is empty; `status` demands one status."""
        reply = await self.send(method, path, body)
        assert reply.status_code == status if status else reply.is_success, (reply.status_code, reply.text)
        return reply.json() if reply.content else None

    async def sign_in(self) -> "User":
        """A new session of the same user on another device."""
        body = {"email": self.email, "password": PASSWORD}
        reply = await self.api.send("POST", "/v1/auth/login", json=body)
        assert reply.status_code == 200, reply.text
        return User.of(self.api, reply.json())

    async def new_trip(self, **fields: Any) -> str:
        trip = await self.ask("POST", "/v1/trips", NEW_TRIP | {"name": secrets.token_hex(4)} | fields, status=201)
        return str(trip["id"])

    async def new_todo(self, trip_id: str, text: str) -> dict[str, Any]:
        todo: dict[str, Any] = await self.ask("POST", f"/v1/trips/{trip_id}/todos", {"text": text}, status=201)
        return todo

    async def new_poll(self, trip_id: str, **fields: Any) -> dict[str, Any]:
        body = {"question": "How?", "options": ["train", "bus"]} | fields
        poll: dict[str, Any] = await self.ask("POST", f"/v1/trips/{trip_id}/polls", body, status=201)
        return poll

    async def invite(self, trip_id: str, email: str, role: str = "MEMBER") -> dict[str, Any]:
        body = {"email": email, "role": role}
        invitation: dict[str, Any] = await self.ask("POST", f"/v1/trips/{trip_id}/invitations", body, status=201)
        return invitation

    async def add_member(self, trip_id: str, guest: "User", role: str = "MEMBER") -> None:
        """Invite `guest` to the trip and accept for them."""
        invitation = await self.invite(trip_id, guest.email, role)
        await guest.ask("POST", f"/v1/invitations/{invitation['id']}/accept")

    async def events(self, after: str | None = None, *, limit: int = 200) -> list[dict[str, Any]]:
        """All events of `GET /v1/events` after an event, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            cursor = f"&after={after}" if after else ""
            page = await self.ask("GET", f"/v1/events?limit={limit}{cursor}")
            found += page["events"]
            after = page["next"]
            if not page["has_more"]:
                return found

    async def connect(self, by: "TokenBy | None" = None) -> "Socket":
        socket = Socket(self.api.sockets, self.token)
        await socket.connect(by or TokenBy.QUERY)
        return socket


class TokenBy(Enum):
    """How a socket presents its token: the shipped app's first and second way, then a newer app's."""

    QUERY = "query"
    SUBPROTOCOL = "bare subprotocol"
    PAIR = "subprotocol pair"


class Socket:
    """One socket. Records every frame it receives over all its connections, and the last close code."""

    def __init__(self, address: str, token: str) -> None:
        self.token = token
        self.frames: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._url = address
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The envelopes of the received events, in order."""
        return [frame["payload"] for frame in self.frames if frame["type"] == "event"]

    @property
    def subprotocol(self) -> str | None:
        assert self._connection is not None
        return self._connection.subprotocol

    @property
    def open(self) -> bool:
        return self._reader is not None and not self._reader.done()

    async def connect(self, by: TokenBy = TokenBy.QUERY) -> None:
        """Connect, or reconnect, and wait for the greeting.

        Raises:
            websockets.InvalidStatus: refused before the upgrade; its response holds the reply.
        """
        await self.close()
        offered = {
            TokenBy.QUERY: None,
            TokenBy.SUBPROTOCOL: [Subprotocol(self.token)],
            TokenBy.PAIR: [Subprotocol("nomadcrew.v1"), Subprotocol(self.token)],
        }[by]
        address = f"{self._url}?token={self.token}" if by is TokenBy.QUERY else self._url
        self._connection = await connect(
            address, subprotocols=offered, proxy=None, ping_interval=None, max_size=None, close_timeout=2
        )
        self.close_code = None
        greeted = len(self.frames)
        self._reader = asyncio.create_task(self._read(self._connection))
        # On AWS a pending event may arrive before the greeting.
        await self.until(lambda: "connected" in {f["type"] for f in self.frames[greeted:]} or not self.open)

    async def send(self, frame: object) -> None:
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str | bytes) -> None:
        assert self._connection is not None
        await self._connection.send(text)

    async def until(self, found: Callable[[], T], *, within_s: float = WITHIN_S) -> T:
        """Call `found` after every frame until its result is truthy; return that result."""
        try:
            async with asyncio.timeout(within_s):
                while not (value := found()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            seen = [frame.get("payload", {}).get("type", frame["type"]) for frame in self.frames]
            raise AssertionError(
                f"not within {within_s:g} s; received {seen}, close code {self.close_code}"
            ) from None
        return value

    async def event(self, type_: str, trip_id: str | None = None, **payload: object) -> dict[str, Any]:
        """The first received event of a type and trip whose payload has these values."""

        def found() -> dict[str, Any] | None:
            for event in self.events:
                if event["type"] == type_ and trip_id in (None, event["tripId"]):
                    body = event["payload"] or {}
                    if all(body.get(name) == value for name, value in payload.items()):
                        return event
            return None

        event = await self.until(found)
        assert event is not None
        return event

    async def answer(self, frame: object) -> dict[str, Any]:
        """The server's reply to a frame; events in between are recorded and skipped."""
        before = len(self.frames)
        await self.send(frame)
        return await self.until(lambda: next((f for f in self.frames[before:] if f["type"] != "event"), {}))

    async def catch_up(self) -> None:
        """Wait for every frame that was queued for this socket before now.

        The machine host has one queue per socket, so all earlier frames precede the reply to a question.
        """
        assert (await self.answer({"type": "subscribe"}))["type"] == "error"

    async def closed(self) -> int:
        """Wait for the close and return its code."""
        await self.until(lambda: not self.open)
        assert self.close_code is not None
        return self.close_code

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None and self._reader is not None:
            await self._connection.close()
            await self._reader

    def drop_network(self) -> None:
        """Abort the connection without a close frame, as a phone does that loses its network."""
        assert self._connection is not None
        self._connection.transport.abort()

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for message in connection:
                self.frames.append(json.loads(message))
                self._news.set()
        except ConnectionClosed:
            pass
        finally:
            self.close_code = connection.close_code
            asyncio.get_running_loop().call_soon(self._news.set)
