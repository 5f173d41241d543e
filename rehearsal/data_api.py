"""The RDS Data API in front of a real PostgreSQL, inside the emulator.

The emulator's own puts parameters into the text, names no column's type and stops the whole emulator while a
statement waits. This one binds parameters as the service documents, and answers in its forms.
"""

import base64
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

MAX_ROW_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 1024 * 1024
IDLE_S = 180.0
_TOKEN = re.compile(r"'(?:[^']|'')*'|(?<!:):([A-Za-z_]\w*)")

Reply = tuple[int, dict[str, str], bytes]


class Refused(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class _Transaction:
    connection: Any
    cluster: str
    used_s: float = field(default_factory=time.monotonic)


class DataApi:
    """Answers the service's requests. `target` finds a cluster's address and credentials, or refuses.

    `target(resource_arn, secret_arn)` returns arguments for `asyncpg.connect`.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._idle: dict[str, list[Any]] = {}
        self._transactions: dict[str, _Transaction] = {}

    async def handle_request(
        self, _method: str, path: str, _headers: dict[str, str], body: bytes, _query: dict[str, Any]
    ) -> Reply:
        """One request, in the form the emulator's services have."""
        asked = json.loads(body or b"{}")
        operations = {
            "/Execute": self._execute,
            "/BeginTransaction": self._begin,
            "/CommitTransaction": self._commit,
            "/RollbackTransaction": self._roll_back,
        }
        try:
            status, answer = 200, await operations[path](asked)
        except Refused as error:
            status, answer = error.status, {"__type": error.code, "message": str(error)}
        return (
            status,
            {"Content-Type": "application/json", "x-amzn-errortype": answer.get("__type", "")},
            _json(answer),
        )

    async def _execute(self, asked: dict[str, Any]) -> dict[str, Any]:
        id_ = asked.get("transactionId")
        if id_ is not None:
            transaction = self._transaction(id_)
            transaction.used_s = time.monotonic()
            return await _run(transaction.connection, asked)
        cluster, connection = await self._connection(asked)
        try:
            answer = await _run(connection, asked)
        except BaseException:
            connection.terminate()
            raise
        self._idle.setdefault(cluster, []).append(connection)
        return answer

    async def _begin(self, asked: dict[str, Any]) -> dict[str, Any]:
        await self._end_idle()
        cluster, connection = await self._connection(asked)
        try:
            await connection.execute("BEGIN")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            connection.terminate()
            raise _refusal(error) from error
        id_ = uuid.uuid4().hex
        self._transactions[id_] = _Transaction(connection, cluster)
        return {"transactionId": id_}

    async def _commit(self, asked: dict[str, Any]) -> dict[str, Any]:
        return await self._end(asked, "COMMIT", "Transaction Committed")

    async def _roll_back(self, asked: dict[str, Any]) -> dict[str, Any]:
        return await self._end(asked, "ROLLBACK", "Transaction Rolled Back")

    async def _end(self, asked: dict[str, Any], how: str, status: str) -> dict[str, Any]:
        transaction = self._transaction(asked.get("transactionId"))
        del self._transactions[asked["transactionId"]]
        try:
            done = await transaction.connection.execute(how)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            transaction.connection.terminate()
            raise _refusal(error) from error
        self._idle.setdefault(transaction.cluster, []).append(transaction.connection)
        if done != how:
            raise Refused("DatabaseErrorException", "the transaction had failed and was rolled back")
        return {"transactionStatus": status}

    def _transaction(self, id_: Any) -> _Transaction:
        try:
            return self._transactions[id_]
        except KeyError:
            raise Refused("TransactionNotFoundException", f"Transaction {id_} is not found", 404) from None

    async def _connection(self, asked: dict[str, Any]) -> tuple[str, Any]:
        address = self._target(asked.get("resourceArn"), asked.get("secretArn"))
        address["database"] = asked.get("database") or address.get("database")
        cluster = f"{address['host']}:{address['port']}/{address['database']}"
        idle = self._idle.setdefault(cluster, [])
        while idle:
            connection = idle.pop()
            if not connection.is_closed():
                return cluster, connection
        try:
            made = await asyncpg.connect(**address, timeout=5, server_settings={"timezone": "UTC"})
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Refused(
                "DatabaseUnavailableException", f"the database cannot be reached: {error}", 504
            ) from error
        return cluster, made

    async def _end_idle(self) -> None:
        """Roll back what has been left alone for three minutes, as the service does."""
        for id_, transaction in list(self._transactions.items()):
            if time.monotonic() - transaction.used_s > IDLE_S:
                del self._transactions[id_]
                transaction.connection.terminate()


async def _run(connection: Any, asked: dict[str, Any]) -> dict[str, Any]:
    sql, arguments = _bound(asked["sql"], asked.get("parameters") or ())
    try:
        statement = await connection.prepare(sql)
        records = await statement.fetch(*arguments)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _refusal(error) from error
    columns = [
        {"label": c.name, "name": c.name, "typeName": _type_name(c.type), "nullable": 1}
        for c in statement.get_attributes()
    ]
    rows = [[_out(value) for value in record] for record in records]
    if any(len(_json(row)) > MAX_ROW_BYTES for row in rows) or len(_json(rows)) > MAX_ANSWER_BYTES:
        raise Refused("UnsupportedResultException", "Database returned more than the allowed response size limit")
    answer: dict[str, Any] = {"numberOfRecordsUpdated": 0, "records": rows}
    if asked.get("includeResultMetadata"):
        answer["columnMetadata"] = columns
    return answer


def _bound(sql: str, parameters: Any) -> tuple[str, list[Any]]:
    """The text with numbered parameters, each of the kind its field says, and their values."""
    given = {parameter["name"]: _in(parameter["value"]) for parameter in parameters}
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return match[0]
        if name not in given:
            raise Refused("BadRequestException", f"Cannot find parameter: {name}")
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}::{given[name][0]}"

    text = _TOKEN.sub(number, sql)
    return text, [given[name][1] for name in names]


def _in(value: dict[str, Any]) -> tuple[str, Any]:
    [(kind, given)] = value.items()
    match kind:
        case "isNull":
            return "text", None
        case "blobValue":
            return "bytea", base64.b64decode(given)
        case "booleanValue":
            return "boolean", given
        case "longValue":
            return "bigint", given
        case "doubleValue":
            return "double precision", given
        case "stringValue":
            return "text", given
    raise Refused("BadRequestException", f"unsupported parameter of kind {kind}")


def _out(value: Any) -> dict[str, Any]:
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
        case datetime():
            return {"stringValue": value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")}
        case date():
            return {"stringValue": value.isoformat()}
        case list():
            return {"arrayValue": {"stringValues": [str(one) for one in value]}}
    return {"stringValue": str(value)}


def _type_name(type_: Any) -> str:
    return f"_{type_.name[:-2]}" if type_.name.endswith("[]") else str(type_.name)


def _refusal(error: Exception) -> Refused:
    if isinstance(error, asyncpg.QueryCanceledError):
        return Refused("StatementTimeoutException", f"ERROR: {error}")
    state = getattr(error, "sqlstate", None)
    if state is None or isinstance(error, asyncpg.InterfaceError):
        return Refused("DatabaseUnavailableException", f"the connection was lost: {error}", 504)
    return Refused("DatabaseErrorException", f"ERROR: {error}; SQLState: {state}")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
