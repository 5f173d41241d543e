"""Event loops of Lambda entries. In a test module: `from tests.lambda_loops import close_lambda_loops`."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def close_lambda_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the loops that live as long as the environment in Lambda."""
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def record_new_loop() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", record_new_loop)
    yield
    for loop in made:
        loop.close()
