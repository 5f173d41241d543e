"""What the host and its workers say to each other, over a pair of Unix sockets.

Frames of a length and a MessagePack body, in order, in both directions. Whoever is at the other end is a process of
this very program, so nothing here checks what it says.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID

import msgspec
from msgspec import Struct

log = logging.getLogger("nomadcrew.workers")

# An end that leaves this much unread has stopped working.
MAX_WAITING_BYTES = 64 * 2**20
ASK_TIMEOUT_S = 5.0


class Message(Struct, tag=True, array_like=True):
    """A frame's body; identifiers travel as their sixteen bytes, several of them one after the other."""


# From the host to a worker.


class Start(Message):
    """The first thing a worker is told: where the database is, and where people reach this server."""

    connect: dict[str, Any]
    address: str
    pool_size: int


class Deliver(Message):
    """Send an encoded frame to the sockets of these people; `shows` is whose position on the trip it shows."""

    frame: str
    people: bytes
    trip_id: bytes | None
    shows: bytes | None


class Online(Message):
    """These people have come, or have gone, anywhere on this host."""

    people: bytes
    here: bool


class Drain(Message):
    """Stop in good order."""


# From a worker to the host.


class Ready(Message):
    """Requests are answered from here on."""


class Written(Message):
    """Something was committed that may have events."""


class Told(Message):
    """An event that is told live, packed: what it is the latest of, or to whom by name it is told."""

    event: str
    latest_of: str | None
    people: bytes | None = None


class Person(Message):
    """Somebody's first socket in a worker was opened, or the last one closed."""

    user_id: bytes
    here: bool


class Working(Message):
    """A sign of life, every few seconds."""


# In both directions.


class SessionEnded(Message):
    session_id: bytes


class Spent(Message):
    """What one worker has allowed of rate limits: bucket, key, cost."""

    spent: list[tuple[str, str, int]]


class Question(Message):
    """Wants an `Answer` of the same number."""

    number: int
    about: "Take | Pulses | Metrics"


class Take(Message):
    """Spend from a rate limit; the answer is an allowance's fields."""

    bucket: str
    key: str
    cost: int


class Pulses(Message):
    """How long the host's loops have been silent, by name, in seconds."""


class Metrics(Message):
    """Everything counted, in Prometheus' text format: by one worker, or by all when a worker asks."""


class Answer(Message):
    number: int
    value: Any


_TO_WORKERS = Start | Deliver | Online | Drain
_TO_THE_HOST = Ready | Written | Told | Person | Working
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_TO_WORKERS | _TO_THE_HOST | SessionEnded | Spent | Question | Answer).decode


def ids_in(several: bytes) -> list[UUID]:
    """The ids that a message holds one after the other."""
    return [UUID(bytes=several[at : at + 16]) for at in range(0, len(several), 16)]


class Lost(Exception):
    """The other end is gone."""


class Channel(asyncio.Protocol):
    """One end. `on_message` gets what is no answer; `answer` is asked what the other end wants to know."""

    def __init__(
        self,
        on_message: Callable[[Message], None],
        answer: Callable[[Message], Awaitable[Any]],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_message = on_message
        self._answer = answer
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._read = bytearray()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def waiting_bytes(self) -> int:
        """What the other end has not read yet, beyond what the kernel holds."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, message: Message) -> None:
        """Send, or nothing where the other end is gone."""
        if self._transport is None or self._transport.is_closing():
            return
        body = _encode(message)
        self._transport.write(len(body).to_bytes(4, "big") + body)

    async def ask(self, about: "Take | Pulses | Metrics") -> Any:
        """The answer to a question.

        Raises:
            Lost: there is nobody to answer, or not in time.
        """
        if self._transport is None or self._transport.is_closing():
            raise Lost
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        self.send(Question(number, about))
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise Lost from None
        finally:
            del self._asked[number]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        at = 0
        while len(self._read) - at >= 4:
            end = at + 4 + int.from_bytes(self._read[at : at + 4], "big")
            if len(self._read) < end:
                break
            message = _decode(self._read[at + 4 : end])
            at = end
            self._take(message)
        del self._read[:at]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — the base class's form
        self._transport = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Lost())
        self._on_lost()

    def _take(self, message: Message) -> None:
        if isinstance(message, Answer):
            answer = self._asked.get(message.number)
            if answer is not None and not answer.done():
                answer.set_result(message.value)
        elif isinstance(message, Question):
            task = asyncio.create_task(self._reply(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            self._on_message(message)

    async def _reply(self, question: Question) -> None:
        try:
            self.send(Answer(question.number, await self._answer(question.about)))
        except Exception:
            log.exception("a question could not be answered")
