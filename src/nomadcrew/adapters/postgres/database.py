"""The SQL port on asyncpg, with a small LIFO pool of our own.

asyncpg's pool wraps connections in proxies and sends a reset query on every release, a second round trip. Here a
connection goes back untouched after success and is thrown away after anything else, which protects as well.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

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
    asyncpg.InternalClientError,  # what asyncpg says when its server dies in the middle of an answer
)

_transaction: ContextVar[Connection | None] = ContextVar("transaction", default=None)


class Database:
    """`Sql` on a PostgreSQL reached by `connect_kwargs`, as `asyncpg.connect` takes them."""

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
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.on_statement = on_statement

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        arguments = [params[name] for name in statement.params]
        if self.on_statement is not None:
            self.on_statement(statement.name)
        current = _transaction.get()
        if current is not None:
            return await _run(current, statement, arguments)
        async with self.connection() as connection:
            return await _run(connection, statement, arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        if _transaction.get() is not None:
            raise RuntimeError("a transaction is open in this task already")
        async with self.connection() as connection:
            try:
                await connection.execute("BEGIN")
                token = _transaction.set(connection)
                try:
                    yield
                finally:
                    _transaction.reset(token)
                await connection.execute("COMMIT")
            except OUTAGES as error:
                raise Unavailable(details=type(error).__name__) from error

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of one's own; it is discarded unless the block ends well.

        Raises:
            Unavailable: none could be had in time.
        """
        connection = await self._acquire()
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        finally:
            self._release(connection)

    async def close(self) -> None:
        """Close idle connections; call when nothing is running any more."""
        while self._idle:
            connection = self._idle.pop()
            self._open -= 1
            await connection.close(timeout=2)

    async def _acquire(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._open -= 1
        if self._open >= self._size:
            await self._wait()
            return await self._acquire()
        self._open += 1
        try:
            return await asyncpg.connect(**self._connect_kwargs)
        except OUTAGES as error:
            self._freed()
            raise Unavailable(details=type(error).__name__) from error
        except BaseException:
            self._freed()
            raise

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn, ACQUIRE_TIMEOUT_S)
        except TimeoutError:
            raise Unavailable("The database is busy. Try again in a moment.", code="busy") from None
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def _release(self, connection: Connection) -> None:
        if connection.is_closed():
            self._freed()
        else:
            self._idle.append(connection)
            self._next()

    def _freed(self) -> None:
        self._open -= 1
        self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return


async def _run(
    connection: Connection, statement: Statement, arguments: list[object]
) -> Sequence[Row]:
    try:
        rows: Sequence[Row] = await connection.fetch(statement.text, *arguments)
    except asyncpg.UniqueViolationError as error:
        raise Duplicate(error.constraint_name or "") from error
    except (*OUTAGES, asyncpg.InterfaceError) as error:
        if isinstance(error, asyncpg.InterfaceError) and not connection.is_closed():
            raise
        raise Unavailable(details=type(error).__name__) from error
    return rows
