"""A crew on a database of its own."""

import pytest
from tests.contract.crew import Crew

from nomadcrew.adapters.postgres.database import Database


@pytest.fixture
def crew(pool: Database) -> Crew:
    return Crew(pool)
