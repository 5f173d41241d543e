"""The database user of the functions: it reads and writes rows, and is refused everything else."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
from nomadcrew.adapters.aws.schema import AwsSchema
from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.adapters.aws.sdk.secrets import Secrets
from nomadcrew.adapters.aws.sdk.services import RDS_DATA, SECRETS
from nomadcrew.adapters.postgres.migrations import folder, load
from nomadcrew.adapters.postgres.sql import Statement, compile_statement, statements
from nomadcrew.core.ids import uuid7
from tests.emulator import Aws
from tests.postgres import Postgres

_KEEP = statements("locations")["keep_days"]
_PARTS = compile_statement(
    "parts", "SELECT count(*) AS count FROM pg_inherits WHERE inhparent = 'location_history'::regclass"
)
_ME = compile_statement("me", "SELECT current_user::text AS name, session_user::text AS session")
_DEFINERS = compile_statement(
    "definers",
    """SELECT proname::text AS name, array_to_string(proconfig, ' ') AS settings FROM pg_proc
       WHERE prosecdef AND pronamespace = 'public'::regnamespace""",
)


def sql(text: str) -> Statement:
    return compile_statement("attempt", text)


@dataclass(frozen=True, slots=True)
class Users:
    """One database, migrated as on AWS, as its owner and as the functions' user, who has a secret of its own."""

    owner: DataApi
    application: DataApi
    schema: AwsSchema
    name: str
    secret_arn: str


@pytest_asyncio.fixture(loop_scope="session")
async def users(aws: Aws, owner: Cluster, postgres: Postgres) -> AsyncIterator[Users]:
    connect = await postgres.fresh_database()
    name = f"app_{uuid7().hex}"
    secret = json.dumps({"engine": "postgres", "port": 5432, "username": name, "password": "first-'password"})
    arn = aws.boto("secretsmanager").create_secret(Name=name, SecretString=secret)["ARN"]
    here = replace(owner, database=connect["database"])
    by_owner = DataApi(aws.client(RDS_DATA), here)
    schema = AwsSchema(by_owner, Secrets(aws.client(SECRETS), arn))
    assert list(await schema.bring_up_to_date()) == [migration.name for migration in load(folder())]
    application = DataApi(aws.client(RDS_DATA), replace(here, secret_arn=arn))
    yield Users(by_owner, application, schema, name, arn)
    await postgres.drop_database(connect)


FORBIDDEN = (
    "CREATE TABLE mine (id integer)",
    "CREATE TEMPORARY TABLE user_profiles (id integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION dblink",
    "ALTER TABLE trips ADD COLUMN mine integer",
    "ALTER TABLE trips DISABLE TRIGGER trips_changed",
    "ALTER FUNCTION keep_location_days(date, integer, integer) SECURITY INVOKER",
    "DROP TABLE feedback",
    "TRUNCATE feedback",
    "CREATE ROLE mine SUPERUSER",
    "ALTER ROLE {name} SUPERUSER",
    "ALTER ROLE {name} CREATEROLE",
    "SET ROLE pg_write_all_data",
    "GRANT pg_execute_server_program TO {name}",
    "COPY feedback TO PROGRAM 'cat'",
    "COPY feedback TO '/tmp/feedback'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT rolpassword FROM pg_authid",
    "DELETE FROM schema_migrations",
    "UPDATE schema_migrations SET checksum = ''",
    "SELECT setval('outbox_position', 1)",
)


@pytest.mark.parametrize("text", FORBIDDEN)
async def test_the_functions_user_is_refused_everything_but_rows(users: Users, text: str) -> None:
    with pytest.raises(AwsError) as refused:
        await users.application.fetch(sql(text.format(name=users.name)))
    assert "SQLState: 42501" in refused.value.message  # insufficient privilege


async def test_the_functions_user_reads_and_writes_rows_of_old_and_new_tables(users: Users) -> None:
    await users.owner.fetch(sql("CREATE TABLE later (id integer GENERATED ALWAYS AS IDENTITY, note text)"))
    await users.owner.fetch(sql("CREATE SEQUENCE later_numbers"))
    for text in (
        "INSERT INTO later (note) VALUES ('a')",
        "UPDATE later SET note = 'b'",
        "SELECT nextval('later_numbers'), nextval('outbox_position')",
        "DELETE FROM later",
    ):
        await users.application.fetch(sql(text))
    [me] = await users.application.fetch(_ME)
    assert (me["name"], me["session"]) == (users.name, users.name)


async def test_the_functions_user_keeps_the_days_of_the_history(users: Users) -> None:
    [before] = await users.application.fetch(_PARTS)
    [kept] = await users.application.fetch(_KEEP, today=date(2100, 1, 1), ahead=2, kept=36500)
    [after] = await users.application.fetch(_PARTS)
    assert (kept["changed"], after["count"] - before["count"]) == (3, 3)
    await users.application.fetch(
        sql(
            """INSERT INTO location_history VALUES (gen_random_uuid(), gen_random_uuid(), '2100-01-01 12:00Z', 1, 1,
               NULL, NULL, NULL, now(), 'precise', false)"""
        )
    )
    [row] = await users.application.fetch(sql("SELECT count(*) AS count FROM location_history"))
    assert row["count"] == 1


async def test_functions_with_their_owners_rights_find_tables_of_the_schema_only(users: Users) -> None:
    found = {row["name"]: row["settings"] for row in await users.owner.fetch(_DEFINERS)}
    assert found.keys() == {"keep_location_days"}
    assert all("search_path=public, pg_temp" in settings for settings in found.values())


async def test_a_new_password_is_valid_after_the_next_migration(aws: Aws, users: Users) -> None:
    secret = json.dumps({"username": users.name, "password": "second-password"})
    aws.boto("secretsmanager").put_secret_value(SecretId=users.secret_arn, SecretString=secret)
    wrong = DataApi(aws.client(RDS_DATA), replace(users.application._cluster, database="template1"))
    with pytest.raises(AwsError) as refused:
        await wrong.fetch(_ME)
    assert "password authentication failed" in refused.value.message
    # The migrator of the next deployment is another process, which has not read the secret yet.
    fresh = AwsSchema(users.owner, Secrets(aws.client(SECRETS), users.secret_arn))
    assert list(await fresh.bring_up_to_date()) == []
    [me] = await wrong.fetch(_ME)
    assert me["name"] == users.name


async def test_an_owner_who_is_no_superuser_can_grant_all_this(
    aws: Aws, owner: Cluster, postgres: Postgres
) -> None:
    """As on AWS, where the owner may create roles and owns the database, and no user is a superuser."""
    connect = await postgres.fresh_database()
    number = uuid7().hex
    master, application = f"owner_{number}", f"app_{number}"
    superuser = DataApi(aws.client(RDS_DATA), replace(owner, database=connect["database"]))
    await superuser.fetch(sql(f"CREATE ROLE {master} LOGIN CREATEROLE PASSWORD 'of-the-owner'"))
    await superuser.fetch(sql(f'ALTER DATABASE "{connect["database"]}" OWNER TO {master}'))
    arns = [
        aws.boto("secretsmanager").create_secret(
            Name=name, SecretString=json.dumps({"username": name, "password": password})
        )["ARN"]
        for name, password in ((master, "of-the-owner"), (application, "of-the-functions"))
    ]
    by_master, by_application = (
        DataApi(aws.client(RDS_DATA), replace(owner, database=connect["database"], secret_arn=arn)) for arn in arns
    )
    schema = AwsSchema(by_master, Secrets(aws.client(SECRETS), arns[1]))
    assert list(await schema.bring_up_to_date()) == [migration.name for migration in load(folder())]
    assert list(await schema.bring_up_to_date()) == []
    [kept] = await by_application.fetch(_KEEP, today=date(2100, 1, 1), ahead=0, kept=36500)
    assert kept["changed"] == 1
    for text in FORBIDDEN:
        with pytest.raises(AwsError) as refused:
            await by_application.fetch(sql(text.format(name=application)))
        assert "SQLState: 42501" in refused.value.message, text
    await postgres.drop_database(connect)
