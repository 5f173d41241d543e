"""The work queue on SQS, standard and FIFO.

What failed for good is moved to the queue's dead-letter queue from here, with the reason, which SQS's own redrive
policy cannot know; that one is for jobs whose workers die. The dead-letter queue of `work` is called `work-dead`.
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
from nomadcrew.core.queues import MAX_REASON, NO_ANSWER, Job, QueueDepth, backoff_s, patience

FIFO = ".fifo"
RECEIVE = 10
# How many dead jobs are looked through at most, and for how long nobody else sees them meanwhile.
LOOK = 1_000
LOOK_S = 60
# SQS's words for a job that was delivered to somebody else since, or is gone.
_NOT_OURS = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
_COUNTS = tuple(f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed"))


def dead_letter_url(url: str) -> str:
    """Where the dead of a queue are kept."""
    return f"{url.removesuffix(FIFO)}-dead{FIFO}" if url.endswith(FIFO) else f"{url}-dead"


def url_of(arn: str) -> str:
    """A queue's address.

    Raises:
        KeyError: that is no queue's ARN.
    """
    match arn.split(":"):
        case ["arn", _, "sqs", region, account, name]:
            return f"https://sqs.{region}.amazonaws.com/{account}/{name}"
        case _:
            raise KeyError(arn)


class SqsQueue:
    """`WorkQueue` on SQS. Messages that others put into a queue, as a bus does, are jobs as well."""

    def __init__(self, sqs: AwsClient, urls: Mapping[str, str], *, new_id: NewId, wait_s: int = 1) -> None:
        """
        Args:
            urls: each queue's address by the name it goes by here; queues that have none go by their ARN.
            wait_s: for how long nothing has to come until there is nothing; at once, SQS looks in some places only.
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
            for message in await self._take(self._url(queue), limit=min(limit, RECEIVE), visibility_s=visibility_s)
        ]

    async def ack(self, job: Job) -> None:
        await self._if_ours("DeleteMessage", self._url(job.queue), job.receipt)

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        url = self._url(job.queue)
        if not final and job.attempt < patience(job.queue).attempts:
            wait_s = backoff_s(job.attempt, job.queue)
            await self._if_ours("ChangeMessageVisibility", url, job.receipt, VisibilityTimeout=wait_s)
        elif await self._if_ours("ChangeMessageVisibility", url, job.receipt, VisibilityTimeout=LOOK_S):
            # Kept twice at worst: dying in between leaves it alive as well.
            await self._bury(job, reason)
            await self.ack(job)

    async def depths(self) -> Sequence[QueueDepth]:
        found = await asyncio.gather(*(self._depth(queue, url) for queue, url in sorted(self._urls.items())))
        return [depth for depth in found if depth.waiting or depth.in_flight or depth.dead]

    async def dead(self, queue: str | None, *, limit: int) -> Sequence[tuple[Job, str]]:
        found: list[tuple[datetime, Job, str]] = []
        for name in self._urls if queue is None else (queue,):
            messages = await self._dead(name)
            await self._release(dead_letter_url(self._url(name)), messages)
            found += [_burial(name, message) for message in messages]
        found.sort(key=lambda burial: burial[0], reverse=True)
        return [(job, reason) for _, job, reason in found[:limit]]

    async def redrive(self, queue: str, job_id: JobId | None = None) -> int:
        url, messages = self._url(queue), await self._dead(queue)
        chosen = [message for message in messages if job_id in (None, job_of(queue, message).id)]
        await self._release(dead_letter_url(url), [message for message in messages if message not in chosen])
        for message in chosen:
            job = job_of(queue, message)
            again = {"job_id": str(job.id), "enqueued": _ms(job.enqueued_at)}
            await self._put(url, job.body, again, group=_group(message, job), once=str(self._new_id()))
            await self._if_ours("DeleteMessage", dead_letter_url(url), message["ReceiptHandle"])
        return len(chosen)

    def _url(self, queue: str) -> str:
        return self._urls[queue] if queue in self._urls else url_of(queue)

    async def _put(
        self, url: str, body: str, attributes: Mapping[str, str], *, group: str, once: str, **more: Any
    ) -> None:
        """Send a message; `once` is what SQS goes by for five minutes in queues that keep an order."""
        texts = {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()}
        order = {"MessageGroupId": group, "MessageDeduplicationId": once} if url.endswith(FIFO) else {}
        message = {"QueueUrl": url, "MessageBody": body, "MessageAttributes": texts}
        await self._sqs.call("SendMessage", {**message, **order, **more})

    async def _take(self, url: str, *, limit: int, visibility_s: int) -> list[dict[str, Any]]:
        wanted = {
            "QueueUrl": url,
            "MaxNumberOfMessages": limit,
            "VisibilityTimeout": visibility_s,
            "WaitTimeSeconds": self._wait_s,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
            "MessageAttributeNames": ["All"],
        }
        found: list[dict[str, Any]] = (await self._sqs.call("ReceiveMessage", wanted)).get("Messages", [])
        return found

    async def _if_ours(self, operation: str, url: str, receipt: str, **more: Any) -> bool:
        """Do something with a delivery; False if the job is no longer ours."""
        try:
            await self._sqs.call(operation, {"QueueUrl": url, "ReceiptHandle": receipt, **more})
        except AwsError as error:
            if error.code in _NOT_OURS:
                return False
            raise
        return True

    async def _bury(self, job: Job, reason: str) -> None:
        attributes = {
            "job_id": str(job.id),
            "enqueued": _ms(job.enqueued_at),
            "attempts": str(job.attempt),
            "reason": reason[:MAX_REASON] or "unknown",
        }
        url = dead_letter_url(self._url(job.queue))
        once = hashlib.sha256(job.receipt.encode()).hexdigest()  # this delivery, and no other of the same job
        await self._put(url, job.body, attributes, group=str(job.id), once=once)

    async def _depth(self, queue: str, url: str) -> QueueDepth:
        alive, dead = await asyncio.gather(self._counts(url), self._counts(dead_letter_url(url)))
        return QueueDepth(queue, alive[0] + alive[2], alive[1], sum(dead), 0.0)

    async def _counts(self, url: str) -> list[int]:
        wanted = {"QueueUrl": url, "AttributeNames": list(_COUNTS)}
        found = (await self._sqs.call("GetQueueAttributes", wanted))["Attributes"]
        return [int(found[name]) for name in _COUNTS]

    async def _dead(self, queue: str) -> list[dict[str, Any]]:
        """The dead of a queue, received: nobody else sees them until they are released, or for `LOOK_S`."""
        url = dead_letter_url(self._url(queue))
        found: list[dict[str, Any]] = []
        while len(found) < LOOK:
            messages = await self._take(url, limit=RECEIVE, visibility_s=LOOK_S)
            if not messages:
                break
            found += messages
        return found

    async def _release(self, url: str, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            await self._if_ours("ChangeMessageVisibility", url, message["ReceiptHandle"], VisibilityTimeout=0)


def job_of(queue: str, message: Mapping[str, Any]) -> Job:
    """The job of a message as SQS gives it to whoever receives."""
    system = message["Attributes"]
    return Job(
        JobId(UUID(_text(message, "job_id") or message["MessageId"])),
        queue,
        message["Body"],
        int(system["ApproximateReceiveCount"]),
        _moment(_text(message, "enqueued") or system["SentTimestamp"]),
        message["ReceiptHandle"],
    )


def _burial(queue: str, message: Mapping[str, Any]) -> tuple[datetime, Job, str]:
    """When a job was buried, as far as can be told, the job as it was then, and why."""
    attempt = int(_text(message, "attempts") or patience(queue).attempts)
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
