"""The messages between the host and its workers, over a pair of Unix sockets.

A frame is a length and a MessagePack body; both directions are ordered. The peer is a process of this same program,
so its messages are trusted.
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

# A peer that leaves this much unread is stuck.
MAX_WAITING_BYTES = 64 * 2**20
ASK_TIMEOUT_S = 5.0


class IpcMessage(Struct, tag=True, array_like=True):
    """The body of a frame. An id is 16 bytes; a list of ids is their concatenation."""


# From the host to a worker.


class Start(IpcMessage):
    """The first message to a worker: the database's address and the server's own."""

    connect: dict[str, Any]
    address: str
    pool_size: int


class Deliver(IpcMessage):
    """Send a frame to these users' sockets. `shows`: the user whose position on the trip the frame reveals."""

    frame: str
    people: bytes
    trip_id: bytes | None
    shows: bytes | None


class Online(IpcMessage):
    """These users went online (`here`) or offline, over all of this host's processes."""

    people: bytes
    here: bool


class Drain(IpcMessage):
    """Drain and stop."""


# From a worker to the host.


class Ready(IpcMessage):
    """The worker accepts requests."""


class Committed(IpcMessage):
    """A commit that may have added events to the outbox."""


class Broadcast(IpcMessage):
    """A packed event to broadcast; `latest_of` is its pacing key, `people` its recipients, if they are named."""

    event: str
    latest_of: str | None
    people: bytes | None = None


class UserConnection(IpcMessage):
    """A user's first socket in this worker was opened (`here`), or their last one closed."""

    user_id: bytes
    here: bool


class WorkerHeartbeat(IpcMessage):
    """A heartbeat, every few seconds."""


# In both directions.


class SessionEnded(IpcMessage):
    session_id: bytes


class LimitsUsed(IpcMessage):
    """Rate-limit tokens that one worker has spent: bucket, key, cost."""

    spent: list[tuple[str, str, int]]


class Question(IpcMessage):
    """A query; the reply is an `Answer` with the same number."""

    number: int
    about: "TakeLimit | HeartbeatQuery | MetricsQuery | AwakeQuery"


class TakeLimit(IpcMessage):
    """Spend from a rate limit; the reply is the fields of an `Allowance`."""

    bucket: str
    key: str
    cost: int


class HeartbeatQuery(IpcMessage):
    """Ask for the seconds since the last heartbeat of each of the host's loops, by name."""


class MetricsQuery(IpcMessage):
    """Ask for all metrics in Prometheus' text format: one worker's, or all processes' if a worker asks."""


class AwakeQuery(IpcMessage):
    """Ask a worker which of these users have a socket that gets the trip's events and answers a ping."""

    people: bytes
    trip_id: bytes


class Answer(IpcMessage):
    number: int
    value: Any


_TO_WORKERS = Start | Deliver | Online | Drain
_TO_THE_HOST = Ready | Committed | Broadcast | UserConnection | WorkerHeartbeat
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_TO_WORKERS | _TO_THE_HOST | SessionEnded | LimitsUsed | Question | Answer).decode


def ids_in(packed: bytes) -> list[UUID]:
    """The ids in a concatenation of ids."""
    return [UUID(bytes=packed[at : at + 16]) for at in range(0, len(packed), 16)]


class ConnectionLost(Exception):
    """The connection to the peer is lost, or it did not answer in time."""


class IpcChannel(asyncio.Protocol):
    """One end of the connection. `answer` replies to questions; `on_message` gets all other messages."""

    def __init__(
        self,
        on_message: Callable[[IpcMessage], None],
        answer: Callable[[IpcMessage], Awaitable[Any]],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_message = on_message
        self._answer = answer
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._read = bytearray()
        self._numbers = itertools.count(1)
        self._open_questions: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the peer has not read yet, beyond the kernel's buffer."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, message: IpcMessage) -> None:
        """Send a message; do nothing if the connection is lost."""
        if self._transport is None or self._transport.is_closing():
            return
        body = _encode(message)
        self._transport.write(len(body).to_bytes(4, "big") + body)

    async def ask(self, about: "TakeLimit | HeartbeatQuery | MetricsQuery | AwakeQuery") -> Any:
        """Send a question and return its answer.

        Raises:
            Lost: the connection is lost, or the answer did not arrive in time.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLost
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._open_questions[number] = answer
        self.send(Question(number, about))
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise ConnectionLost from None
        finally:
            del self._open_questions[number]

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
            self._dispatch(message)
        del self._read[:at]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — required by the base class
        self._transport = None
        for answer in self._open_questions.values():
            if not answer.done():
                answer.set_exception(ConnectionLost())
        self._on_lost()

    def _dispatch(self, message: IpcMessage) -> None:
        if isinstance(message, Answer):
            answer = self._open_questions.get(message.number)
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
            log.exception("question not answered")
