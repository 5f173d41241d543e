"""The work queue on SQS, standard and FIFO.

Permanently failed jobs are moved to the dead-letter queue by this adapter, with the reason, which SQS's redrive
policy cannot add; that policy is for jobs whose consumers crash. The dead-letter queue of `work` is `work-dead`.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.ids import JobId, NewId
from nomadcrew.core.queues import MAX_REASON, NO_ANSWER, Job, QueueDepth, backoff_s, retry_policy

FIFO = ".fifo"
RECEIVE = 10
# Maximum of dead letters to read, and for how long they are hidden from other readers.
LOOK = 1_000
LOOK_S = 60
# Error codes for a job that was delivered attributes meanwhile, or is deleted.
_NOT_OURS = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
_COUNTS = tuple(f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed"))


def dead_letter_url(url: str) -> str:
    """The URL of a queue's dead-letter queue."""
    return f"{url.removesuffix(FIFO)}-dead{FIFO}" if url.endswith(FIFO) else f"{url}-dead"


def url_of(arn: str) -> str:
    """The URL of a queue.

    Raises:
        KeyError: not the ARN of a queue.
    """
    match arn.split(":"):
        case ["arn", _, "sqs", region, account, name]:
            return f"https://sqs.{region}.amazonaws.com/{account}/{name}"
        case _:
            raise KeyError(arn)


class SqsQueue:
    """`WorkQueue` on SQS. Messages from other senders, such as the event bus, are jobs too."""

    def __init__(self, sqs: AwsClient, urls: Mapping[str, str], *, new_id: NewId, wait_s: int = 1) -> None:
        """
        Args:
            urls: the queues' URLs by name; queues without a name are addressed by their ARN.
            wait_s: long-polling time; without it, SQS samples only some of its servers.
        """
        self._sqs = sqs
        self._urls = urls
        self._new_id = new_id
        self._wait_s = wait_s

    async def send(
        self, queue: str, body: str, *, job_id: JobId | None = None, group: str | None = None, delay_s: int = 0
    ) -> None:
        id_ = str(job_id or self._new_id())
        more = {"DelaySeconds": delay_s} if delay_s else {}
        await self._put(self._url(queue), body, {"job_id": id_}, group=group or id_, once=id_, **more)

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]:
        return [
            job_of(queue, message)
            for message in await self._receive(
                self._url(queue), limit=min(limit, RECEIVE), visibility_s=visibility_s
            )
        ]

    async def ack(self, job: Job) -> None:
        await self._if_ours("DeleteMessage", self._url(job.queue), job.receipt)

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        url = self._url(job.queue)
        if not final and job.attempt < retry_policy(job.queue).attempts:
            wait_s = backoff_s(job.attempt, job.queue)
            await self._if_ours("ChangeMessageVisibility", url, job.receipt, VisibilityTimeout=wait_s)
        elif await self._if_ours("ChangeMessageVisibility", url, job.receipt, VisibilityTimeout=LOOK_S):
            # A crash in between stores the job in both queues, which is better than in none.
            await self._move_to_dead_letters(job, reason)
            await self.ack(job)

    async def depths(self) -> Sequence[QueueDepth]:
        found = await asyncio.gather(*(self._depth(queue, url) for queue, url in sorted(self._urls.items())))
        return [depth for depth in found if depth.waiting or depth.in_flight or depth.dead]

    async def dead(self, queue: str | None, *, limit: int) -> Sequence[tuple[Job, str]]:
        found: list[tuple[datetime, Job, str]] = []
        for name in self._urls if queue is None else (queue,):
            messages = await self._dead(name)
            await self._release(dead_letter_url(self._url(name)), messages)
            found += [_dead_letter(name, message) for message in messages]
        found.sort(key=lambda letter: letter[0], reverse=True)
        return [(job, reason) for _, job, reason in found[:limit]]

    async def redrive(self, queue: str, job_id: JobId | None = None) -> int:
        url, messages = self._url(queue), await self._dead(queue)
        chosen = [message for message in messages if job_id in (None, job_of(queue, message).id)]
        await self._release(dead_letter_url(url), [message for message in messages if message not in chosen])
        for message in chosen:
            job = job_of(queue, message)
            attributes = {"job_id": str(job.id), "enqueued": _ms(job.enqueued_at)}
            await self._put(url, job.body, attributes, group=_group(message, job), once=str(self._new_id()))
            await self._if_ours("DeleteMessage", dead_letter_url(url), message["ReceiptHandle"])
        return len(chosen)

    def _url(self, queue: str) -> str:
        return self._urls[queue] if queue in self._urls else url_of(queue)

    async def _put(
        self, url: str, body: str, attributes: Mapping[str, str], *, group: str, once: str, **more: Any
    ) -> None:
        """Send a message; FIFO queues deduplicate by `once` for five minutes."""
        texts = {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()}
        order = {"MessageGroupId": group, "MessageDeduplicationId": once} if url.endswith(FIFO) else {}
        message = {"QueueUrl": url, "MessageBody": body, "MessageAttributes": texts}
        await self._sqs.call("SendMessage", {**message, **order, **more})

    async def _receive(self, url: str, *, limit: int, visibility_s: int) -> list[dict[str, Any]]:
        request = {
            "QueueUrl": url,
            "MaxNumberOfMessages": limit,
            "VisibilityTimeout": visibility_s,
            "WaitTimeSeconds": self._wait_s,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
            "MessageAttributeNames": ["All"],
        }
        messages: list[dict[str, Any]] = (await self._sqs.call("ReceiveMessage", request)).get("Messages", [])
        return messages

    async def _if_ours(self, operation: str, url: str, receipt: str, **more: Any) -> bool:
        """Run an operation on a delivery; False if the job was delivered attributes or deleted."""
        try:
            await self._sqs.call(operation, {"QueueUrl": url, "ReceiptHandle": receipt, **more})
        except AwsError as error:
            if error.code in _NOT_OURS:
                return False
            raise
        return True

    async def _move_to_dead_letters(self, job: Job, reason: str) -> None:
        attributes = {
            "job_id": str(job.id),
            "enqueued": _ms(job.enqueued_at),
            "attempts": str(job.attempt),
            "reason": reason[:MAX_REASON] or "unknown",
        }
        url = dead_letter_url(self._url(job.queue))
        once = hashlib.sha256(job.receipt.encode()).hexdigest()  # unique to this delivery of the job
        await self._put(url, job.body, attributes, group=str(job.id), once=once)

    async def _depth(self, queue: str, url: str) -> QueueDepth:
        alive, dead = await asyncio.gather(self._counts(url), self._counts(dead_letter_url(url)))
        return QueueDepth(queue, alive[0] + alive[2], alive[1], sum(dead), 0.0)

    async def _counts(self, url: str) -> list[int]:
        request = {"QueueUrl": url, "AttributeNames": list(_COUNTS)}
        counts = (await self._sqs.call("GetQueueAttributes", request))["Attributes"]
        return [int(counts[name]) for name in _COUNTS]

    async def _dead(self, queue: str) -> list[dict[str, Any]]:
        """The dead letters of a queue, hidden from other readers until released, or for `LOOK_S`."""
        url = dead_letter_url(self._url(queue))
        found: list[dict[str, Any]] = []
        while len(found) < LOOK:
            messages = await self._receive(url, limit=RECEIVE, visibility_s=LOOK_S)
            if not messages:
                break
            found += messages
        return found

    async def _release(self, url: str, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            await self._if_ours("ChangeMessageVisibility", url, message["ReceiptHandle"], VisibilityTimeout=0)


def job_of(queue: str, message: Mapping[str, Any]) -> Job:
    """The job of a received message."""
    system = message["Attributes"]
    return Job(
        JobId(UUID(_text(message, "job_id") or message["MessageId"])),
        queue,
        message["Body"],
        int(system["ApproximateReceiveCount"]),
        _moment(_text(message, "enqueued") or system["SentTimestamp"]),
        message["ReceiptHandle"],
    )


def _dead_letter(queue: str, message: Mapping[str, Any]) -> tuple[datetime, Job, str]:
    """The time at which a job became a dead letter, the job, and the reason."""
    attempt = int(_text(message, "attempts") or retry_policy(queue).attempts)
    job = replace(job_of(queue, message), attempt=attempt, receipt="")
    return _moment(message["Attributes"]["SentTimestamp"]), job, _text(message, "reason") or NO_ANSWER


def _group(message: Mapping[str, Any], job: Job) -> str:
    return str(message["Attributes"].get("MessageGroupId") or job.id)


def _text(message: Mapping[str, Any], name: str) -> str:
    return str(message.get("MessageAttributes", {}).get(name, {}).get("StringValue", ""))


def _moment(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def _ms(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1000))
