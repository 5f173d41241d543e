"""Fixtures: backends in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.postgres import Postgres
from tests.world import World, world


@pytest_asyncio.fixture(loop_scope="session")
async def here(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    """A backend with its own database."""
    async with world(postgres, tmp_path, template=template) as made:
        yield made
