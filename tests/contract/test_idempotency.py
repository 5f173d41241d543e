"""Stored replies: a request with a key takes effect once, also if it is repeated many times or concurrently."""

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


class WriteScenario:
    """Writes rows and replies with their number."""

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

    async def stored(self) -> int:
        [row] = await self.pool.fetch(_REPLAYS)
        return int(row["count"])


@pytest.fixture
async def scenario(pool: Database) -> WriteScenario:
    await pool.fetch(_CREATE)
    return WriteScenario(pool)


async def test_a_repeated_request_takes_effect_once_and_gets_the_same_reply(scenario: WriteScenario) -> None:
    first = await scenario.once()
    assert [await scenario.once() for _ in range(3)] == [first] * 3
    assert await scenario.rows() == 1


async def test_keys_are_independent(scenario: WriteScenario) -> None:
    assert await scenario.once(KEY) != await scenario.once(OTHER_KEY)
    assert await scenario.rows() == 2


@pytest.mark.parametrize("reply", [StoredReply(204, b""), StoredReply(200, bytes(range(256)))])
async def test_a_reply_is_stored_byte_for_byte(scenario: WriteScenario, reply: StoredReply) -> None:
    async def make() -> StoredReply:
        return reply

    assert [await scenario.once(make=make), await scenario.once(make=make)] == [reply, reply]


async def test_concurrent_requests_take_effect_once_and_get_the_same_reply(scenario: WriteScenario) -> None:
    replies = await asyncio.gather(*(scenario.once() for _ in range(20)))
    assert len(set(replies)) == 1
    assert await scenario.rows() == 1


async def test_a_second_request_waits_and_runs_if_the_first_fails(scenario: WriteScenario) -> None:
    inside, fail = asyncio.Event(), asyncio.Event()

    async def slow_and_failing() -> StoredReply:
        await scenario.write()
        inside.set()
        await fail.wait()
        raise Conflict("taken")

    first = asyncio.create_task(scenario.once(make=slow_and_failing))
    await inside.wait()
    second = asyncio.create_task(scenario.once())
    done, _ = await asyncio.wait({second}, timeout=0.1)
    assert not done
    fail.set()
    with pytest.raises(Conflict):
        await first
    assert (await second).status == 201
    assert await scenario.rows() == 1


async def test_a_key_of_another_request_is_refused_without_effect(scenario: WriteScenario) -> None:
    first = await scenario.once()
    with pytest.raises(Unprocessable) as refused:
        await scenario.once(body=OTHER_BODY)
    assert refused.value.code == "idempotency_key_reused"
    assert await scenario.once() == first
    assert await scenario.rows() == 1


async def test_a_concurrent_other_request_with_the_key_is_refused(scenario: WriteScenario) -> None:
    results = await asyncio.gather(scenario.once(), scenario.once(body=OTHER_BODY), return_exceptions=True)
    assert {type(result) for result in results} == {StoredReply, Unprocessable}
    assert await scenario.rows() == 1


@pytest.mark.parametrize("failure", [Conflict("taken"), Unavailable(), RuntimeError("a bug")])
async def test_a_failure_stores_neither_reply_nor_write(scenario: WriteScenario, failure: Exception) -> None:
    async def make() -> StoredReply:
        await scenario.write()
        raise failure

    with pytest.raises(type(failure)):
        await scenario.once(make=make)
    assert (await scenario.rows(), await scenario.stored()) == (0, 0)
    assert (await scenario.once()).status == 201


async def test_a_cancelled_request_stores_neither_reply_nor_write(scenario: WriteScenario) -> None:
    inside = asyncio.Event()

    async def endless() -> StoredReply:
        await scenario.write()
        inside.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(scenario.once(make=endless))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await scenario.once()).status == 201
    assert await scenario.rows() == 1


async def test_a_key_is_free_again_once_its_reply_has_expired(scenario: WriteScenario) -> None:
    first = await scenario.once()
    assert await scenario.once(later=STORED_REPLY_RETENTION - timedelta(seconds=1)) == first
    again = await scenario.once(body=OTHER_BODY, later=STORED_REPLY_RETENTION)
    assert again != first
    assert await scenario.once(body=OTHER_BODY, later=STORED_REPLY_RETENTION) == again
    assert await scenario.rows() == 2


async def test_only_expired_replies_are_deleted(scenario: WriteScenario) -> None:
    await scenario.once()
    await scenario.once(OTHER_KEY, later=timedelta(hours=1))
    assert (
        await PostgresRetention(scenario.pool).delete_stored_replies(
            NOON + STORED_REPLY_RETENTION + timedelta(minutes=1)
        )
        == 1
    )
    assert await scenario.stored() == 1
    assert await scenario.rows() == 2


class PurgingSql:
    """`Sql` that deletes expired replies after every transaction."""

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


async def test_a_reply_deleted_during_its_lookup_is_an_outage(scenario: WriteScenario) -> None:
    await scenario.once()
    purged_replies = PostgresIdempotencyStore(PurgingSql(scenario.pool))
    with pytest.raises(Unavailable):
        await purged_replies.run_once(KEY, BODY, scenario.write, now=NOON)
    assert await scenario.rows() == 1
