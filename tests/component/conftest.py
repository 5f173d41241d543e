"""Fixtures: backends in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.engine import Engine
from tests.world import World, world


@pytest_asyncio.fixture(loop_scope="session")
async def here(engine: Engine, template: str, tmp_path: Path) -> AsyncIterator[World]:
    """A backend with its own database."""
    async with world(engine, tmp_path, template=template) as made:
        yield made
