"""The examples of the API document are requests that succeed now, and replies that they get now."""

from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.api import examples
from nomadcrew.web.openapi import Examples
from tests.component.examples import backends, recorded
from tests.postgres import Postgres

RECORD = "run `python -m tests.component.examples`"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def now(postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Examples:
    async with backends(postgres, tmp_path_factory.mktemp("examples"), template) as here:
        return await recorded(here)


def shape(value: Any) -> Any:
    """The names and types of JSON, without its values."""
    if isinstance(value, dict):
        return {name: shape(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return sorted({repr(shape(inner)) for inner in value})
    return "number" if type(value) in (int, float) else type(value).__name__


def changed(stored: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [key for key in sorted(stored | now) if shape(stored.get(key)) != shape(now.get(key))]


async def test_bodies_are_those_that_succeed(now: Examples) -> None:
    assert changed(examples.load().bodies, now.bodies) == [], RECORD


async def test_replies_are_those_that_clients_get(now: Examples) -> None:
    assert changed(examples.load().replies, now.replies) == [], RECORD


async def test_refusals_are_those_that_clients_get(now: Examples) -> None:
    assert changed(examples.load().refusals, now.refusals) == [], RECORD
