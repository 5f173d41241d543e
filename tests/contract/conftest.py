"""A crew on a database of its own."""

import pytest

from nomadcrew.adapters.postgres.database import Database
from tests.contract.crew import Crew


@pytest.fixture
def crew(pool: Database) -> Crew:
    return Crew(pool)
