"""The work queue on PostgreSQL, with SQS's semantics."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.sql import Row, Sql, json_param, statements
from nomadcrew.core.clock import Clock
from nomadcrew.core.ids import JobId, NewId
from nomadcrew.core.queues import MAX_REASON, NO_ANSWER, Job, QueueDepth, backoff_s, retry_policy

_SQL = statements("queue")


class PostgresQueue:
    def __init__(self, sql: Sql, *, clock: Clock, new_id: NewId) -> None:
        self._sql = sql
        self._clock = clock
        self._new_id = new_id
        # Jobs that are received together are acknowledged together, and the jobs that they cause are sent together.
        self._send: Batcher[Mapping[str, object], None] = Batcher(self._enqueue, alone=sql.in_transaction)
        self._ack: Batcher[Job, None] = Batcher(self._acknowledge, alone=sql.in_transaction)

    async def send(
        self,
        queue: str,
        body: str,
        *,
        job_id: JobId | None = None,
        group: str | None = None,  # noqa: ARG002 — this queue does not order by group
        delay_s: int = 0,
    ) -> None:
        now = self._clock()
        await self._send(
            {
                "id": job_id or self._new_id(),
                "queue": queue,
                "body": body,
                "enqueued_at": now,
                "visible_at": now + timedelta(seconds=delay_s),
            }
        )

    async def receive(self, queue: str, *, limit: int, visibility_s: int) -> Sequence[Job]:
        now = self._clock()
        rows = await self._sql.fetch(
            _SQL["receive"],
            queue=queue,
            limit=limit,
            now=now,
            visible_at=now + timedelta(seconds=visibility_s),
            max_attempts=retry_policy(queue).attempts,
            no_answer=NO_ANSWER,
        )
        return [_job(row) for row in rows]

    async def ack(self, job: Job) -> None:
        await self._ack(job)

    async def fail(self, job: Job, reason: str, *, final: bool = False) -> None:
        now = self._clock()
        await self._sql.fetch(
            _SQL["fail"],
            id=job.id,
            attempt=job.attempt,
            reason=reason[:MAX_REASON],
            final=final,
            now=now,
            visible_at=now + timedelta(seconds=backoff_s(job.attempt, job.queue)),
            max_attempts=retry_policy(job.queue).attempts,
        )

    async def _enqueue(self, jobs: Sequence[Mapping[str, object]]) -> Sequence[None]:
        await self._sql.fetch(_SQL["send"], jobs=json_param(jobs))
        return [None] * len(jobs)

    async def _acknowledge(self, jobs: Sequence[Job]) -> Sequence[None]:
        done = [{"id": job.id, "attempt": job.attempt} for job in jobs]
        await self._sql.fetch(_SQL["ack"], jobs=json_param(done))
        return [None] * len(jobs)

    async def depths(self) -> Sequence[QueueDepth]:
        rows = await self._sql.fetch(_SQL["depths"], now=self._clock())
        return [
            QueueDepth(row["queue"], row["waiting"], row["in_flight"], row["dead"], row["oldest_s"]) for row in rows
        ]

    async def dead(self, queue: str | None, *, limit: int) -> Sequence[tuple[Job, str]]:
        rows = await self._sql.fetch(_SQL["dead"], queue=queue, limit=limit)
        return [(_job(row), row["last_error"]) for row in rows]

    async def redrive(self, queue: str, job_id: JobId | None = None) -> int:
        return len(await self._sql.fetch(_SQL["redrive"], queue=queue, id=job_id, now=self._clock()))


def _job(row: Row) -> Job:
    return Job(row["id"], row["queue"], row["body"], row["attempts"], row["enqueued_at"])
