"""Work queues: durable jobs that survive crashes, and their retry policies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.ids import JobId


class RetryPolicy(Struct, frozen=True):
    """A retry policy: the number of attempts, the first delay, the factor by which delays grow, and their limit."""

    attempts: int
    first_delay_s: int
    factor: int
    max_delay_s: int = 600


MAX_ATTEMPTS = 8
DEFAULT_RETRY = RetryPolicy(MAX_ATTEMPTS, 2, 2)
# Five attempts, as in the AWS design, with delays that outlast an outage of some minutes.
RETRY_POLICIES: Mapping[str, RetryPolicy] = {
    "notifications": RetryPolicy(5, 5, 4),
    "push": RetryPolicy(5, 5, 4),
    "backgrounds": RetryPolicy(4, 15, 5),
    # Some 26 hours: 5 s, 20 s, 80 s … and from the eighth on six hours, in which SQS can hide a message.
    "webhooks": RetryPolicy(11, 5, 4, 6 * 3600),
}
MAX_REASON = 500  # characters
NO_ANSWER = "no answer in time"  # the reason of a dead job whose consumer crashed or hung


@dataclass(frozen=True, slots=True)
class Job:
    """One delivery of a message. `body` is JSON text; `attempt` counts from 1; `receipt` is opaque."""

    id: JobId
    queue: str
    body: str
    attempt: int
    enqueued_at: datetime
    receipt: str = field(default="", compare=False, repr=False)


class QueueDepth(Struct, frozen=True):
    """Approximate numbers of jobs in a queue. `oldest_s` is 0 if the queue does not report it."""

    queue: str
    waiting: int
    in_flight: int
    dead: int
    oldest_s: float


def retry_policy(queue: str) -> RetryPolicy:
    """The retry policy of a queue, by its name or by an ARN that ends in it."""
    return RETRY_POLICIES.get(queue.rpartition(":")[2].removesuffix(".fifo").rpartition("-")[2], DEFAULT_RETRY)


def backoff_s(attempt: int, queue: str = "") -> int:
    """Seconds until the next attempt: 2, 4, 8 … in most queues, up to the limit of the policy."""
    policy = retry_policy(queue)
    return min(policy.max_delay_s, policy.first_delay_s * int(policy.factor ** (min(attempt, 10) - 1)))


class WorkQueue(Protocol):
    """At-least-once delivery with SQS's semantics, oldest first in queues that preserve order.

    A received job is invisible for `visibility_s`, and is delivered again unless acknowledged by then. After the
    attempts of its retry policy it goes to the dead letters, where it can be listed and redriven.
    """

    async def send(
        self, queue: str, body: str, *, job_id: JobId | None = None, group: str | None = None, delay_s: int = 0
    ) -> None:
        """Enqueue a message.

        Args:
            job_id: makes a repeat of this call harmless, in queues that deduplicate.
            group: jobs of one group are delivered one after another, in queues that preserve order.
            delay_s: delays the first delivery; not in queues that preserve order.
        """
        ...

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]: ...

    async def ack(self, job: Job) -> None:
        """Delete the job, unless it was delivered to another consumer since."""
        ...

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        """Retry the job after `backoff_s`. After its last attempt, or if `final`, move it to the dead letters.

        Does nothing if the job was delivered to another consumer since.
        """
        ...

    async def depths(self) -> Sequence[QueueDepth]: ...

    async def dead(self, queue: str | None, *, limit: int) -> Sequence[tuple[Job, str]]:
        """Dead jobs, newest first, each with the reason of its last failure.

        Queues that are read by receiving hide the listed jobs from other readers for a while.
        """
        ...

    async def redrive(self, queue: str, job_id: JobId | None = None) -> int:
        """Retry one dead job, or all of the queue, with new attempts. Returns their number."""
        ...
