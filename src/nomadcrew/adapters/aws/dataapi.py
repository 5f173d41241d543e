"""The SQL port on the RDS Data API: HTTPS and IAM, without connections, so functions need no VPC.

A call runs one statement, has no array parameters, and returns at most 1 MiB, or 64 KB per row.
"""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.postgres.sql import Duplicate, Row, Statement
from nomadcrew.core.errors import Unavailable

# A slower statement waits for a lock or has a bad plan.
STATEMENT_TIMEOUT_S = 10.0
# The service itself ends a statement after 45 s.
PATIENT_TIMEOUT_S = 60.0
PATIENT_RESUME_S = 120.0
RESUME_WAIT_S = 0.5
_STATE = re.compile(r"SQLState: (\w{5})")
_CONSTRAINT = re.compile(r'constraint "([^"]+)"')
# Transient SQLSTATE classes: connections, deadlocks, resources, operators; and lock timeouts.
_OUTAGE = re.compile(r"08|40|53|57|55P03|25006")
_OUTAGE_CODES = frozenset(
    {
        "DatabaseUnavailableException",
        "InternalServerErrorException",
        "ServiceUnavailableError",
        "StatementTimeoutException",
        "TransactionNotFoundException",
    }
)
_RESUMING = "DatabaseResumingException"


class Cluster(Struct, frozen=True):
    """A database, and the secret with its user's password."""

    arn: str
    secret_arn: str
    database: str


class _Transaction:
    """A task's open transaction; `id` is None once it is over, also for tasks started inside it."""

    __slots__ = ("id", "sql")

    def __init__(self, sql: "DataApi", id_: str) -> None:
        self.sql = sql
        self.id: str | None = id_


_transaction: ContextVar[_Transaction | None] = ContextVar("data_api_transaction", default=None)


class DataApi:
    """`Sql` over a client of `RDS_DATA`.

    A paused cluster is waited for up to `resume_s` seconds, which must be less than the caller's own timeout.
    """

    def __init__(
        self,
        client: AwsClient,
        cluster: Cluster,
        *,
        resume_s: float = 6.0,
        timeout_s: float = STATEMENT_TIMEOUT_S,
        on_statement: Callable[[str], None] | None = None,
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._timeout_s = timeout_s
        self._cluster_params = {"resourceArn": cluster.arn, "secretArn": cluster.secret_arn}
        self._database = {"database": cluster.database}
        self._resume_s = resume_s
        self.on_statement = on_statement

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        if self.on_statement is not None:
            self.on_statement(statement.name)
        transaction_id = self._current()
        body: dict[str, Any] = {
            **self._cluster_params,
            **self._database,
            "sql": statement.named,
            "parameters": [{"name": name, "value": _field(params[name])} for name in statement.params],
            "includeResultMetadata": True,
        }
        if transaction_id is not None:
            body["transactionId"] = transaction_id
        return _rows(await self._ask("/Execute", body))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        if self._current() is not None:
            raise RuntimeError("this task has an open transaction already")
        begun = await self._ask("/BeginTransaction", {**self._cluster_params, **self._database})
        transaction = _Transaction(self, begun["transactionId"])
        ended = {**self._cluster_params, "transactionId": transaction.id}
        token = _transaction.set(transaction)
        try:
            yield
        except BaseException:
            with suppress(Exception):
                # If this fails, the service rolls back after three minutes.
                await self._ask("/RollbackTransaction", ended)
            raise
        finally:
            transaction.id = None
            _transaction.reset(token)
        await self._ask("/CommitTransaction", ended)

    def in_transaction(self) -> bool:
        return self._current() is not None

    def long_timeout(self) -> "DataApi":
        """The same database with longer timeouts, for work that takes longer than a request."""
        return DataApi(self._client, self._cluster, resume_s=PATIENT_RESUME_S, timeout_s=PATIENT_TIMEOUT_S)

    def _current(self) -> str | None:
        """The id of this task's transaction on this database, if there is one."""
        current = _transaction.get()
        return current.id if current is not None and current.sql is self else None

    async def _ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        until_s = time.monotonic() + self._resume_s
        while True:
            try:
                answer, _ = await self._client.request(
                    "POST", path, body, timeout_s=self._timeout_s, repeatable=path == "/RollbackTransaction"
                )
                return msgspec.json.decode(answer, type=dict[str, Any])
            except AwsError as error:
                if error.code != _RESUMING or time.monotonic() > until_s:
                    raise _translated(error) from error
            await asyncio.sleep(RESUME_WAIT_S)


def _translated(error: AwsError) -> Exception:
    """The exception for an error of the Data API."""
    state = _STATE.search(error.message)
    if state is not None and state[1] == "23505":
        constraint = _CONSTRAINT.search(error.message)
        return Duplicate(constraint[1] if constraint else "")
    if error.code == _RESUMING or error.code in _OUTAGE_CODES or (state and _OUTAGE.match(state[1])):
        return Unavailable(details=error.code)
    return error


def _field(value: object) -> dict[str, Any]:
    """A parameter. Statements cast every parameter, so types without a kind of their own are sent as text."""
    match value:
        case None:
            return {"isNull": True}
        case bool():
            return {"booleanValue": value}
        case int():
            return {"longValue": value}
        case float():
            return {"doubleValue": value}
        case bytes():
            return {"blobValue": base64.b64encode(value).decode()}
        case datetime() | date():
            return {"stringValue": value.isoformat()}
        case _:
            return {"stringValue": str(value)}


def _rows(answer: Mapping[str, Any]) -> list[Row]:
    columns = [
        (column["label"], _DECODERS.get(column["typeName"])) for column in answer.get("columnMetadata") or ()
    ]
    return [
        {name: _value(field, decode) for (name, decode), field in zip(columns, record, strict=True)}
        for record in answer.get("records") or ()
    ]


def _value(field: Mapping[str, Any], decode: Callable[[str], Any] | None) -> Any:
    if field.get("isNull"):
        return None
    [(kind, value)] = field.items()
    if kind == "blobValue":
        return base64.b64decode(value)
    return value if decode is None else decode(value)


def _moment(text: str) -> datetime:
    """The service returns times in the session's zone, UTC, without the zone."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


_DECODERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"uuid": UUID, "timestamptz": _moment, "date": date.fromisoformat}
)
