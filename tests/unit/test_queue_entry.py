"""Batches of SQS as Lambda gets them: what is done, given back, buried, and in which order."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.core.errors import PermanentFailure, Unavailable
from nomadcrew.core.ids import JobId
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import MAX_ATTEMPTS, Job
from nomadcrew.hosts.aws.sqs_event import batch_entry, queue_entry
from tests.fakes import fake_ports
from tests.loops import closed_loops

__all__ = ["closed_loops"]

ARN = "arn:aws:sqs:eu-west-1:000000000000:nomadcrew-dev-work"


@dataclass
class Call:
    """What Lambda says about a call."""

    left_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@dataclass
class GivenBack:
    """The half of `WorkQueue` that failed jobs go to."""

    failed: list[tuple[str, str, bool]] = field(default_factory=list)
    away: bool = False

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        if self.away:
            raise Unavailable
        self.failed.append((job.body, reason, final))


@dataclass
class Worker:
    """Does what the body says, and remembers the order."""

    done: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    queue: GivenBack = field(default_factory=GivenBack)

    async def work(self, job: Job, ports: Ports) -> None:
        self.jobs.append(job)
        await asyncio.sleep(0)
        match job.body.partition(" ")[0]:
            case "away":
                raise Unavailable
            case "hopeless":
                raise PermanentFailure("ben@example.org")
            case "bug":
                raise KeyError("ben@example.org")
            case "slow":
                await asyncio.sleep(60)
        self.done.append(job.body)

    def call(self, records: list[dict[str, Any]], *, left_ms: int = 30_000) -> list[str]:
        """The bodies of what the answer reports as failed."""
        handler = queue_entry(self.work, lambda _: fake_ports(queue=self.queue), ("queue",))
        answer = handler({"Records": records}, Call(left_ms))
        bodies = {record["messageId"]: record["body"] for record in records}
        return [bodies[item["itemIdentifier"]] for item in answer["batchItemFailures"]]


def record(body: str, *, attempt: int = 1, group: str | None = None, **more: Any) -> dict[str, Any]:
    """A record of the AWS documentation."""
    record.number += 1  # type: ignore[attr-defined]
    return {
        "messageId": str(UUID(int=record.number)),  # type: ignore[attr-defined]
        "receiptHandle": f"receipt of {body}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": str(attempt),
            "SentTimestamp": "1782907200000",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1782907200001",
            **({"MessageGroupId": group} if group else {}),
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN,
        "awsRegion": "eu-west-1",
        **more,
    }


record.number = 0  # type: ignore[attr-defined]


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_what_is_done_is_deleted_and_what_failed_alone_comes_again(worker: Worker) -> None:
    assert worker.call([record("a"), record("away"), record("b"), record("bug")]) == ["away", "bug"]
    assert worker.done == ["a", "b"]
    assert worker.queue.failed == [("away", "Unavailable", False), ("bug", "KeyError", False)]


def test_a_job_is_what_the_record_says(worker: Worker) -> None:
    ours = {"job_id": {"stringValue": str(UUID(int=7)), "dataType": "String"}}
    worker.call([record("a", attempt=3), record("b", messageAttributes=ours)])
    first, second = worker.jobs
    assert (first.attempt, first.queue, first.receipt) == (3, ARN, "receipt of a")
    assert first.enqueued_at.isoformat() == "2026-07-01T12:00:00+00:00"
    assert second.id == JobId(UUID(int=7))


def test_what_no_repeat_can_save_is_buried_at_once_and_counts_as_done(worker: Worker) -> None:
    assert worker.call([record("hopeless"), record("a")]) == []
    assert worker.queue.failed == [("hopeless", "PermanentFailure", True)]


def test_the_last_attempt_is_buried_by_the_queue_and_counts_as_done(worker: Worker) -> None:
    assert worker.call([record("away", attempt=MAX_ATTEMPTS)]) == []
    assert worker.queue.failed == [("away", "Unavailable", False)]


def test_a_job_that_cannot_be_given_back_comes_again_by_itself(worker: Worker) -> None:
    worker.queue.away = True
    assert worker.call([record("hopeless"), record("away", attempt=MAX_ATTEMPTS), record("a")]) == [
        "hopeless",
        "away",
    ]


def test_nothing_overtakes_a_failed_job_of_its_group(worker: Worker) -> None:
    batch = [
        record("a1", group="a"),
        record("away a2", group="a"),
        record("a3", group="a"),
        record("b1", group="b"),
    ]
    assert worker.call(batch) == ["away a2", "a3"]
    assert sorted(worker.done) == ["a1", "b1"]
    assert worker.queue.failed == [("away a2", "Unavailable", False), ("a3", "waits for another", False)]


def test_a_buried_job_holds_up_nobody(worker: Worker) -> None:
    assert worker.call([record("hopeless", group="a"), record("a2", group="a")]) == []
    assert worker.done == ["a2"]


def test_jobs_are_given_up_in_time_to_say_so(worker: Worker) -> None:
    assert worker.call([record("slow"), record("a")], left_ms=2_050) == ["slow"]
    assert worker.queue.failed == [("slow", "TimeoutError", False)]


def test_a_batch_that_is_done_at_once_succeeds_or_fails_as_a_whole(worker: Worker) -> None:
    async def work(jobs: Sequence[Job], ports: Ports) -> None:
        worker.jobs += jobs
        if len(worker.jobs) < 4:
            raise Unavailable

    handler = batch_entry(work, lambda _: fake_ports(queue=worker.queue), ("queue",))
    batch = [record("a"), record("b", attempt=2)]
    answers = [handler({"Records": batch}, Call()) for _ in range(2)]
    assert [len(answer["batchItemFailures"]) for answer in answers] == [2, 0]
    assert worker.queue.failed == [("a", "Unavailable", False), ("b", "Unavailable", False)]


def test_a_line_a_job_and_none_of_what_is_in_it(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nomadcrew")
    worker.call([record("a secret"), record("hopeless"), record("away")])
    assert [line.levelname for line in caplog.records] == ["INFO", "ERROR", "WARNING"]
    fields = [getattr(line, "fields") for line in caplog.records]  # noqa: B009 — no attribute of every record
    assert [one["queue"] for one in fields] == ["nomadcrew-dev-work"] * 3
    assert "secret" not in json.dumps(fields) + caplog.text
