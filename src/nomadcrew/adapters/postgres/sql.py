"""Named statements from files, and the port that runs them.

A file in `statements/` has statements, each after a line `-- name: create_todo`, with parameters such as
`:trip_id`, which are cast at each use. They are compiled once, to numbered parameters.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from nomadcrew.core.access import Access, Command
from nomadcrew.core.pages import After

_encode = msgspec.json.Encoder().encode
# `importlib.resources` would add six milliseconds to a function's cold start.
_FILES = Path(__file__).with_name("statements")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
# Skips quoted text, comments and the second colon of a cast.
_TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|(?<!:):([a-z][a-z0-9_]*)")


class Row(Protocol):
    """A row of a result; columns by name."""

    def __getitem__(self, name: str, /) -> Any: ...


class Statement(Struct, frozen=True):
    """SQL with `$n` in the order of `params`; `named` still has `:name`, for drivers that accept it."""

    name: str
    text: str
    params: tuple[str, ...]
    named: str = ""


class Sql(Protocol):
    """Runs statements: alone, each in its own transaction, or several in one.

    Raises `Unavailable` for an outage and `Duplicate` for a unique violation; any other driver error is a bug.
    """

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        """The rows of a statement, which is part of the surrounding `transaction()` if there is one."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """One transaction for the statements of the current task inside the block; an exception rolls it back."""
        ...

    def in_transaction(self) -> bool:
        """True if the current task is inside a `transaction()`."""
        ...


class Duplicate(Exception):
    """A unique constraint refused a row."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


def gate(access: Access) -> dict[str, object]:
    """The parameters of a statement that joins `trip_gate`: trip, caller, and the rank that the rule demands."""
    return {"trip_id": access.trip_id, "caller": access.caller, "min_rank": access.rule.min_rank}


def command_row(command: Command) -> dict[str, object]:
    """The columns of a command in a batch, whose statement joins `trip_gate` for each row."""
    return {**gate(command), "own": command.rule.own, "event_id": command.event_id, "now": command.now}


def after_columns(after: After | None) -> dict[str, object]:
    """The parameters of a statement that lists a page below `after`."""
    return {"after_at": None, "after_id": None} if after is None else {"after_at": after.at, "after_id": after.id}


def json_param(value: object) -> str:
    """A `jsonb` parameter of a value with ids and aware times as they are."""
    return _encode(value).decode()


def compile_statement(name: str, text: str) -> Statement:
    """`text` without comments, its `:name` parameters numbered."""
    params: list[str] = []

    def number(match: re.Match[str]) -> str:
        param = match[1]
        if param is None:
            return "" if match[0].startswith("--") else match[0]
        if param not in params:
            params.append(param)
        return f"${params.index(param) + 1}"

    numbered = _TOKEN.sub(number, text).strip().rstrip(";")
    named = _TOKEN.sub(lambda match: "" if match[0].startswith("--") else match[0], text).strip().rstrip(";")
    return Statement(name, numbered, tuple(params), named)


@cache
def statements(feature: str) -> dict[str, Statement]:
    """The statements of `statements/<feature>.sql`, by name.

    Raises:
        ValueError: two statements share a name.
    """
    text = (_FILES / f"{feature}.sql").read_text()
    parts = _NAME.split(text)
    names = parts[1::2]
    if len(names) != len(set(names)):
        raise ValueError(f"{feature}.sql: a statement name is used twice")
    return {name: compile_statement(name, body) for name, body in zip(names, parts[2::2], strict=True)}
