"""The pool and its transactions on a real PostgreSQL: limits, order, outages and isolation."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres import database
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import Duplicate, compile_statement
from nomadcrew.core.errors import Unavailable
from nomadcrew.hosts.machine.server import SERVER_SETTINGS
from tests.postgres import Postgres

_PID = compile_statement("pid", "SELECT pg_backend_pid() AS pid")
_NAP = compile_statement("nap", "SELECT pg_sleep(30)")
_SHORT_NAP = compile_statement("short_nap", "SELECT pg_sleep(0.6) AS short")
_NAPPING = compile_statement(
    "napping",
    "SELECT count(*) AS count FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(30)'",
)
_END = compile_statement("end", "SELECT pg_terminate_backend(:pid::int, 5000)")
_CREATE = compile_statement("create", "CREATE TABLE things (id integer PRIMARY KEY)")
_ADD = compile_statement("add", "INSERT INTO things VALUES (:id::int)")
_COUNT = compile_statement("count", "SELECT count(*) AS count FROM things")
_WRONG = compile_statement("wrong", "SELECT 1 / 0")


class Pools:
    """Pools on one fresh database."""

    def __init__(self, postgres: Postgres, connect: dict[str, object]) -> None:
        self.postgres = postgres
        self._connect = connect
        self._made: list[Database] = []

    def make(self, size: int, **options: object) -> Database:
        self._made.append(Database({**self._connect, **options}, size=size))
        return self._made[-1]

    async def close(self) -> None:
        for pool in self._made:
            await pool.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pools(postgres: Postgres) -> AsyncIterator[Pools]:
    connect = await postgres.fresh_database()
    made = Pools(postgres, connect)
    yield made
    await made.close()
    await postgres.drop_database(connect)


@pytest_asyncio.fixture(loop_scope="session")
async def fragile() -> AsyncIterator[Pools]:
    """Pools on a separate PostgreSQL, which the test may stop."""
    async with Postgres() as postgres:
        made = Pools(postgres, await postgres.fresh_database())
        yield made
        await made.close()


async def pid(pool: Database) -> int:
    """The process id of the connection that ran a statement."""
    [row] = await pool.fetch(_PID)
    return int(row["pid"])


async def count(pool: Database) -> int:
    [row] = await pool.fetch(_COUNT)
    return int(row["count"])


class HeldConnection:
    """A task that holds a connection until `release`."""

    def __init__(self, pool: Database, log: list[str] | None = None, name: str = "") -> None:
        self._pool = pool
        self._log = [] if log is None else log
        self._name = name
        self._go = asyncio.Event()
        self.acquired = asyncio.Event()
        self.task = asyncio.create_task(self._hold())

    async def _hold(self) -> int:
        async with self._pool.connection() as connection:
            self._log.append(self._name)
            self.acquired.set()
            await self._go.wait()
            return int(connection.get_server_pid())

    async def release(self) -> int:
        self._go.set()
        return await self.task


async def wait_for_naps(pools: Pools, many: int) -> None:
    """Wait until `many` long statements are running."""
    watch = pools.make(1)
    while True:
        [row] = await watch.fetch(_NAPPING)
        if row["count"] == many:
            return
        await asyncio.sleep(0.02)


def kill_at_once(postgres: Postgres) -> None:
    """Kill PostgreSQL's main process."""
    assert postgres.pg.pid is not None
    os.kill(postgres.pg.pid, signal.SIGKILL)


async def run_ready_tasks() -> None:
    """Run every task that is ready."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_connection_returned_last_is_used_next(pools: Pools) -> None:
    pool = pools.make(3)
    first, second = HeldConnection(pool), HeldConnection(pool)
    await first.acquired.wait()
    await second.acquired.wait()
    await first.release()
    last = await second.release()
    assert [await pid(pool) for _ in range(3)] == [last] * 3


async def test_the_pool_never_exceeds_its_size(pools: Pools) -> None:
    pool = pools.make(3)
    pids = await asyncio.gather(*(pid(pool) for _ in range(40)))
    assert len(pids) == 40
    assert len(set(pids)) <= 3


async def test_waiting_tasks_are_served_in_order(pools: Pools) -> None:
    pool, log = pools.make(1), list[str]()
    holder = HeldConnection(pool, log, "holder")
    await holder.acquired.wait()
    waiting = [HeldConnection(pool, log, name) for name in ("first", "second", "third")]
    await run_ready_tasks()
    await holder.release()
    for held in waiting:
        await held.release()
    assert log == ["holder", "first", "second", "third"]


async def test_a_new_task_does_not_overtake_waiting_ones(pools: Pools) -> None:
    pool, log = pools.make(1), list[str]()
    acquired, go = asyncio.Event(), asyncio.Event()

    async def busy() -> None:
        async with pool.connection():
            acquired.set()
            await go.wait()
        async with pool.connection():
            log.append("busy task again")

    task = asyncio.create_task(busy())
    await acquired.wait()
    patient = HeldConnection(pool, log, "waiting task")
    await run_ready_tasks()
    go.set()
    await patient.release()
    await task
    assert log == ["waiting task", "busy task again"]


@pytest.mark.parametrize("when", ["while it waits", "when it is its turn"])
async def test_a_cancelled_task_passes_its_turn_on(pools: Pools, when: str) -> None:
    pool = pools.make(1)
    holder = HeldConnection(pool)
    await holder.acquired.wait()
    cancelled, next_one = HeldConnection(pool), HeldConnection(pool)
    await run_ready_tasks()
    if when == "while it waits":
        cancelled.task.cancel()
    else:
        # The holder's end gives it the connection before it sees the cancellation.
        holder.task.add_done_callback(lambda _: cancelled.task.cancel())
    await holder.release()
    await asyncio.wait_for(next_one.acquired.wait(), 5)
    await next_one.release()
    with pytest.raises(asyncio.CancelledError):
        await cancelled.task
    assert await pid(pool)


async def test_a_task_that_waits_too_long_is_refused_without_effect_on_others(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT_S", 0.05)
    pool = pools.make(1)
    holder = HeldConnection(pool)
    await holder.acquired.wait()
    with pytest.raises(Unavailable) as refused:
        await pid(pool)
    assert refused.value.code == "busy"
    used = await holder.release()
    assert await pid(pool) == used


async def test_a_failed_statement_costs_only_its_connection(pools: Pools) -> None:
    pool = pools.make(2)
    await pool.fetch(_CREATE)
    await pool.fetch(_ADD, id=1)
    before = await pid(pool)
    with pytest.raises(Duplicate) as refused:
        await pool.fetch(_ADD, id=1)
    assert refused.value.constraint == "things_pkey"
    assert await pid(pool) != before
    with pytest.raises(asyncpg.DivisionByZeroError):
        await pool.fetch(_WRONG)
    assert await count(pool) == 1


async def test_a_cancelled_statement_costs_only_its_connection(pools: Pools) -> None:
    pool = pools.make(1)
    before = await pid(pool)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.fetch(_NAP)
    assert await asyncio.wait_for(pid(pool), 5) != before


async def test_a_cancelled_statement_also_ends_on_the_server(pools: Pools) -> None:
    """Otherwise statements that timed out would hold connections beyond the limit, and their locks."""
    pool = pools.make(1, server_settings=SERVER_SETTINGS)
    nap = asyncio.create_task(pool.fetch(_NAP))
    await asyncio.wait_for(wait_for_naps(pools, 1), 20)
    nap.cancel()
    with suppress(asyncio.CancelledError):
        await nap
    await asyncio.wait_for(wait_for_naps(pools, 0), 20)


async def test_a_patient_pool_runs_long_statements(pools: Pools) -> None:
    pool = pools.make(1, command_timeout=0.2)
    with pytest.raises(Unavailable):
        await pool.fetch(_SHORT_NAP)
    patient = pool.long_timeout()
    await patient.fetch(_SHORT_NAP)
    await patient.close()


async def test_a_transaction_commits_everything_or_nothing(pools: Pools) -> None:
    pool = pools.make(2)
    await pool.fetch(_CREATE)
    async with pool.transaction():
        await pool.fetch(_ADD, id=1)
        await pool.fetch(_ADD, id=2)
    assert await count(pool) == 2

    async def roll_back() -> None:
        async with pool.transaction():
            await pool.fetch(_ADD, id=3)
            raise KeyError

    with pytest.raises(KeyError):
        await roll_back()
    assert await count(pool) == 2


async def test_a_transaction_belongs_to_its_task(pools: Pools) -> None:
    pool = pools.make(3)
    await pool.fetch(_CREATE)
    inside, go = asyncio.Event(), asyncio.Event()

    async def writer(id_: int) -> None:
        async with pool.transaction():
            await pool.fetch(_ADD, id=id_)
            inside.set()
            await go.wait()

    task = asyncio.create_task(writer(1))
    await inside.wait()
    assert await count(pool) == 0
    assert not pool.in_transaction()
    async with pool.transaction():
        await pool.fetch(_ADD, id=2)
        assert await count(pool) == 1
        assert pool.in_transaction()
    assert not pool.in_transaction()
    go.set()
    await task
    assert await count(pool) == 2


async def test_a_task_from_an_ended_transaction_does_not_join_another(pools: Pools) -> None:
    pool = pools.make(2)
    go = asyncio.Event()

    async def later() -> int:
        await go.wait()
        return await pid(pool)

    async with pool.transaction():
        await pid(pool)
        left_over = asyncio.create_task(later())
    async with pool.transaction():
        own_pid = await pid(pool)
        go.set()
        assert await left_over != own_pid


async def test_a_transaction_belongs_to_its_database(pools: Pools) -> None:
    one, other = pools.make(1), pools.make(1)
    async with one.transaction():
        assert await pid(one) != await pid(other)


async def test_a_nested_transaction_is_an_error(pools: Pools) -> None:
    pool = pools.make(2)
    async with pool.transaction():
        with pytest.raises(RuntimeError):
            async with pool.transaction():
                pass


async def test_a_transaction_with_a_failed_statement_is_not_reported_as_committed(pools: Pools) -> None:
    """PostgreSQL replies to its COMMIT without an error and rolls back."""
    pool = pools.make(2)
    await pool.fetch(_CREATE)

    async def swallow_failure() -> None:
        async with pool.transaction():
            await pool.fetch(_ADD, id=1)
            with suppress(Duplicate):
                await pool.fetch(_ADD, id=1)

    with pytest.raises(RuntimeError):
        await swallow_failure()
    assert await count(pool) == 0


async def test_a_transaction_with_a_broken_connection_is_an_outage(pools: Pools) -> None:
    pool, other = pools.make(1), pools.make(1)
    outages = 0

    async def continue_after_outage() -> None:
        nonlocal outages
        async with pool.transaction():
            await other.fetch(_END, pid=await pid(pool))
            with suppress(Unavailable):
                await pid(pool)
            outages += 1

    with pytest.raises(Unavailable):
        await continue_after_outage()
    assert outages == 1
    assert await pid(pool)


async def test_idle_connections_that_broke_are_replaced(fragile: Pools) -> None:
    pool = fragile.make(4)
    before = set(await asyncio.gather(*(pid(pool) for _ in range(12))))
    await fragile.postgres.pg.stop()
    await fragile.postgres.pg.start()
    after = set(await asyncio.gather(*(pid(pool) for _ in range(12))))
    assert len(after) <= 4
    assert not before & after


async def test_an_outage_is_reported_at_once_and_the_pool_recovers(fragile: Pools) -> None:
    pool = fragile.make(2)
    await pid(pool)
    await fragile.postgres.pg.stop()
    for _ in range(3):
        results = await asyncio.gather(*(pid(pool) for _ in range(10)), return_exceptions=True)
        assert {type(result) for result in results} == {Unavailable}
    with pytest.raises(Unavailable):
        async with pool.transaction():
            await pid(pool)
    await fragile.postgres.pg.start()
    assert len(set(await asyncio.gather(*(pid(pool) for _ in range(10))))) <= 2


async def test_running_statements_fail_as_outages_when_postgresql_is_killed(fragile: Pools) -> None:
    pool = fragile.make(4)
    under_way = [asyncio.create_task(pool.fetch(_NAP)) for _ in range(4)]
    await asyncio.wait_for(wait_for_naps(fragile, 4), 20)
    kill_at_once(fragile.postgres)
    results = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), 20)
    assert {type(result) for result in results} == {Unavailable}


async def test_a_pool_closes_without_postgresql(fragile: Pools) -> None:
    pool = fragile.make(2)
    holders = [HeldConnection(pool), HeldConnection(pool)]
    for holder in holders:
        await holder.acquired.wait()
    kill_at_once(fragile.postgres)
    for holder in holders:
        await holder.release()
    await pool.close()
