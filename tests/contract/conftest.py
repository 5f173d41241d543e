"""A trip database over each driver of SQL."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
from nomadcrew.adapters.aws.sdk.services import RDS_DATA
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import Sql
from tests.contract.auth_ports import auth
from tests.contract.aws_auth import aws_auth
from tests.contract.cloud import cloud
from tests.contract.trip_database import TripDb
from tests.emulator import Aws, aws, cluster, owner
from tests.postgres import Postgres

__all__ = ["auth", "aws", "aws_auth", "cloud", "cluster", "owner"]

# RDS Proxy allows no prepared statements across transactions.
DRIVERS = {"postgresql": {}, "proxy": {"statement_cache_size": 0}, "data-api": {}}


@pytest_asyncio.fixture(loop_scope="session", params=DRIVERS)
async def sql(request: pytest.FixtureRequest, postgres: Postgres, template: str) -> AsyncIterator[Sql]:
    """A new migrated database, over one driver after another."""
    async with sql_over(request.param, request, postgres, template) as made:
        yield made


@asynccontextmanager
async def sql_over(
    driver: str, request: pytest.FixtureRequest, postgres: Postgres, template: str
) -> AsyncIterator[Sql]:
    """A new migrated database over a driver."""
    connect = await postgres.fresh_database(template)
    if driver == "data-api":
        emulated: Aws = request.getfixturevalue("aws")
        where: Cluster = request.getfixturevalue("cluster")
        yield DataApi(emulated.client(RDS_DATA), replace(where, database=connect["database"]))
    else:
        database = Database({**connect, **DRIVERS[driver]}, size=8)
        yield database
        await database.close()
    await postgres.drop_database(connect)


@pytest.fixture
def db(sql: Sql) -> TripDb:
    return TripDb(sql)


@pytest_asyncio.fixture(loop_scope="session")
async def data_api_db(aws: Aws, cluster: Cluster, postgres: Postgres, template: str) -> AsyncIterator[TripDb]:
    """A trip database over the Data API only, as on AWS."""
    connect = await postgres.fresh_database(template)
    yield TripDb(DataApi(aws.client(RDS_DATA), replace(cluster, database=connect["database"])))
    await postgres.drop_database(connect)
