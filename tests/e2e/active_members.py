"""Members of one trip who chat and report positions, from phones that lose their network and send twice."""

import asyncio
import contextlib
import random
import secrets
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from websockets.exceptions import WebSocketException

from tests.e2e.client import User, eventually
from tests.e2e.writers import ATTEMPTS, DatabaseDown, Listener

# The API's largest page.
PAGE = 100
PAUSE_S = 0.02
# Probability that a phone loses its network after an action.
DROP_PROBABILITY = 0.04
# About a centimetre, so that no pace exceeds the accepted speed.
STEP_DEG = 1e-7
# The phones' clocks: a time ahead of the server's would be stored as the server's.
BEHIND_MS = 300
BATCH = 4
# A track is read in pieces short enough to stay unthinned.
PIECE = 400
SETTLED_S = 15.0

Position = tuple[float, float]


@dataclass
class Journal:
    """The actions of a trip's members, and which of them were acknowledged."""

    trip_id: str
    first_message_id: str
    # Every sent message, and the ids of the acknowledged ones.
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    # By user and millisecond: every sent position, and the times of the acknowledged ones.
    positions: dict[str, dict[int, Position]] = field(default_factory=dict)
    reported: dict[str, set[int]] = field(default_factory=dict)

    @property
    def messages_path(self) -> str:
        return f"/v1/trips/{self.trip_id}/chat/messages"

    @property
    def locations_path(self) -> str:
        return f"/v1/trips/{self.trip_id}/locations"

    @property
    def writes(self) -> int:
        return len(self.acknowledged) + sum(map(len, self.reported.values()))


async def start_trip(crew: list[User]) -> Journal:
    """Create a trip of these users with a first message."""
    first, *others = crew
    trip_id = await first.new_trip()
    for other in others:
        await first.add_member(trip_id, other)
    first_message = await first.ask("POST", f"/v1/trips/{trip_id}/chat/messages", {"message": "off we go"})
    journal = Journal(trip_id, first_message["id"], {first_message["id"]: "off we go"}, {first_message["id"]})
    for user in crew:
        journal.positions[user.id], journal.reported[user.id] = {}, set()
    # By their clocks, too, the phones report after their users have joined.
    await asyncio.sleep(BEHIND_MS / 1000)
    return journal


class Phone(Listener):
    """A listener that also stores the chat as an app does: live messages, and after a loss those of `after=`."""

    def __init__(self, user: User, journal: Journal) -> None:
        super().__init__(user)
        self._journal = journal
        self.chat: dict[str, str] = {journal.first_message_id: journal.sent[journal.first_message_id]}
        # Received positions of others: user id, time, position.
        self.positions_received: list[tuple[str, int, Position]] = []
        self._last = journal.first_message_id

    async def send(self, frame: dict[str, Any]) -> bool:
        """Send a frame if connected; True says nothing about its arrival."""
        if not self._socket.open:
            return False
        try:
            await self._socket.send(frame)
        except (OSError, WebSocketException):
            return False
        return True

    def drop_network(self) -> None:
        """Abort the connection."""
        if self._socket.open:
            self._socket.drop_network()

    async def _catch_up(self) -> None:
        cursor: str | None = self._last
        while cursor is not None:
            reply = await self.user.send("GET", f"{self._journal.messages_path}?after={cursor}&limit={PAGE}")
            if reply.status_code == 503:
                raise DatabaseDown
            assert reply.status_code == 200, reply.text
            page = reply.json()
            for message in page["messages"]:
                self._store(message["id"], message["content"])
            cursor = page["pagination"].get("next_cursor")
        await super()._catch_up()

    def _read(self, frame: dict[str, Any]) -> None:
        super()._read(frame)
        if frame["type"] == "ack":
            self._journal.acknowledged.add(frame["payload"]["messageId"])
        elif frame["type"] == "locationUpdated":
            # Answers come in no fixed order; the timestamp identifies a position.
            self._journal.reported[self.user.id].add(frame["payload"]["timestamp"])
        elif frame["type"] == "event" and frame["payload"]["tripId"] == self._journal.trip_id:
            self._on_event(frame["payload"]["type"], frame["payload"]["payload"])

    def _on_event(self, type_: str, payload: dict[str, Any]) -> None:
        if type_ == "CHAT_MESSAGE_SENT":
            self._store(payload["messageId"], payload["message"]["content"])
        elif type_ == "LOCATION_UPDATED":
            at = payload["location"]
            self.positions_received.append((payload["userId"], at["timestamp"], (at["latitude"], at["longitude"])))

    def _store(self, message_id: str, content: str) -> None:
        assert self.chat.setdefault(message_id, content) == content, f"message {message_id} changed"
        self._last = message_id


class ActiveMember:
    """One member who chats and walks until stopped."""

    def __init__(self, phone: Phone, journal: Journal, number: int, rng: random.Random) -> None:
        self._user = phone.user
        self._phone = phone
        self._journal = journal
        self._random = rng
        self._longitude = -8.6 - number / 1000
        self._steps = 0
        self._clock_ms = 0

    async def run(self, stop: asyncio.Event) -> None:
        acts = (self._send_message, self._report_position, self._report_batch)
        while not stop.is_set():
            [act] = self._random.choices(acts, weights=(50, 40, 10))
            await act()
            if self._random.random() < DROP_PROBABILITY:
                self._phone.drop_network()
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))

    async def _send_message(self) -> None:
        """Send a message by socket, by request, or by both, as an app does without an answer."""
        message_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        text = secrets.token_hex(8)
        self._journal.sent[message_id] = text
        payload = {"tripId": self._journal.trip_id, "content": text, "messageId": message_id}
        frames = ({"type": "CHAT_MESSAGE_SEND", "payload": payload}, {"action": "sendMessage"} | payload)
        way = self._random.choice(("socket", "request", "both", "twice"))
        by_socket = way != "request" and await self._phone.send(self._random.choice(frames))
        if way == "socket" and by_socket:
            return
        body = {"message": text, "id": message_id}
        for _ in range(2 if way == "twice" else 1):
            reply = await self._post(self._journal.messages_path, body)
            if reply is not None:
                assert reply["id"] == message_id
                self._journal.acknowledged.add(message_id)

    async def _report_position(self) -> None:
        """Report one position by socket, by request, or by both."""
        at_ms, body = self._step()
        way = self._random.choice(("socket", "request", "both"))
        frame = {"action": "updateLocation", "tripId": self._journal.trip_id} | body
        if way != "request" and await self._phone.send(frame) and way == "socket":
            return
        if await self._post(self._journal.locations_path, body) is not None:
            self._journal.reported[self._user.id].add(at_ms)

    async def _report_batch(self) -> None:
        """Report a shuffled batch of positions, as a phone does after it was offline."""
        steps = [self._step() for _ in range(BATCH)]
        self._random.shuffle(steps)
        reply = await self._post(
            f"{self._journal.locations_path}:batch", {"locations": [body for _, body in steps]}
        )
        if reply is not None:
            for (at_ms, _), one in zip(steps, reply["results"], strict=True):
                assert one["status"] == "accepted", one
                self._journal.reported[self._user.id].add(at_ms)

    def _step(self) -> tuple[int, dict[str, Any]]:
        """A step northward at a unique millisecond, which is never ahead of the server's clock, even in a burst."""
        self._steps += 1
        self._clock_ms = max(self._clock_ms + 1, time.time_ns() // 1_000_000 - BEHIND_MS)
        position = (round(41.15 + self._steps * STEP_DEG, 7), self._longitude)
        self._journal.positions[self._user.id][self._clock_ms] = position
        return self._clock_ms, {"latitude": position[0], "longitude": position[1], "timestamp": self._clock_ms}

    async def _post(self, path: str, body: object) -> dict[str, Any] | None:
        """The acknowledged reply; None if no attempt was acknowledged, even if it was carried out."""
        for _ in range(ATTEMPTS):
            try:
                reply = await self._user.send("POST", path, body)
            except httpx.TransportError:
                continue
            if reply.is_success:
                return dict(reply.json())
            assert reply.status_code == 503, (path, reply.status_code, reply.text)
        return None


async def check_phones(phones: list[Phone], journal: Journal) -> tuple[list[str], list[str]]:
    """Lost and duplicated data: phones against server, then server against journal."""
    history: dict[str, str] = {}

    async def all_equal() -> bool:
        # Read anew each time: the last frame of a killed socket may be stored late.
        history.clear()
        history.update(await _history(phones[0].user, journal))
        return all(phone.chat == history and _message_ids(phone) == set(history) for phone in phones)

    with contextlib.suppress(AssertionError):  # the differences are listed below
        await eventually(all_equal, within_s=SETTLED_S)
    lost, duplicates = await check_trip(phones[0].user, journal)
    for phone in phones:
        lost += [f"{one} of the chat did not reach {phone.user.id}" for one in history.keys() - phone.chat.keys()]
        lost += [f"no event of {one} reached {phone.user.id}" for one in history.keys() - _message_ids(phone)]
        duplicates += [
            f"{one} reached {phone.user.id}, and is not in the chat" for one in phone.chat if one not in history
        ]
        duplicates += [
            f"{phone.user.id} received a position that {owner} never sent"
            for owner, at_ms, position in phone.positions_received
            if journal.positions[owner].get(at_ms) != position
        ]
    return lost, duplicates


async def check_trip(by: User, journal: Journal) -> tuple[list[str], list[str]]:
    """Lost and duplicated data as a member sees it, against the journal."""
    messages = await _history(by, journal)
    counts, stored = Counter(id_ for id_, _ in messages), dict(messages)
    lost = [f"message {id_} is not in the chat" for id_ in journal.acknowledged - stored.keys()]
    duplicates = [f"message {id_}: {count} times" for id_, count in counts.items() if count > 1]
    duplicates += [f"message {id_} was never sent" for id_, text in stored.items() if journal.sent.get(id_) != text]
    forward = await _forward(by, journal)
    if forward != [id_ for id_, _ in reversed(messages)]:
        lost.append("the chat differs between forward and backward reading")
    page = await by.ask("GET", journal.locations_path)
    last = {row["user_id"]: _milliseconds(row["timestamp"]) for row in page["locations"]}
    for owner, reported in journal.reported.items():
        track = await _track(by, owner, journal)
        found = dict(track)
        lost += [f"the position of {owner} at {at_ms} is missing" for at_ms in reported - found.keys()]
        if reported and last.get(owner, 0) < max(reported):
            lost.append(f"the last position of {owner}: {last.get(owner)} instead of {max(reported)}")
        duplicates += [
            f"the position of {owner} at {at}: {n} times" for at, n in Counter(a for a, _ in track).items() if n > 1
        ]
        duplicates += [
            f"{owner} never sent the position of {at}"
            for at, position in track
            if journal.positions[owner].get(at) != position
        ]
    return lost, duplicates


async def _history(by: User, journal: Journal) -> list[tuple[str, str]]:
    """The chat, newest first, page by page."""
    found: list[tuple[str, str]] = []
    cursor = ""
    while True:
        page = await by.ask("GET", f"{journal.messages_path}?limit={PAGE}{cursor}")
        found += [(message["id"], message["content"]) for message in page["messages"]]
        if not page["pagination"]["has_more"]:
            return found
        cursor = f"&cursor={page['pagination']['next_cursor']}"


async def _forward(by: User, journal: Journal) -> list[str]:
    """The ids of the chat, oldest first, read forward from the first message."""
    found = [journal.first_message_id]
    cursor: str | None = journal.first_message_id
    while cursor is not None:
        page = await by.ask("GET", f"{journal.messages_path}?limit={PAGE}&after={cursor}")
        found += [message["id"] for message in page["messages"]]
        cursor = page["pagination"].get("next_cursor")
    return found


async def _track(by: User, owner: str, journal: Journal) -> list[tuple[int, Position]]:
    """All positions of a user, read in pieces short enough to stay unthinned."""
    moments = sorted(journal.positions[owner])
    found: list[tuple[int, Position]] = []
    for start in range(0, len(moments), PIECE):
        piece = moments[start : start + PIECE]
        window = f"from={piece[0]}&to={piece[-1] + 1}"
        page = await by.ask("GET", f"{journal.locations_path}/track?user={owner}&{window}&points=1000")
        found += [(_milliseconds(one["timestamp"]), (one["latitude"], one["longitude"])) for one in page["points"]]
    return found


def _message_ids(phone: Phone) -> set[str]:
    """The ids of messages whose events a phone received, by socket or from `GET /v1/events`."""
    return {key[1] for key in phone.received if key[0] == "CHAT_MESSAGE_SENT"}


def _milliseconds(timestamp: int | str) -> int:
    """Milliseconds of a time in either of its two forms."""
    if isinstance(timestamp, int):
        return timestamp
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
