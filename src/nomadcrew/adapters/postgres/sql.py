"""Named statements from files, and the connection port that carries them.

A file in `statements/` holds statements after lines `-- name: create_todo`, with parameters `:trip_id` that are
cast where they stand. They are compiled once, to numbered parameters.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

# `importlib.resources` would do as well, and costs a function's cold start six milliseconds.
_FILES = Path(__file__).with_name("statements")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
# Quoted text and comments are passed over; a cast's second colon is no parameter.
_TOKEN = re.compile(r"'(?:[^']|'')*'|--[^\n]*|(?<!:):([a-z][a-z0-9_]*)")


class Row(Protocol):
    """A row of a reply; columns by name."""

    def __getitem__(self, name: str, /) -> Any: ...


class Statement(Struct, frozen=True):
    """SQL with `$n` in the order of `params`; in `named` they are still `:name`, for drivers that take them so."""

    name: str
    text: str
    params: tuple[str, ...]
    named: str = ""


class Sql(Protocol):
    """Runs statements: alone, each its own transaction, or several in one.

    Raises `Unavailable` for an outage; what else a driver raises is a bug, but for unique violations, which come as
    `Duplicate` with the constraint's name.
    """

    async def fetch(self, statement: Statement, /, **params: object) -> Sequence[Row]:
        """The rows of a statement; in the surrounding `transaction()` where there is one."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Makes what the current task runs inside it one transaction; an exception undoes it."""
        ...

    def in_transaction(self) -> bool:
        """Whether the current task is inside a `transaction()`."""
        ...


class Duplicate(Exception):
    """A unique constraint refused a row."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


def compile_statement(name: str, text: str) -> Statement:
    """`text` with `:name` parameters as numbered ones, comments left out."""
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
        raise ValueError(f"{feature}.sql: a statement's name is used twice")
    return {name: compile_statement(name, body) for name, body in zip(names, parts[2::2], strict=True)}
