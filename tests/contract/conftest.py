"""A crew on a database of its own, over each of the drivers that carry SQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
from nomadcrew.adapters.aws.sdk.services import RDS_DATA
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import Sql
from tests.contract.aws_identity import identity
from tests.contract.cloud import cloud
from tests.contract.crew import Crew
from tests.contract.people import people
from tests.emulator import Aws, aws, cluster
from tests.engine import Engine

__all__ = ["aws", "cloud", "cluster", "identity", "people"]

# Behind RDS Proxy no statement may be kept prepared; the rest is asyncpg's own.
DRIVERS = {"postgresql": {}, "proxy": {"statement_cache_size": 0}, "data-api": {}}


@pytest_asyncio.fixture(loop_scope="session", params=DRIVERS)
async def sql(request: pytest.FixtureRequest, engine: Engine, template: str) -> AsyncIterator[Sql]:
    """A migrated database of one's own, over one driver after the other."""
    async with sql_over(request.param, request, engine, template) as made:
        yield made


@asynccontextmanager
async def sql_over(
    driver: str, request: pytest.FixtureRequest, engine: Engine, template: str
) -> AsyncIterator[Sql]:
    """A migrated database of one's own over a driver."""
    connect = await engine.fresh_database(template)
    if driver == "data-api":
        emulated: Aws = request.getfixturevalue("aws")
        where: Cluster = request.getfixturevalue("cluster")
        yield DataApi(emulated.client(RDS_DATA), replace(where, database=connect["database"]))
    else:
        database = Database({**connect, **DRIVERS[driver]}, size=8)
        yield database
        await database.close()
    await engine.drop_database(connect)


@pytest.fixture
def crew(sql: Sql) -> Crew:
    return Crew(sql)


@pytest_asyncio.fixture(loop_scope="session")
async def data_api_crew(aws: Aws, cluster: Cluster, engine: Engine, template: str) -> AsyncIterator[Crew]:
    """A crew over the Data API alone, as functions have it."""
    connect = await engine.fresh_database(template)
    yield Crew(DataApi(aws.client(RDS_DATA), replace(cluster, database=connect["database"])))
    await engine.drop_database(connect)
