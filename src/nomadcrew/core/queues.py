"""Durable work: what must happen after a request, however often the process dies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import JobId

MAX_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery of a message. `body` is JSON text; `attempt` counts from 1."""

    id: JobId
    queue: str
    body: str
    attempt: int
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class QueueDepth:
    queue: str
    waiting: int
    in_flight: int
    dead: int
    oldest_s: float


class Hopeless(Exception):
    """Work that no repeat can save; it is dead at once."""


def backoff_s(attempt: int) -> int:
    """Seconds until the next attempt: 2, 4, 8 … capped at ten minutes."""
    return min(600, 1 << min(attempt, 10))


class WorkQueue(Protocol):
    """At-least-once delivery with SQS's semantics.

    A received job is invisible for `visibility_s`; unless acknowledged by then it is delivered again. After
    `MAX_ATTEMPTS` failed deliveries it is dead: kept, listed, and redriven by hand.
    """

    async def send(self, queue: str, body: str) -> None: ...

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]: ...

    async def ack(self, job: Job) -> None: ...

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        """Give the job back, visible after `backoff_s`; dead if that was its last attempt or `final`."""
        ...

    async def depths(self) -> Sequence[QueueDepth]: ...

    async def dead(self, queue: str | None, *, limit: int) -> Sequence[tuple[Job, str]]:
        """Dead jobs, newest first, each with why its last attempt failed."""
        ...

    async def redrive(self, queue: str, job_id: JobId | None = None) -> int:
        """Send dead jobs round again with fresh attempts; all of the queue or one. Returns how many."""
        ...
