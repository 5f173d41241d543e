"""Kept replies: a request under a key changes the world once, however often and however closely it is repeated."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.idempotency import PostgresIdempotencyStore
from nomadcrew.adapters.postgres.retention import PostgresRetention
from nomadcrew.adapters.postgres.sql import Row, Statement, compile_statement
from nomadcrew.core.errors import Conflict, Unavailable, Unprocessable
from nomadcrew.core.idempotency import StoredReply
from nomadcrew.core.retention import STORED_REPLY_RETENTION
from tests.fakes import NOON

_CREATE = compile_statement("create", "CREATE TABLE writes (id integer GENERATED ALWAYS AS IDENTITY, body text)")
_WRITE = compile_statement("write", "INSERT INTO writes (body) VALUES (:body::text) RETURNING id")
_WRITES = compile_statement("writes", "SELECT count(*) AS count FROM writes")
_REPLAYS = compile_statement("replays", "SELECT count(*) AS count FROM replays")
KEY, OTHER_KEY = b"key of ana's phone", b"key of ben's phone"
BODY, OTHER_BODY = b"hash of a request", b"hash of another"

Make = Callable[[], Awaitable[StoredReply]]


class Desk:
    """Writes rows and answers with their number."""

    def __init__(self, pool: Database) -> None:
        self.pool = pool
        self.replies = PostgresIdempotencyStore(pool)

    async def write(self) -> StoredReply:
        [row] = await self.pool.fetch(_WRITE, body="boots")
        return StoredReply(201, b"%d" % row["id"])

    async def once(
        self, key: bytes = KEY, body: bytes = BODY, make: Make | None = None, *, later: timedelta = timedelta()
    ) -> StoredReply:
        return await self.replies.run_once(key, body, make or self.write, now=NOON + later)

    async def rows(self) -> int:
        [row] = await self.pool.fetch(_WRITES)
        return int(row["count"])

    async def kept(self) -> int:
        [row] = await self.pool.fetch(_REPLAYS)
        return int(row["count"])


@pytest.fixture
async def desk(pool: Database) -> Desk:
    await pool.fetch(_CREATE)
    return Desk(pool)


async def test_a_repeated_request_changes_the_world_once_and_answers_alike(desk: Desk) -> None:
    first = await desk.once()
    assert [await desk.once() for _ in range(3)] == [first] * 3
    assert await desk.rows() == 1


async def test_keys_do_not_know_each_other(desk: Desk) -> None:
    assert await desk.once(KEY) != await desk.once(OTHER_KEY)
    assert await desk.rows() == 2


@pytest.mark.parametrize("reply", [StoredReply(204, b""), StoredReply(200, bytes(range(256)))])
async def test_any_reply_is_kept_byte_by_byte(desk: Desk, reply: StoredReply) -> None:
    async def make() -> StoredReply:
        return reply

    assert [await desk.once(make=make), await desk.once(make=make)] == [reply, reply]


async def test_requests_at_the_same_time_change_the_world_once_and_answer_alike(desk: Desk) -> None:
    replies = await asyncio.gather(*(desk.once() for _ in range(20)))
    assert len(set(replies)) == 1
    assert await desk.rows() == 1


async def test_a_second_request_waits_for_the_first_and_is_the_first_if_that_fails(desk: Desk) -> None:
    inside, fail = asyncio.Event(), asyncio.Event()

    async def slow_and_failing() -> StoredReply:
        await desk.write()
        inside.set()
        await fail.wait()
        raise Conflict("taken")

    first = asyncio.create_task(desk.once(make=slow_and_failing))
    await inside.wait()
    second = asyncio.create_task(desk.once())
    done, _ = await asyncio.wait({second}, timeout=0.1)
    assert not done
    fail.set()
    with pytest.raises(Conflict):
        await first
    assert (await second).status == 201
    assert await desk.rows() == 1


async def test_a_key_used_for_another_request_is_refused_and_changes_nothing(desk: Desk) -> None:
    first = await desk.once()
    with pytest.raises(Unprocessable) as refused:
        await desk.once(body=OTHER_BODY)
    assert refused.value.code == "idempotency_key_reused"
    assert await desk.once() == first
    assert await desk.rows() == 1


async def test_another_request_under_the_key_at_the_same_time_is_refused(desk: Desk) -> None:
    results = await asyncio.gather(desk.once(), desk.once(body=OTHER_BODY), return_exceptions=True)
    assert {type(result) for result in results} == {StoredReply, Unprocessable}
    assert await desk.rows() == 1


@pytest.mark.parametrize("failure", [Conflict("taken"), Unavailable(), RuntimeError("a bug")])
async def test_a_failure_keeps_neither_reply_nor_write(desk: Desk, failure: Exception) -> None:
    async def make() -> StoredReply:
        await desk.write()
        raise failure

    with pytest.raises(type(failure)):
        await desk.once(make=make)
    assert (await desk.rows(), await desk.kept()) == (0, 0)
    assert (await desk.once()).status == 201


async def test_a_request_given_up_keeps_neither_reply_nor_write(desk: Desk) -> None:
    inside = asyncio.Event()

    async def endless() -> StoredReply:
        await desk.write()
        inside.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(desk.once(make=endless))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await desk.once()).status == 201
    assert await desk.rows() == 1


async def test_a_key_is_fresh_again_when_its_reply_has_expired(desk: Desk) -> None:
    first = await desk.once()
    assert await desk.once(later=STORED_REPLY_RETENTION - timedelta(seconds=1)) == first
    again = await desk.once(body=OTHER_BODY, later=STORED_REPLY_RETENTION)
    assert again != first
    assert await desk.once(body=OTHER_BODY, later=STORED_REPLY_RETENTION) == again
    assert await desk.rows() == 2


async def test_expired_replies_are_purged_and_no_others(desk: Desk) -> None:
    await desk.once()
    await desk.once(OTHER_KEY, later=timedelta(hours=1))
    assert (
        await PostgresRetention(desk.pool).delete_stored_replies(
            NOON + STORED_REPLY_RETENTION + timedelta(minutes=1)
        )
        == 1
    )
    assert await desk.kept() == 1
    assert await desk.rows() == 2


class Purging:
    """`Sql` on which upkeep comes between any two transactions."""

    def __init__(self, pool: Database) -> None:
        self._pool = pool

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        return await self._pool.fetch(statement, **params)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._pool.transaction():
            yield
        await PostgresRetention(self._pool).delete_stored_replies(NOON + 2 * STORED_REPLY_RETENTION)

    def in_transaction(self) -> bool:
        return self._pool.in_transaction()


async def test_a_reply_that_is_purged_while_it_is_looked_up_asks_for_another_try(desk: Desk) -> None:
    await desk.once()
    unlucky = PostgresIdempotencyStore(Purging(desk.pool))
    with pytest.raises(Unavailable):
        await unlucky.run_once(KEY, BODY, desk.write, now=NOON)
    assert await desk.rows() == 1
