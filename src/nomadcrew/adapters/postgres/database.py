"""The SQL port on asyncpg, with our own small LIFO pool.

asyncpg's pool wraps connections in proxies and sends a reset query on every release, a second round trip. This pool
reuses a connection as it is after success and discards it after any error, which is as safe.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

import asyncpg

from nomadcrew.adapters.postgres.sql import Duplicate, Row, Statement
from nomadcrew.core.errors import Unavailable

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection  # generic in its stubs only

ACQUIRE_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 10.0
OUTAGES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash recovery, cancelled by a timeout
    asyncpg.InsufficientResourcesError,  # disk full, too many connections, out of memory
    asyncpg.TransactionRollbackError,  # deadlock, serialisation: safe to send again
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,  # raised if the server dies while it answers
)


class _Transaction:
    """A task's open transaction; `connection` is None once it is over, also for tasks started inside it."""

    __slots__ = ("connection", "database")

    def __init__(self, database: "Database", connection: Connection) -> None:
        self.database = database
        self.connection: Connection | None = connection


_transaction: ContextVar[_Transaction | None] = ContextVar("transaction", default=None)


class Database:
    """`Sql` on a PostgreSQL; `connect_kwargs` are those of `asyncpg.connect`."""

    def __init__(
        self,
        connect_kwargs: Mapping[str, Any],
        *,
        size: int = 8,
        on_statement: Callable[[str], None] | None = None,
    ) -> None:
        self._connect_kwargs = {
            "timeout": ACQUIRE_TIMEOUT_S,
            "command_timeout": STATEMENT_TIMEOUT_S,
            "statement_cache_size": 512,
            **connect_kwargs,
        }
        self._size = size
        self._open = 0
        self._idle: list[Connection] = []
        # A waiting task gets a connection, or None as permission to open one, so that no later task overtakes it.
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self.on_statement = on_statement

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        arguments = [params[name] for name in statement.params]
        if self.on_statement is not None:
            self.on_statement(statement.name)
        current = self._current()
        if current is not None:
            return await _run(current, statement, arguments)
        # As in `connection`, whose generator would add a tenth to the time of a short statement.
        connection = await self._acquire()
        try:
            return await _run(connection, statement, arguments)
        except BaseException:
            connection.terminate()
            raise
        finally:
            self._release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        if self._current() is not None:
            raise RuntimeError("this task has an open transaction already")
        async with self.connection() as connection:
            try:
                await connection.execute("BEGIN")
                transaction = _Transaction(self, connection)
                token = _transaction.set(transaction)
                try:
                    yield
                finally:
                    transaction.connection = None
                    _transaction.reset(token)
                if await connection.execute("COMMIT") != "COMMIT":
                    raise RuntimeError("a statement of the transaction failed, so it was rolled back")
            except (*OUTAGES, asyncpg.InterfaceError) as error:
                _raise_unless_outage(connection, error)

    def in_transaction(self) -> bool:
        return self._current() is not None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for exclusive use; discarded if the block raises.

        Raises:
            Unavailable: none was available in time.
        """
        connection = await self._acquire()
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        finally:
            self._release(connection)

    def long_timeout(self) -> "Database":
        """A pool of one connection without a statement timeout, for work that takes longer than a request."""
        return Database({**self._connect_kwargs, "command_timeout": None}, size=1)

    async def close(self) -> None:
        """Close idle connections; call when no statement is running."""
        while self._idle:
            connection = self._idle.pop()
            self._open -= 1
            # A broken connection counts as closed.
            with suppress(*OUTAGES, asyncpg.InterfaceError):
                await connection.close(timeout=2)

    def _current(self) -> Connection | None:
        """The connection of this task's transaction on this database, if there is one."""
        transaction = _transaction.get()
        return transaction.connection if transaction is not None and transaction.database is self else None

    async def _acquire(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._open -= 1
        if self._open >= self._size:
            handed = await self._wait()
            if handed is not None and not handed.is_closed():
                return handed
        else:
            self._open += 1
        try:
            return await asyncpg.connect(**self._connect_kwargs)
        except OUTAGES as error:
            self._pass_on(None)
            raise Unavailable(details=type(error).__name__) from error
        except BaseException:
            self._pass_on(None)
            raise

    async def _wait(self) -> Connection | None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting.append(turn)
        # A quarter of the cost of `asyncio.timeout`, and under load every request waits.
        timer = loop.call_later(ACQUIRE_TIMEOUT_S, _time_out, turn)
        try:
            return await turn
        except BaseException as error:
            # Cancelled just after its turn came: pass the turn on.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            if isinstance(error, TimeoutError):
                raise Unavailable("The database is busy. Try again shortly.", code="busy") from None
            raise
        finally:
            timer.cancel()

    def _release(self, connection: Connection) -> None:
        self._pass_on(None if connection.is_closed() else connection)

    def _pass_on(self, connection: Connection | None) -> None:
        """Pass a connection, or the slot of a closed one, to the longest-waiting task; else keep it."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if connection is None:
            self._open -= 1
        else:
            self._idle.append(connection)


def _time_out(turn: "asyncio.Future[Connection | None]") -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())


async def _run(connection: Connection, statement: Statement, arguments: list[object]) -> Sequence[Row]:
    try:
        rows: Sequence[Row] = await connection.fetch(statement.text, *arguments)
    except asyncpg.UniqueViolationError as error:
        raise Duplicate(error.constraint_name or "") from error
    except (*OUTAGES, asyncpg.InterfaceError) as error:
        _raise_unless_outage(connection, error)
    return rows


def _raise_unless_outage(connection: Connection, error: Exception) -> NoReturn:
    """Raise `error` as an outage. An InterfaceError on an open connection is a bug, on a closed one an outage."""
    if isinstance(error, asyncpg.InterfaceError) and not connection.is_closed():
        raise error
    raise Unavailable(details=type(error).__name__) from error
