"""SQS batches in Lambda: completed, failed and dead jobs, and their order."""

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
from tests.lambda_loops import close_lambda_loops

__all__ = ["close_lambda_loops"]

ARN = "arn:aws:sqs:eu-west-1:000000000000:nomadcrew-dev-work"


@dataclass
class LambdaContext:
    """The context of an invocation."""

    left_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


@dataclass
class FailedJobs:
    """The part of `WorkQueue` that receives failed jobs."""

    failed: list[tuple[str, str, bool]] = field(default_factory=list)
    away: bool = False

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        if self.away:
            raise Unavailable
        self.failed.append((job.body, reason, final))


@dataclass
class RecordingConsumer:
    """Acts on a job by its body and records the order."""

    done: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    queue: FailedJobs = field(default_factory=FailedJobs)

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
        """Process records; return the bodies that the reply reports as failed."""
        handler = queue_entry(self.work, lambda _: fake_ports(queue=self.queue), ("queue",))
        answer = handler({"Records": records}, LambdaContext(left_ms))
        bodies = {record["messageId"]: record["body"] for record in records}
        return [bodies[item["itemIdentifier"]] for item in answer["batchItemFailures"]]


def record(body: str, *, attempt: int = 1, group: str | None = None, **more: Any) -> dict[str, Any]:
    """A record as in the AWS documentation."""
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
def consumer() -> RecordingConsumer:
    return RecordingConsumer()


def test_completed_jobs_are_deleted_and_only_failed_ones_return(consumer: RecordingConsumer) -> None:
    assert consumer.call([record("a"), record("away"), record("b"), record("bug")]) == ["away", "bug"]
    assert consumer.done == ["a", "b"]
    assert consumer.queue.failed == [("away", "Unavailable", False), ("bug", "KeyError", False)]


def test_a_job_has_the_values_of_its_record(consumer: RecordingConsumer) -> None:
    job_id_attribute = {"job_id": {"stringValue": str(UUID(int=7)), "dataType": "String"}}
    consumer.call([record("a", attempt=3), record("b", messageAttributes=job_id_attribute)])
    first, second = consumer.jobs
    assert (first.attempt, first.queue, first.receipt) == (3, ARN, "receipt of a")
    assert first.enqueued_at.isoformat() == "2026-07-01T12:00:00+00:00"
    assert second.id == JobId(UUID(int=7))


def test_a_permanent_failure_is_a_dead_letter_and_counts_as_completed(consumer: RecordingConsumer) -> None:
    assert consumer.call([record("hopeless"), record("a")]) == []
    assert consumer.queue.failed == [("hopeless", "PermanentFailure", True)]


def test_the_last_failed_attempt_counts_as_completed(consumer: RecordingConsumer) -> None:
    assert consumer.call([record("away", attempt=MAX_ATTEMPTS)]) == []
    assert consumer.queue.failed == [("away", "Unavailable", False)]


def test_a_failed_job_returns_by_itself_during_an_outage_of_the_queue(consumer: RecordingConsumer) -> None:
    consumer.queue.away = True
    assert consumer.call([record("hopeless"), record("away", attempt=MAX_ATTEMPTS), record("a")]) == [
        "hopeless",
        "away",
    ]


def test_jobs_of_a_group_do_not_overtake_a_failed_one(consumer: RecordingConsumer) -> None:
    batch = [
        record("a1", group="a"),
        record("away a2", group="a"),
        record("a3", group="a"),
        record("b1", group="b"),
    ]
    assert consumer.call(batch) == ["away a2", "a3"]
    assert sorted(consumer.done) == ["a1", "b1"]
    assert consumer.queue.failed == [("away a2", "Unavailable", False), ("a3", "waits for another", False)]


def test_a_dead_letter_does_not_block_its_group(consumer: RecordingConsumer) -> None:
    assert consumer.call([record("hopeless", group="a"), record("a2", group="a")]) == []
    assert consumer.done == ["a2"]


def test_slow_jobs_are_cancelled_before_the_invocation_ends(consumer: RecordingConsumer) -> None:
    assert consumer.call([record("slow"), record("a")], left_ms=2_050) == ["slow"]
    assert consumer.queue.failed == [("slow", "TimeoutError", False)]


def test_a_batch_processed_as_a_whole_succeeds_or_fails_as_a_whole(consumer: RecordingConsumer) -> None:
    async def work(jobs: Sequence[Job], ports: Ports) -> None:
        consumer.jobs += jobs
        if len(consumer.jobs) < 4:
            raise Unavailable

    handler = batch_entry(work, lambda _: fake_ports(queue=consumer.queue), ("queue",))
    batch = [record("a"), record("b", attempt=2)]
    answers = [handler({"Records": batch}, LambdaContext()) for _ in range(2)]
    assert [len(answer["batchItemFailures"]) for answer in answers] == [2, 0]
    assert consumer.queue.failed == [("a", "Unavailable", False), ("b", "Unavailable", False)]


def test_each_job_is_one_log_line_without_its_content(
    consumer: RecordingConsumer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nomadcrew")
    consumer.call([record("a secret"), record("hopeless"), record("away")])
    assert [line.levelname for line in caplog.records] == ["INFO", "ERROR", "WARNING"]
    fields = [getattr(line, "fields") for line in caplog.records]  # noqa: B009 — set by the log adapter
    assert [one["queue"] for one in fields] == ["nomadcrew-dev-work"] * 3
    assert "secret" not in json.dumps(fields) + caplog.text
