"""People who write without pause and people who listen, and what they were promised."""

import asyncio
import random
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.exceptions import WebSocketException

from tests.e2e.client import NEW_TRIP, Person, Socket

# Somebody whose app gave up presses the button again, this often.
PRESSES = 3
TRIPS = 3
PAUSE_S = 0.01
# Longer than a socket is left without a frame, and than anything here is waited for.
QUIET_S = 180.0

Key = tuple[str, ...]


@dataclass
class Ledger:
    """Every acknowledged write, as it was acknowledged, and the events it owes to whom."""

    trips: dict[str, dict[str, Any]] = field(default_factory=dict)
    todos: dict[str, dict[str, Any]] = field(default_factory=dict)
    invitations: dict[str, dict[str, Any]] = field(default_factory=dict)
    memberships: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    # To-dos whose last change was sent and never acknowledged.
    doubtful: set[str] = field(default_factory=set)
    owed: list[tuple[str, Key]] = field(default_factory=list)
    writes: int = 0
    unacknowledged: int = 0


class Writer:
    """One person who writes until told to stop, with an Idempotency-Key on every other write."""

    def __init__(self, me: Person, crew: list[Person], ledger: Ledger, chance: random.Random) -> None:
        self._me = me
        self._others = [person for person in crew if person is not me]
        self._ledger = ledger
        self._random = chance
        self._trips: list[str] = []
        self._open: list[dict[str, Any]] = []
        self._uninvited: dict[str, list[Person]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not self._trips:
                await self._trip()
                continue
            acts = (self._todo, self._tick, self._guest, self._trip)
            [act] = self._random.choices(acts, weights=(60, 25, 10, 5))
            await act()
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))

    async def _trip(self) -> None:
        if len(self._trips) == TRIPS:
            return
        trip = await self._write(self._me, "POST", "/v1/trips", NEW_TRIP | {"name": secrets.token_hex(8)})
        if trip is not None:
            self._trips.append(trip["id"])
            self._uninvited[trip["id"]] = list(self._others)
            self._ledger.trips[trip["id"]] = trip
            self._owe(self._me, "TRIP_CREATED", trip["id"])

    async def _todo(self) -> None:
        trip_id = self._random.choice(self._trips)
        body = {"text": secrets.token_hex(8)}
        todo = await self._write(self._me, "POST", f"/v1/trips/{trip_id}/todos", body)
        if todo is not None:
            self._open.append(todo)
            self._ledger.todos[todo["id"]] = todo
            self._owe(self._me, "TODO_CREATED", todo["id"])

    async def _tick(self) -> None:
        if not self._open:
            return
        todo = self._open.pop(self._random.randrange(len(self._open)))
        path = f"/v1/trips/{todo['tripId']}/todos/{todo['id']}"
        ticked = await self._write(self._me, "PUT", path, {"status": "COMPLETE"})
        if ticked is None:
            self._ledger.doubtful.add(todo["id"])
            return
        assert ticked["status"] == "COMPLETE"
        self._ledger.todos[todo["id"]] = ticked
        self._owe(self._me, "TODO_UPDATED", todo["id"])

    async def _guest(self) -> None:
        """Invite somebody, who accepts at once."""
        trip_id = self._random.choice(self._trips)
        if not self._uninvited[trip_id]:
            return
        guest = self._uninvited[trip_id].pop()
        body = {"email": guest.email, "role": "MEMBER"}
        invitation = await self._write(self._me, "POST", f"/v1/trips/{trip_id}/invitations", body)
        if invitation is None:
            return
        self._ledger.invitations[invitation["id"]] = invitation
        self._owe(self._me, "TRIP_INVITATION_CREATED", invitation["id"])
        joined = await self._write(guest, "POST", f"/v1/invitations/{invitation['id']}/accept")
        if joined is not None:
            self._ledger.accepted.add(invitation["id"])
            self._ledger.memberships[joined["id"]] = joined
            for person in (self._me, guest):
                self._owe(person, "MEMBER_ADDED", trip_id, guest.id)

    def _owe(self, person: Person, *key: str) -> None:
        self._ledger.owed.append((person.id, key))

    async def _write(self, by: Person, method: str, path: str, body: object = None) -> dict[str, Any] | None:
        """What the server acknowledged; None if it never did, whatever it did."""
        keyed = {"idempotency-key": str(uuid.UUID(int=self._random.getrandbits(128)))}
        headers = keyed if self._random.random() < 0.5 else {}
        for _ in range(PRESSES):
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
    """A person's socket, kept open: after a loss it connects first, then asks for what followed the last event."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.heard: set[Key] = set()
        self._seen: set[str] = set()
        self._cursor: str | None = None
        self._socket = Socket(person.api.sockets, person.token)
        self._taken = 0
        self._stopped = False

    async def run(self) -> None:
        while not self._stopped:
            try:
                await self._socket.connect()
                await self._catch_up()
                while self._socket.open:
                    await self._socket.until(
                        lambda: len(self._socket.frames) > self._taken or not self._socket.open, within_s=QUIET_S
                    )
                    self._take()
            except (OSError, EOFError, WebSocketException, httpx.TransportError, NotNow):
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self._stopped = True
        await self._socket.close()

    @staticmethod
    def key_of(event: dict[str, Any]) -> Key | None:
        """What an event is about, for those a ledger knows."""
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
        """Ask until nothing is left. What the socket brings meanwhile moves the place to ask from only then."""
        more = True
        while more:
            after = f"?after={self._cursor}" if self._cursor else ""
            reply = await self.person.send("GET", f"/v1/events{after}")
            if reply.status_code == 503:
                raise NotNow
            assert reply.status_code == 200, (self._cursor, reply.text)
            page = reply.json()
            for event in page["events"]:
                self._hear(event)
            self._cursor, more = page["next"], page["has_more"]
        self._take()

    def _take(self) -> None:
        """Read the frames that have arrived."""
        for frame in self._socket.frames[self._taken :]:
            self._read(frame)
        self._taken = len(self._socket.frames)

    def _read(self, frame: dict[str, Any]) -> None:
        if frame["type"] != "event" or not self._hear(frame["payload"]):
            return
        if frame["payload"].get("kept", True):
            self._cursor = frame["payload"]["id"]

    def _hear(self, event: dict[str, Any]) -> bool:
        """Note an event; False if it is known already."""
        if event["id"] in self._seen:
            return False
        self._seen.add(event["id"])
        key = self.key_of(event)
        if key is not None:
            self.heard.add(key)
        return True


class NotNow(Exception):
    """The record cannot be asked while the database is away."""
