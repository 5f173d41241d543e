"""The pool and its transactions, on a real PostgreSQL: bounds, turns, outages, and who sees what."""

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
from tests.engine import Engine

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

    def __init__(self, engine: Engine, connect: dict[str, object]) -> None:
        self.engine = engine
        self._connect = connect
        self._made: list[Database] = []

    def make(self, size: int, **options: object) -> Database:
        self._made.append(Database({**self._connect, **options}, size=size))
        return self._made[-1]

    async def close(self) -> None:
        for pool in self._made:
            await pool.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pools(engine: Engine) -> AsyncIterator[Pools]:
    connect = await engine.fresh_database()
    made = Pools(engine, connect)
    yield made
    await made.close()
    await engine.drop_database(connect)


@pytest_asyncio.fixture(loop_scope="session")
async def fragile() -> AsyncIterator[Pools]:
    """Pools on a PostgreSQL of their own, which the test may stop."""
    async with Engine() as engine:
        made = Pools(engine, await engine.fresh_database())
        yield made
        await made.close()


async def pid(pool: Database) -> int:
    """Which connection a statement ran on."""
    [row] = await pool.fetch(_PID)
    return int(row["pid"])


async def count(pool: Database) -> int:
    [row] = await pool.fetch(_COUNT)
    return int(row["count"])


class Held:
    """A task that holds a connection until let go."""

    def __init__(self, pool: Database, log: list[str] | None = None, name: str = "") -> None:
        self._pool = pool
        self._log = [] if log is None else log
        self._name = name
        self._go = asyncio.Event()
        self.has = asyncio.Event()
        self.task = asyncio.create_task(self._hold())

    async def _hold(self) -> int:
        async with self._pool.connection() as connection:
            self._log.append(self._name)
            self.has.set()
            await self._go.wait()
            return int(connection.get_server_pid())

    async def let_go(self) -> int:
        self._go.set()
        return await self.task


async def napping(pools: Pools, many: int) -> None:
    """Wait until so many long statements are under way."""
    watch = pools.make(1)
    while True:
        [row] = await watch.fetch(_NAPPING)
        if row["count"] == many:
            return
        await asyncio.sleep(0.02)


def kill_at_once(engine: Engine) -> None:
    """End PostgreSQL's main process."""
    assert engine.pg.pid is not None
    os.kill(engine.pg.pid, signal.SIGKILL)


async def turn() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_connection_that_came_back_last_is_used_next(pools: Pools) -> None:
    pool = pools.make(3)
    first, second = Held(pool), Held(pool)
    await first.has.wait()
    await second.has.wait()
    await first.let_go()
    last = await second.let_go()
    assert [await pid(pool) for _ in range(3)] == [last] * 3


async def test_there_are_never_more_connections_than_the_bound(pools: Pools) -> None:
    pool = pools.make(3)
    pids = await asyncio.gather(*(pid(pool) for _ in range(40)))
    assert len(pids) == 40
    assert len(set(pids)) <= 3


async def test_those_who_wait_are_served_in_their_order(pools: Pools) -> None:
    pool, log = pools.make(1), list[str]()
    holder = Held(pool, log, "holder")
    await holder.has.wait()
    waiting = [Held(pool, log, name) for name in ("first", "second", "third")]
    await turn()
    await holder.let_go()
    for held in waiting:
        await held.let_go()
    assert log == ["holder", "first", "second", "third"]


async def test_nobody_overtakes_those_who_wait(pools: Pools) -> None:
    pool, log = pools.make(1), list[str]()
    has, go = asyncio.Event(), asyncio.Event()

    async def busy() -> None:
        async with pool.connection():
            has.set()
            await go.wait()
        async with pool.connection():
            log.append("the busy one again")

    task = asyncio.create_task(busy())
    await has.wait()
    patient = Held(pool, log, "the patient one")
    await turn()
    go.set()
    await patient.let_go()
    await task
    assert log == ["the patient one", "the busy one again"]


@pytest.mark.parametrize("when", ["while it waits", "when it is its turn"])
async def test_whoever_is_cancelled_passes_the_turn_on(pools: Pools, when: str) -> None:
    pool = pools.make(1)
    holder = Held(pool)
    await holder.has.wait()
    cancelled, next_one = Held(pool), Held(pool)
    await turn()
    if when == "while it waits":
        cancelled.task.cancel()
    else:
        # Its turn comes with the holder's end, which it learns of after it was cancelled.
        holder.task.add_done_callback(lambda _: cancelled.task.cancel())
    await holder.let_go()
    await asyncio.wait_for(next_one.has.wait(), 5)
    await next_one.let_go()
    with pytest.raises(asyncio.CancelledError):
        await cancelled.task
    assert await pid(pool)


async def test_whoever_waits_too_long_is_refused_and_harms_nobody(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ACQUIRE_TIMEOUT_S", 0.05)
    pool = pools.make(1)
    holder = Held(pool)
    await holder.has.wait()
    with pytest.raises(Unavailable) as refused:
        await pid(pool)
    assert refused.value.code == "busy"
    used = await holder.let_go()
    assert await pid(pool) == used


async def test_a_statement_that_fails_costs_its_connection_and_nothing_else(pools: Pools) -> None:
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


async def test_a_statement_that_is_cancelled_costs_its_connection_and_nothing_else(pools: Pools) -> None:
    pool = pools.make(1)
    before = await pid(pool)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.fetch(_NAP)
    assert await asyncio.wait_for(pid(pool), 5) != before


async def test_a_statement_that_is_given_up_ends_on_the_server_too(pools: Pools) -> None:
    """Else every one that ran into its timeout would hold a connection beyond the bound, and its locks."""
    pool = pools.make(1, server_settings=SERVER_SETTINGS)
    napping_task = asyncio.create_task(pool.fetch(_NAP))
    await asyncio.wait_for(napping(pools, 1), 20)
    napping_task.cancel()
    with suppress(asyncio.CancelledError):
        await napping_task
    await asyncio.wait_for(napping(pools, 0), 20)


async def test_patience_lets_a_statement_take_its_time(pools: Pools) -> None:
    pool = pools.make(1, command_timeout=0.2)
    with pytest.raises(Unavailable):
        await pool.fetch(_SHORT_NAP)
    patient = pool.long_timeout()
    await patient.fetch(_SHORT_NAP)
    await patient.close()


async def test_a_transaction_keeps_everything_or_nothing(pools: Pools) -> None:
    pool = pools.make(2)
    await pool.fetch(_CREATE)
    async with pool.transaction():
        await pool.fetch(_ADD, id=1)
        await pool.fetch(_ADD, id=2)
    assert await count(pool) == 2

    async def change_of_mind() -> None:
        async with pool.transaction():
            await pool.fetch(_ADD, id=3)
            raise KeyError

    with pytest.raises(KeyError):
        await change_of_mind()
    assert await count(pool) == 2


async def test_a_transaction_is_its_tasks_own(pools: Pools) -> None:
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


async def test_a_task_left_over_from_a_transaction_does_not_run_in_somebody_elses(pools: Pools) -> None:
    pool = pools.make(2)
    go = asyncio.Event()

    async def later() -> int:
        await go.wait()
        return await pid(pool)

    async with pool.transaction():
        await pid(pool)
        left_over = asyncio.create_task(later())
    async with pool.transaction():
        mine = await pid(pool)
        go.set()
        assert await left_over != mine


async def test_a_transaction_is_its_databases_own(pools: Pools) -> None:
    one, other = pools.make(1), pools.make(1)
    async with one.transaction():
        assert await pid(one) != await pid(other)


async def test_a_transaction_inside_another_is_a_mistake(pools: Pools) -> None:
    pool = pools.make(2)
    async with pool.transaction():
        with pytest.raises(RuntimeError):
            async with pool.transaction():
                pass


async def test_a_transaction_with_a_failed_statement_does_not_pass_for_kept(pools: Pools) -> None:
    """PostgreSQL answers its COMMIT kindly and rolls back."""
    pool = pools.make(2)
    await pool.fetch(_CREATE)

    async def careless() -> None:
        async with pool.transaction():
            await pool.fetch(_ADD, id=1)
            with suppress(Duplicate):
                await pool.fetch(_ADD, id=1)

    with pytest.raises(RuntimeError):
        await careless()
    assert await count(pool) == 0


async def test_a_transaction_whose_connection_broke_ends_as_an_outage(pools: Pools) -> None:
    pool, other = pools.make(1), pools.make(1)
    outages = 0

    async def stubborn() -> None:
        nonlocal outages
        async with pool.transaction():
            await other.fetch(_END, pid=await pid(pool))
            with suppress(Unavailable):
                await pid(pool)
            outages += 1

    with pytest.raises(Unavailable):
        await stubborn()
    assert outages == 1
    assert await pid(pool)


async def test_connections_that_broke_while_idle_are_replaced_unseen(fragile: Pools) -> None:
    pool = fragile.make(4)
    before = set(await asyncio.gather(*(pid(pool) for _ in range(12))))
    await fragile.engine.pg.stop()
    await fragile.engine.pg.start()
    after = set(await asyncio.gather(*(pid(pool) for _ in range(12))))
    assert len(after) <= 4
    assert not before & after


async def test_an_outage_is_said_at_once_and_leaves_the_pool_whole(fragile: Pools) -> None:
    pool = fragile.make(2)
    await pid(pool)
    await fragile.engine.pg.stop()
    for _ in range(3):
        results = await asyncio.gather(*(pid(pool) for _ in range(10)), return_exceptions=True)
        assert {type(result) for result in results} == {Unavailable}
    with pytest.raises(Unavailable):
        async with pool.transaction():
            await pid(pool)
    await fragile.engine.pg.start()
    assert len(set(await asyncio.gather(*(pid(pool) for _ in range(10))))) <= 2


async def test_statements_under_way_when_postgresql_is_killed_are_outages(fragile: Pools) -> None:
    pool = fragile.make(4)
    under_way = [asyncio.create_task(pool.fetch(_NAP)) for _ in range(4)]
    await asyncio.wait_for(napping(fragile, 4), 20)
    kill_at_once(fragile.engine)
    results = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), 20)
    assert {type(result) for result in results} == {Unavailable}


async def test_a_pool_closes_quietly_when_postgresql_is_gone_already(fragile: Pools) -> None:
    pool = fragile.make(2)
    holders = [Held(pool), Held(pool)]
    for holder in holders:
        await holder.has.wait()
    kill_at_once(fragile.engine)
    for holder in holders:
        await holder.let_go()
    await pool.close()
