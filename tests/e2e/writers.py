"""Users who write without pause and users who listen, and a ledger of the replies."""

import asyncio
import random
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.exceptions import WebSocketException

from tests.e2e.client import NEW_TRIP, Socket, User

# A user taps the button again this often after the app gave up.
ATTEMPTS = 3
TRIPS = 3
PAUSE_S = 0.01
# Longer than any socket stays without a frame, and than any wait here.
QUIET_S = 180.0

Key = tuple[str, ...]


@dataclass
class Ledger:
    """Every acknowledged write as it was acknowledged, and the events expected by user id."""

    trips: dict[str, dict[str, Any]] = field(default_factory=dict)
    todos: dict[str, dict[str, Any]] = field(default_factory=dict)
    invitations: dict[str, dict[str, Any]] = field(default_factory=dict)
    memberships: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    # To-dos whose last change was sent without a reply.
    unconfirmed: set[str] = field(default_factory=set)
    expected: list[tuple[str, Key]] = field(default_factory=list)
    writes: int = 0
    unacknowledged: int = 0


class Writer:
    """One user who writes until stopped, with an Idempotency-Key on every second write."""

    def __init__(self, user: User, crew: list[User], ledger: Ledger, rng: random.Random) -> None:
        self._user = user
        self._others = [other for other in crew if other is not user]
        self._ledger = ledger
        self._random = rng
        self._trips: list[str] = []
        self._open: list[dict[str, Any]] = []
        self._uninvited: dict[str, list[User]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not self._trips:
                await self._create_trip()
                continue
            acts = (self._create_todo, self._complete_todo, self._add_guest, self._create_trip)
            [act] = self._random.choices(acts, weights=(60, 25, 10, 5))
            await act()
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))

    async def _create_trip(self) -> None:
        if len(self._trips) == TRIPS:
            return
        trip = await self._write(self._user, "POST", "/v1/trips", NEW_TRIP | {"name": secrets.token_hex(8)})
        if trip is not None:
            self._trips.append(trip["id"])
            self._uninvited[trip["id"]] = list(self._others)
            self._ledger.trips[trip["id"]] = trip
            self._expect(self._user, "TRIP_CREATED", trip["id"])

    async def _create_todo(self) -> None:
        trip_id = self._random.choice(self._trips)
        body = {"text": secrets.token_hex(8)}
        todo = await self._write(self._user, "POST", f"/v1/trips/{trip_id}/todos", body)
        if todo is not None:
            self._open.append(todo)
            self._ledger.todos[todo["id"]] = todo
            self._expect(self._user, "TODO_CREATED", todo["id"])

    async def _complete_todo(self) -> None:
        if not self._open:
            return
        todo = self._open.pop(self._random.randrange(len(self._open)))
        path = f"/v1/trips/{todo['tripId']}/todos/{todo['id']}"
        ticked = await self._write(self._user, "PUT", path, {"status": "COMPLETE"})
        if ticked is None:
            self._ledger.unconfirmed.add(todo["id"])
            return
        assert ticked["status"] == "COMPLETE"
        self._ledger.todos[todo["id"]] = ticked
        self._expect(self._user, "TODO_UPDATED", todo["id"])

    async def _add_guest(self) -> None:
        """Invite a user, who accepts at once."""
        trip_id = self._random.choice(self._trips)
        if not self._uninvited[trip_id]:
            return
        guest = self._uninvited[trip_id].pop()
        body = {"email": guest.email, "role": "MEMBER"}
        invitation = await self._write(self._user, "POST", f"/v1/trips/{trip_id}/invitations", body)
        if invitation is None:
            return
        self._ledger.invitations[invitation["id"]] = invitation
        self._expect(self._user, "TRIP_INVITATION_CREATED", invitation["id"])
        joined = await self._write(guest, "POST", f"/v1/invitations/{invitation['id']}/accept")
        if joined is not None:
            self._ledger.accepted.add(invitation["id"])
            self._ledger.memberships[joined["id"]] = joined
            for user in (self._user, guest):
                self._expect(user, "MEMBER_ADDED", trip_id, guest.id)

    def _expect(self, user: User, *key: str) -> None:
        self._ledger.expected.append((user.id, key))

    async def _write(self, by: User, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """The acknowledged reply; None if no attempt was acknowledged, even if it was carried out."""
        keyed = {"idempotency-key": str(uuid.UUID(int=self._random.getrandbits(128)))}
        headers = keyed if self._random.random() < 0.5 else {}
        for _ in range(ATTEMPTS):
            try:
                reply = await by.send(method, path, body, **headers)
            except httpx.TransportError:
                continue
            if reply.is_success:
                self._ledger.writes += 1
                return dict(reply.json())
            assert reply.status_code == 503, (method, path, reply.status_code, reply.text)
            assert int(reply.headers["retry-after"]) > 0
        self._ledger.unacknowledged += 1
        return None


class Listener:
    """A user's socket that reconnects: first it connects, then it asks for the events after the last one."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.received: set[Key] = set()
        self._seen: set[str] = set()
        self._cursor: str | None = None
        self._socket = Socket(user.api.sockets, user.token)
        self._frames_read = 0
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            try:
                await self._socket.connect()
                await self._catch_up()
                while self._socket.open:
                    await self._socket.until(
                        lambda: len(self._socket.frames) > self._frames_read or not self._socket.open,
                        within_s=QUIET_S,
                    )
                    self._read_new_frames()
            except (OSError, EOFError, WebSocketException, httpx.TransportError, DatabaseDown):
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self._stopped = True
        await self._socket.close()

    @staticmethod
    def key_of(event: dict[str, Any]) -> Key | None:
        """The identity of an event, for the types that a ledger knows."""
        type_, payload = event["type"], event["payload"]
        match type_:
            case "TRIP_CREATED":
                return (type_, event["tripId"])
            case "TODO_CREATED" | "TODO_UPDATED":
                return (type_, payload["id"])
            case "TRIP_INVITATION_CREATED":
                return (type_, payload["invitation_id"])
            case "MEMBER_ADDED":
                return (type_, event["tripId"], payload["userId"])
            case "CHAT_MESSAGE_SENT":
                return (type_, payload["messageId"])
        return None

    async def _catch_up(self) -> None:
        """Read pages until none is left. Frames received meanwhile move the cursor only afterwards."""
        more = True
        while more:
            after = f"?after={self._cursor}" if self._cursor else ""
            reply = await self.user.send("GET", f"/v1/events{after}")
            if reply.status_code == 503:
                raise DatabaseDown
            assert reply.status_code == 200, (self._cursor, reply.text)
            page = reply.json()
            for event in page["events"]:
                self._record(event)
            self._cursor, more = page["next"], page["has_more"]
        self._read_new_frames()

    def _read_new_frames(self) -> None:
        """Read the frames that have arrived."""
        for frame in self._socket.frames[self._frames_read :]:
            self._read(frame)
        self._frames_read = len(self._socket.frames)

    def _read(self, frame: dict[str, Any]) -> None:
        if frame["type"] != "event" or not self._record(frame["payload"]):
            return
        if frame["payload"].get("kept", True):
            self._cursor = frame["payload"]["id"]

    def _record(self, event: dict[str, Any]) -> bool:
        """Record an event; False if it is known already."""
        if event["id"] in self._seen:
            return False
        self._seen.add(event["id"])
        key = self.key_of(event)
        if key is not None:
            self.received.add(key)
        return True


class DatabaseDown(Exception):
    """Events cannot be read while the database is down."""
