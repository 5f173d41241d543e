"""The RDS Data API on a real PostgreSQL, inside the emulator.

The emulator's own implementation inserts parameters into the text, returns no column types and blocks the whole
emulator while a statement waits. This one binds parameters, acts as the user of the secret, and replies as the
service documents.
"""

import base64
import hashlib
import hmac
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
    """Serves the Data API. `target` finds a cluster's address and credentials, or raises `Refused`.

    `target(resource_arn, secret_arn)` returns arguments for `asyncpg.connect`. With `login`, a name and a password,
    the connection acts as that user instead, if the password is right.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._idle: dict[str, list[Any]] = {}
        self._transactions: dict[str, _Transaction] = {}

    async def handle_request(
        self, _method: str, path: str, _headers: dict[str, str], body: bytes, _query: dict[str, Any]
    ) -> Reply:
        """One request, with the signature of the emulator's services."""
        request = json.loads(body or b"{}")
        operations = {
            "/Execute": self._execute,
            "/BeginTransaction": self._begin,
            "/CommitTransaction": self._commit,
            "/RollbackTransaction": self._roll_back,
        }
        try:
            status, answer = 200, await operations[path](request)
        except Refused as error:
            status, answer = error.status, {"__type": error.code, "message": str(error)}
        return (
            status,
            {"Content-Type": "application/json", "x-amzn-errortype": answer.get("__type", "")},
            _json(answer),
        )

    async def _execute(self, request: dict[str, Any]) -> dict[str, Any]:
        id_ = request.get("transactionId")
        if id_ is not None:
            transaction = self._transaction(id_)
            transaction.used_s = time.monotonic()
            return await _run(transaction.connection, request)
        cluster, connection = await self._connection(request)
        try:
            answer = await _run(connection, request)
        except BaseException:
            connection.terminate()
            raise
        self._idle.setdefault(cluster, []).append(connection)
        return answer

    async def _begin(self, request: dict[str, Any]) -> dict[str, Any]:
        await self._end_idle()
        cluster, connection = await self._connection(request)
        try:
            await connection.execute("BEGIN")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            connection.terminate()
            raise _refusal(error) from error
        id_ = uuid.uuid4().hex
        self._transactions[id_] = _Transaction(connection, cluster)
        return {"transactionId": id_}

    async def _commit(self, request: dict[str, Any]) -> dict[str, Any]:
        return await self._end(request, "COMMIT", "Transaction Committed")

    async def _roll_back(self, request: dict[str, Any]) -> dict[str, Any]:
        return await self._end(request, "ROLLBACK", "Transaction Rolled Back")

    async def _end(self, request: dict[str, Any], command: str, status: str) -> dict[str, Any]:
        transaction = self._transaction(request.get("transactionId"))
        del self._transactions[request["transactionId"]]
        try:
            done = await transaction.connection.execute(command)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            transaction.connection.terminate()
            raise _refusal(error) from error
        self._idle.setdefault(transaction.cluster, []).append(transaction.connection)
        if done != command:
            raise Refused("DatabaseErrorException", "the transaction had failed and was rolled back")
        return {"transactionStatus": status}

    def _transaction(self, id_: Any) -> _Transaction:
        try:
            return self._transactions[id_]
        except KeyError:
            raise Refused("TransactionNotFoundException", f"Transaction {id_} is not found", 404) from None

    async def _connection(self, request: dict[str, Any]) -> tuple[str, Any]:
        address = self._target(request.get("resourceArn"), request.get("secretArn"))
        address["database"] = request.get("database") or address.get("database")
        login = address.pop("login", None)
        user = "" if login is None else login[0]
        cluster = f"{user}@{address['host']}:{address['port']}/{address['database']}"
        idle = self._idle.setdefault(cluster, [])
        while idle:
            connection = idle.pop()
            if not connection.is_closed():
                return cluster, connection
        try:
            connection = await asyncpg.connect(**address, timeout=5, server_settings={"timezone": "UTC"})
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Refused(
                "DatabaseUnavailableException", f"the database cannot be reached: {error}", 504
            ) from error
        if login is not None:
            await _log_in(connection, *login)
        return cluster, connection

    async def _end_idle(self) -> None:
        """Roll back transactions that were idle for three minutes, as the service does."""
        for id_, transaction in list(self._transactions.items()):
            if time.monotonic() - transaction.used_s > IDLE_S:
                del self._transactions[id_]
                transaction.connection.terminate()


async def _log_in(connection: Any, user: str, password: str) -> None:
    """Act as another user. The server itself trusts this process, so the password is checked here."""
    verifier = await connection.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", user)
    if verifier is None or not _is_password(verifier, password):
        await connection.close()
        raise Refused(
            "DatabaseErrorException", f'FATAL: password authentication failed for user "{user}"; SQLState: 28P01'
        )
    await connection.execute('SET SESSION AUTHORIZATION "{}"'.format(user.replace('"', '""')))


def _is_password(verifier: str, password: str) -> bool:
    """True if PostgreSQL's verifier, `SCRAM-SHA-256$rounds:salt$stored:server`, is that of the password."""
    _, parameters, keys = verifier.split("$")
    rounds, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", hashlib.sha256)).digest()
    return base64.b64encode(stored).decode() == keys.split(":")[0]


async def _run(connection: Any, request: dict[str, Any]) -> dict[str, Any]:
    sql, arguments = _bound(request["sql"], request.get("parameters") or ())
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
    if request.get("includeResultMetadata"):
        answer["columnMetadata"] = columns
    return answer


def _bound(sql: str, parameters: Any) -> tuple[str, list[Any]]:
    """The text with numbered parameters, each cast to the type of its field, and their values."""
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
            return {"arrayValue": {"stringValues": [str(item) for item in value]}}
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
