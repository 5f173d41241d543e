"""A fake of the part of Supabase's REST API that the mirror uses, on a local port.

It has tables with keys and foreign keys, and upserts and filtered deletes like PostgREST.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.local_service import serve

SERVICE_KEY = "service-key-of-a-project-of-tests-only"
Row = dict[str, Any]

KEYS = {"users": ("id",), "trips": ("id",), "trip_memberships": ("trip_id", "user_id"), "locations": ("id",)}
COLUMNS = {
    "users": {"id", "supabase_id", "email", "username"},
    "trips": {
        "id", "name", "created_by", "start_date", "end_date", "destination_latitude", "destination_longitude",
    },
    "trip_memberships": {"trip_id", "user_id", "role", "status"},
    "locations": {
        "id", "trip_id", "user_id", "latitude", "longitude", "accuracy", "timestamp", "is_sharing_enabled",
        "sharing_expires_at", "privacy", "updated_at",
    },
}  # fmt: skip
# Foreign keys: the table that each column refers to.
REFERENCES = {
    "trips": {"created_by": "users"},
    "trip_memberships": {"trip_id": "trips", "user_id": "users"},
    "locations": {"trip_id": "trips", "user_id": "users"},
}


class Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


@dataclass
class Project:
    """The rows by table and key, and simulated errors."""

    url: str = ""
    tables: dict[str, dict[tuple[Any, ...], Row]] = field(default_factory=lambda: {name: {} for name in KEYS})
    statuses: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    updates: list[Row] = field(default_factory=list)  # as a map that follows the table gets them
    delay_s: float = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rows(self, table: str) -> list[Row]:
        return sorted(self.tables[table].values(), key=lambda row: tuple(str(row[key]) for key in KEYS[table]))

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        with self.lock:
            self.requests.append(f"{method} {target}")
            time.sleep(self.delay_s)
            try:
                return self._answer(method, target, headers, body), b""
            except Refused as refused:
                return refused.status, json.dumps({"code": refused.code, "message": "refused"}).encode()

    def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> int:
        if self.statuses:
            raise Refused(self.statuses.pop(0), "PGRST000")
        if headers.get("apikey") != SERVICE_KEY or headers.get("authorization") != f"Bearer {SERVICE_KEY}":
            raise Refused(401, "PGRST301")
        parts = urlsplit(target)
        table = parts.path.removeprefix("/rest/v1/")
        if table not in KEYS:
            raise Refused(404, "PGRST205")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if method == "POST":
            self._upsert(table, query, headers.get("prefer", ""), json.loads(body))
            return 201
        if method == "PATCH":
            self._update(table, query, json.loads(body))
            return 204
        if method == "DELETE":
            self._delete(table, query)
            return 204
        raise Refused(405, "PGRST117")

    def _upsert(self, table: str, query: dict[str, str], prefer: str, rows: list[Row]) -> None:
        if "resolution=merge-duplicates" not in prefer or query.get("on_conflict") != ",".join(KEYS[table]):
            raise Refused(409, "23505")
        for row in rows:
            if set(row) != COLUMNS[table]:
                raise Refused(400, "PGRST204")
            for column, referenced in REFERENCES.get(table, {}).items():
                if row[column] is not None and (row[column],) not in self.tables[referenced]:
                    raise Refused(409, "23503")
        for row in rows:
            self.tables[table][tuple(row[key] for key in KEYS[table])] = row

    def _update(self, table: str, query: dict[str, str], change: Row) -> None:
        if not set(change) <= COLUMNS[table]:
            raise Refused(400, "PGRST204")
        for key in self._matching(table, query):
            self.tables[table][key] = self.tables[table][key] | change
            self.updates.append(self.tables[table][key])

    def _matching(self, table: str, query: dict[str, str]) -> list[tuple[Any, ...]]:
        if not query:
            raise Refused(400, "21000")  # like a project that forbids writes without a filter
        return [
            key for key, row in self.tables[table].items()
            if all(_holds(str(row[column]), wanted) for column, wanted in query.items())
        ]  # fmt: skip

    def _delete(self, table: str, query: dict[str, str]) -> None:
        for key in self._matching(table, query):
            referring = [*self.tables["trip_memberships"].values(), *self.tables["locations"].values()]
            if table == "trips" and any(row["trip_id"] == key[0] for row in referring):
                raise Refused(409, "23503")
            users = [row["user_id"] for row in referring] + [
                row["created_by"] for row in self.tables["trips"].values()
            ]
            if table == "users" and key[0] in users:
                raise Refused(409, "23503")
            del self.tables[table][key]


def _holds(value: str, wanted: str) -> bool:
    """True if a value matches a PostgREST filter."""
    operator, _, operand = wanted.partition(".")
    if operator == "not":
        return not _holds(value, operand)
    if operator == "eq":
        return value == operand
    if operator == "in":
        return value in operand.removeprefix("(").removesuffix(")").split(",")
    raise Refused(400, "PGRST100")


@contextmanager
def supabase() -> Iterator[Project]:
    """Run a project during the block."""
    project = Project()
    with serve(project.answer) as project.url:
        yield project
