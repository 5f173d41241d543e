"""SQL over the Data API: value types, transactions, refusals and outages."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws import dataapi
from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.services import RDS_DATA
from nomadcrew.adapters.postgres.migrations import migrate
from nomadcrew.adapters.postgres.sql import Duplicate, compile_statement
from nomadcrew.core.errors import Unavailable
from tests.contract.faulty_server import KEYS, FaultyServer
from tests.emulator import Aws
from tests.postgres import Postgres

_TABLE = compile_statement("table", "CREATE TABLE notes (id int PRIMARY KEY, note text)")
_ADD = compile_statement("add", "INSERT INTO notes VALUES (:id::int, :note::text)")
_ALL = compile_statement("all", "SELECT id, note FROM notes ORDER BY id")


@pytest_asyncio.fixture(loop_scope="session")
async def database(aws: Aws, owner: Cluster, postgres: Postgres) -> AsyncIterator[DataApi]:
    connect = await postgres.fresh_database()
    sql = DataApi(aws.client(RDS_DATA), replace(owner, database=connect["database"]))
    await sql.fetch(_TABLE)
    yield sql
    await postgres.drop_database(connect)


async def ids(database: DataApi) -> list[int]:
    return [row["id"] for row in await database.fetch(_ALL)]


async def test_values_of_every_type_are_read_back(database: DataApi) -> None:
    noon = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
    values = {
        "uuid": UUID(int=7),
        "moment": noon,
        "day": date(2027, 5, 1),
        "bytes": b"\x00\xff",
        "text": "it's :not a parameter",
        "yes": True,
        "many": 2**40,
        "part": 0.25,
        "nothing": None,
    }
    echo = compile_statement(
        "echo",
        """SELECT :uuid::uuid AS uuid, :moment::timestamptz AS moment, :day::date AS day, :bytes::bytea AS bytes,
                  :text::text AS text, :yes::boolean AS yes, :many::bigint AS many, :part::float8 AS part,
                  :nothing::uuid AS nothing, ':kept' AS quoted""",
    )
    [row] = await database.fetch(echo, **values)
    assert {name: row[name] for name in values} == values
    assert row["quoted"] == ":kept"


async def test_a_transaction_commits_or_rolls_back_as_a_whole(database: DataApi) -> None:
    async with database.transaction():
        await database.fetch(_ADD, id=1, note="a")
        await database.fetch(_ADD, id=2, note="b")

    async def add_and_fail() -> None:
        async with database.transaction():
            await database.fetch(_ADD, id=3, note="c")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await add_and_fail()
    assert await ids(database) == [1, 2]


async def test_other_tasks_run_outside_a_transaction(database: DataApi) -> None:
    async with database.transaction():
        await database.fetch(_ADD, id=1, note="a")
        assert await asyncio.create_task(ids(DataApi(database._client, _of(database)))) == []
    assert await ids(database) == [1]


async def test_a_nested_transaction_is_an_error(database: DataApi) -> None:
    async with database.transaction():
        assert database.in_transaction()
        with pytest.raises(RuntimeError, match="an open transaction"):
            async with database.transaction():
                pass
    assert not database.in_transaction()


async def test_a_duplicate_key_names_its_constraint(database: DataApi) -> None:
    await database.fetch(_ADD, id=1, note="a")
    with pytest.raises(Duplicate) as refused:
        await database.fetch(_ADD, id=1, note="b")
    assert refused.value.constraint == "notes_pkey"


async def test_an_invalid_statement_is_not_an_outage(database: DataApi) -> None:
    with pytest.raises(AwsError):
        await database.fetch(compile_statement("wrong", "SELECT * FROM nowhere"))


async def test_a_lost_transaction_is_an_outage(database: DataApi) -> None:
    async def lose_it() -> None:
        async with database.transaction():
            await database._ask("/RollbackTransaction", {**database._cluster_params, "transactionId": _open_id()})
            await database.fetch(_ADD, id=1, note="a")

    with pytest.raises(Unavailable):
        await lose_it()
    assert await ids(database) == []


async def test_an_unreachable_database_is_an_outage(aws: Aws, owner: Cluster) -> None:
    unreachable = DataApi(aws.client(RDS_DATA), replace(owner, database="nowhere"))
    with pytest.raises(Unavailable):
        await unreachable.fetch(_ALL)


RESUMING: tuple[int, dict[str, str], dict[str, str]] = (400, {"__type": "DatabaseResumingException"}, {})


async def test_a_statement_waits_for_a_resuming_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataapi, "RESUME_WAIT_S", 0.01)
    server = FaultyServer()
    server.answers = [RESUMING, RESUMING, (200, {"records": []}, {})]
    client = AwsClient(RDS_DATA, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    assert await DataApi(client, Cluster("cluster", "secret", "db")).fetch(_ALL) == []
    server.answers = [RESUMING]
    with pytest.raises(Unavailable):
        await DataApi(client, Cluster("cluster", "secret", "db"), resume_s=0.05).fetch(_ALL)
    client.close()
    server.close()


async def test_a_statement_with_a_lost_reply_is_not_repeated() -> None:
    server = FaultyServer()
    server.silent_s = 5.0
    client = AwsClient(RDS_DATA, environment={**KEYS, "AWS_ENDPOINT_URL": server.url})
    with pytest.raises(Unavailable):
        await DataApi(client, Cluster("cluster", "secret", "db"), timeout_s=0.05).fetch(_ALL)
    assert len(server.requests) == 1
    client.close()
    server.close()


async def test_concurrent_migrations_run_once(aws: Aws, owner: Cluster, postgres: Postgres) -> None:
    connect = await postgres.fresh_database()
    sql = DataApi(aws.client(RDS_DATA), replace(owner, database=connect["database"]))
    done = await asyncio.gather(migrate(sql), migrate(sql))
    # Either run may apply a part of the files.
    applied = [migration.version for run in done for migration in run]
    assert sorted(applied) == sorted(set(applied)) != []
    assert await migrate(sql) == []
    await postgres.drop_database(connect)


def _of(database: DataApi) -> Cluster:
    return Cluster(
        database._cluster_params["resourceArn"],
        database._cluster_params["secretArn"],
        database._database["database"],
    )


def _open_id() -> str:
    current = dataapi._transaction.get()
    assert current is not None
    assert current.id is not None
    return current.id
