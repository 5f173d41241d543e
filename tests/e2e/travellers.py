"""People on one trip who chat and report where they are, from phones that lose their network and send twice."""

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

from tests.e2e.client import Person, eventually
from tests.e2e.writers import PRESSES, Listener, NotNow

# A page as large as the API gives.
PAGE = 100
PAUSE_S = 0.02
# So often a phone loses its network after something it did.
VANISHES = 0.04
# About a centimetre: whatever the pace, nobody is faster than people are.
STEP_DEG = 1e-7
BATCH = 4
# A track is asked for in pieces that are not thinned.
PIECE = 400
SETTLED_S = 15.0

Place = tuple[float, float]


@dataclass
class Diary:
    """What the people of one trip did, and which of it was acknowledged."""

    trip_id: str
    first_message_id: str
    # Every message that was sent, and those the server said it has.
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    # By person, by the millisecond: every position that was sent, and those the server said it has.
    places: dict[str, dict[int, Place]] = field(default_factory=dict)
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


async def setting_out(crew: list[Person]) -> Diary:
    """A trip with all of these people, on which something was said and everybody is somewhere."""
    first, *others = crew
    trip_id = await first.new_trip()
    for other in others:
        await first.bring(trip_id, other)
    said = await first.ask("POST", f"/v1/trips/{trip_id}/chat/messages", {"message": "off we go"})
    diary = Diary(trip_id, said["id"], {said["id"]: "off we go"}, {said["id"]})
    for person in crew:
        diary.places[person.id], diary.reported[person.id] = {}, set()
    return diary


class Phone(Listener):
    """A listener that also keeps the chat as an app does: what it hears, and after each loss what came `after=`."""

    def __init__(self, person: Person, diary: Diary) -> None:
        super().__init__(person)
        self._diary = diary
        self.chat: dict[str, str] = {diary.first_message_id: diary.sent[diary.first_message_id]}
        # Positions of others, as they were heard: whose, when, where.
        self.seen: list[tuple[str, int, Place]] = []
        self._last = diary.first_message_id

    async def send(self, frame: dict[str, Any]) -> bool:
        """Send a frame if there is a network; whether it arrives is another question."""
        if not self._socket.open:
            return False
        try:
            await self._socket.send(frame)
        except (OSError, WebSocketException):
            return False
        return True

    def vanish(self) -> None:
        """Lose the network."""
        if self._socket.open:
            self._socket.vanish()

    async def _catch_up(self) -> None:
        cursor: str | None = self._last
        while cursor is not None:
            reply = await self.person.send("GET", f"{self._diary.messages_path}?after={cursor}&limit={PAGE}")
            if reply.status_code == 503:
                raise NotNow
            assert reply.status_code == 200, reply.text
            page = reply.json()
            for message in page["messages"]:
                self._note(message["id"], message["content"])
            cursor = page["pagination"].get("next_cursor")
        await super()._catch_up()

    def _read(self, frame: dict[str, Any]) -> None:
        super()._read(frame)
        if frame["type"] == "ack":
            self._diary.acknowledged.add(frame["payload"]["messageId"])
        elif frame["type"] == "locationUpdated":
            # On the order of answers nothing can be built: a point is known by its time.
            self._diary.reported[self.person.id].add(frame["payload"]["timestamp"])
        elif frame["type"] == "event" and frame["payload"]["tripId"] == self._diary.trip_id:
            self._heard(frame["payload"]["type"], frame["payload"]["payload"])

    def _heard(self, type_: str, payload: dict[str, Any]) -> None:
        if type_ == "CHAT_MESSAGE_SENT":
            self._note(payload["messageId"], payload["message"]["content"])
        elif type_ == "LOCATION_UPDATED":
            at = payload["location"]
            self.seen.append((payload["userId"], at["timestamp"], (at["latitude"], at["longitude"])))

    def _note(self, message_id: str, content: str) -> None:
        assert self.chat.setdefault(message_id, content) == content, f"message {message_id} changed"
        self._last = message_id


class Traveller:
    """One person who talks and walks until told to stop."""

    def __init__(self, phone: Phone, diary: Diary, number: int, chance: random.Random) -> None:
        self._me = phone.person
        self._phone = phone
        self._diary = diary
        self._random = chance
        self._longitude = -8.6 - number / 1000
        self._steps = 0
        self._clock_ms = 0

    async def run(self, stop: asyncio.Event) -> None:
        acts = (self._say, self._walk, self._collect)
        while not stop.is_set():
            [act] = self._random.choices(acts, weights=(50, 40, 10))
            await act()
            if self._random.random() < VANISHES:
                self._phone.vanish()
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))

    async def _say(self) -> None:
        """Say something by the socket, by a request, or the same by both, as an app does that was not answered."""
        message_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        text = secrets.token_hex(8)
        self._diary.sent[message_id] = text
        said = {"tripId": self._diary.trip_id, "content": text, "messageId": message_id}
        frames = ({"type": "CHAT_MESSAGE_SEND", "payload": said}, {"action": "sendMessage"} | said)
        way = self._random.choice(("socket", "request", "both", "twice"))
        by_socket = way != "request" and await self._phone.send(self._random.choice(frames))
        if way == "socket" and by_socket:
            return
        body = {"message": text, "id": message_id}
        for _ in range(2 if way == "twice" else 1):
            reply = await self._post(self._diary.messages_path, body)
            if reply is not None:
                assert reply["id"] == message_id
                self._diary.acknowledged.add(message_id)

    async def _walk(self) -> None:
        """Report one position by the socket, by a request, or by both."""
        at_ms, body = self._step()
        way = self._random.choice(("socket", "request", "both"))
        frame = {"action": "updateLocation", "tripId": self._diary.trip_id} | body
        if way != "request" and await self._phone.send(frame) and way == "socket":
            return
        if await self._post(self._diary.locations_path, body) is not None:
            self._diary.reported[self._me.id].add(at_ms)

    async def _collect(self) -> None:
        """Send some positions at once, in no order, as a phone does that was without a network."""
        steps = [self._step() for _ in range(BATCH)]
        self._random.shuffle(steps)
        reply = await self._post(f"{self._diary.locations_path}:batch", {"locations": [body for _, body in steps]})
        if reply is not None:
            for (at_ms, _), one in zip(steps, reply["results"], strict=True):
                assert one["status"] == "accepted", one
                self._diary.reported[self._me.id].add(at_ms)

    def _step(self) -> tuple[int, dict[str, Any]]:
        """A step northward, at a millisecond of its own."""
        self._steps += 1
        self._clock_ms = max(self._clock_ms + 1, time.time_ns() // 1_000_000)
        place = (round(41.15 + self._steps * STEP_DEG, 7), self._longitude)
        self._diary.places[self._me.id][self._clock_ms] = place
        return self._clock_ms, {"latitude": place[0], "longitude": place[1], "timestamp": self._clock_ms}

    async def _post(self, path: str, body: object) -> dict[str, Any] | None:
        """What the server acknowledged; None if it never did, whatever it did."""
        for _ in range(PRESSES):
            try:
                reply = await self._me.send("POST", path, body)
            except httpx.TransportError:
                continue
            if reply.is_success:
                return dict(reply.json())
            assert reply.status_code == 503, (path, reply.status_code, reply.text)
        return None


async def compare(phones: list[Phone], diary: Diary) -> tuple[list[str], list[str]]:
    """What the phones miss of what the server has, and what they have that it has not; then what it lost."""
    history: dict[str, str] = {}

    async def same() -> bool:
        # Asked again each time: what a killed socket brought last may be stored only now.
        history.clear()
        history.update(await _history(phones[0].person, diary))
        return all(phone.chat == history and _keys(phone) == set(history) for phone in phones)

    with contextlib.suppress(AssertionError):  # what is wrong is said below
        await eventually(same, within_s=SETTLED_S)
    lost, doubled = await account(phones[0].person, diary)
    for phone in phones:
        lost += [f"{one} of the chat did not reach {phone.person.id}" for one in history.keys() - phone.chat.keys()]
        lost += [f"no event of {one} reached {phone.person.id}" for one in history.keys() - _keys(phone)]
        doubled += [
            f"{one} reached {phone.person.id}, and is not in the chat" for one in phone.chat if one not in history
        ]
        doubled += [
            f"{phone.person.id} heard that {owner} was where they were not"
            for owner, at_ms, place in phone.seen
            if diary.places[owner].get(at_ms) != place
        ]
    return lost, doubled


async def account(by: Person, diary: Diary) -> tuple[list[str], list[str]]:
    """What is not as it was acknowledged, and what is there twice or was never sent, as a member sees it."""
    messages = await _history(by, diary)
    counts, kept = Counter(id_ for id_, _ in messages), dict(messages)
    lost = [f"message {id_} is not in the chat" for id_ in diary.acknowledged - kept.keys()]
    doubled = [f"message {id_}: {count} times" for id_, count in counts.items() if count > 1]
    doubled += [f"message {id_} was never sent" for id_, text in kept.items() if diary.sent.get(id_) != text]
    forward = await _forward(by, diary)
    if forward != [id_ for id_, _ in reversed(messages)]:
        lost.append("the chat is another one forwards than backwards")
    page = await by.ask("GET", diary.locations_path)
    last = {row["user_id"]: _moment(row["timestamp"]) for row in page["locations"]}
    for owner, reported in diary.reported.items():
        track = await _track(by, owner, diary)
        found = dict(track)
        lost += [f"the position of {owner} at {at_ms}" for at_ms in reported - found.keys()]
        if reported and last.get(owner, 0) < max(reported):
            lost.append(f"the last position of {owner}: {last.get(owner)} instead of {max(reported)}")
        doubled += [
            f"the position of {owner} at {at}: {n} times" for at, n in Counter(a for a, _ in track).items() if n > 1
        ]
        doubled += [
            f"{owner} never was there at {at}" for at, place in track if diary.places[owner].get(at) != place
        ]
    return lost, doubled


async def _history(by: Person, diary: Diary) -> list[tuple[str, str]]:
    """The chat, newest first, page by page."""
    found: list[tuple[str, str]] = []
    cursor = ""
    while True:
        page = await by.ask("GET", f"{diary.messages_path}?limit={PAGE}{cursor}")
        found += [(message["id"], message["content"]) for message in page["messages"]]
        if not page["pagination"]["has_more"]:
            return found
        cursor = f"&cursor={page['pagination']['next_cursor']}"


async def _forward(by: Person, diary: Diary) -> list[str]:
    """The chat's ids, oldest first, asked for from the first one on."""
    found = [diary.first_message_id]
    cursor: str | None = diary.first_message_id
    while cursor is not None:
        page = await by.ask("GET", f"{diary.messages_path}?limit={PAGE}&after={cursor}")
        found += [message["id"] for message in page["messages"]]
        cursor = page["pagination"].get("next_cursor")
    return found


async def _track(by: Person, owner: str, diary: Diary) -> list[tuple[int, Place]]:
    """Everywhere somebody was, in pieces small enough that none is thinned."""
    moments = sorted(diary.places[owner])
    found: list[tuple[int, Place]] = []
    for start in range(0, len(moments), PIECE):
        piece = moments[start : start + PIECE]
        window = f"from={piece[0]}&to={piece[-1] + 1}"
        page = await by.ask("GET", f"{diary.locations_path}/track?user={owner}&{window}&points=1000")
        found += [(_moment(one["timestamp"]), (one["latitude"], one["longitude"])) for one in page["points"]]
    return found


def _keys(phone: Phone) -> set[str]:
    """The messages whose events a person heard, by socket or on asking for events."""
    return {key[1] for key in phone.heard if key[0] == "CHAT_MESSAGE_SENT"}


def _moment(timestamp: int | str) -> int:
    """Milliseconds, of either form that times have."""
    if isinstance(timestamp, int):
        return timestamp
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
