"""Durable work: what must happen after a request, however often the process dies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import JobId


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a job is tried, and how long after each failure: `first_s`, then `factor` times as long."""

    attempts: int
    first_s: int
    factor: int


MAX_ATTEMPTS = 8
USUAL = Patience(MAX_ATTEMPTS, 2, 2)
# Five receives, as the design of AWS has it, with pauses that outlive an outage of minutes all the same.
PATIENCE: Mapping[str, Patience] = {"notifications": Patience(5, 5, 4), "push": Patience(5, 5, 4)}
LONGEST_WAIT_S = 600
MAX_REASON = 500  # characters
NO_ANSWER = "no answer in time"  # why a job is dead whose worker never said


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery of a message. `body` is JSON text; `attempt` counts from 1; `receipt` is the queue's own."""

    id: JobId
    queue: str
    body: str
    attempt: int
    enqueued_at: datetime
    receipt: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """How much a queue holds, about; `oldest_s` is 0 where the queue cannot tell."""

    queue: str
    waiting: int
    in_flight: int
    dead: int
    oldest_s: float


def patience(queue: str) -> Patience:
    """The patience with a queue's jobs, by its name or by an ARN that ends in it."""
    return PATIENCE.get(queue.rpartition(":")[2].removesuffix(".fifo").rpartition("-")[2], USUAL)


def backoff_s(attempt: int, queue: str = "") -> int:
    """Seconds until the next attempt: 2, 4, 8 … in most queues, capped at ten minutes."""
    chosen = patience(queue)
    return min(LONGEST_WAIT_S, chosen.first_s * int(chosen.factor ** (min(attempt, 10) - 1)))


class WorkQueue(Protocol):
    """At-least-once delivery with SQS's semantics, the oldest first as far as the queue keeps an order.

    A received job is invisible for `visibility_s`; unless acknowledged by then it is delivered again. After
    as many failed deliveries as `patience` has it is dead: kept, listed, and redriven by hand.
    """

    async def send(
        self, queue: str, body: str, *, job_id: JobId | None = None, group: str | None = None, delay_s: int = 0
    ) -> None:
        """Have `body` delivered.

        Args:
            job_id: what makes a repeat of this call harmless, in queues that look for it.
            group: jobs of one group come one after another, in queues that keep an order.
            delay_s: how long it stays invisible at first; not in queues that keep an order.
        """
        ...

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]: ...

    async def ack(self, job: Job) -> None:
        """Have the job never come again; nothing if it was delivered to somebody else since."""
        ...

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        """Give the job back, visible after `backoff_s`; dead if that was its last attempt or `final`.

        Nothing if it was delivered to somebody else since.
        """
        ...

    async def depths(self) -> Sequence[QueueDepth]: ...

    async def dead(self, queue: str | None, *, limit: int) -> Sequence[tuple[Job, str]]:
        """Dead jobs, newest first, each with why its last attempt failed.

        A queue that can only be read by receiving shows them to nobody else meanwhile.
        """
        ...

    async def redrive(self, queue: str, job_id: JobId | None = None) -> int:
        """Send dead jobs round again with fresh attempts; all of the queue or one. Returns how many."""
        ...
