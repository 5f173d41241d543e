"""Migrations: forward only, atomic, applied once by concurrent runners, and never edited."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import takewhile
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres import migrations
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.migrations import Migration, MigrationError, load, migrate
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.adapters.postgres.text_keys import BATCH
from nomadcrew.core.ids import uuid7
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.server import SERVER_SETTINGS, migrated
from tests.fakes import NOON
from tests.postgres import ConnectKwargs, Postgres

_RECORD = compile_statement("record", "SELECT version, name FROM schema_migrations ORDER BY version")
_ENDLESS = compile_statement(
    "endless", "SELECT count(*) AS count FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60) AS endless%'"
)
_TABLES = compile_statement("tables", "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")

BEFORE_TIME_ZONES = load(migrations.folder())[:24]
BEFORE_SEARCH = list(
    takewhile(lambda file: not file.name.endswith("_search_and_reminders"), load(migrations.folder()))
)
BEFORE_KEYS = [migration for migration in load(migrations.folder()) if migration.version < 14]
_INSERT_USER = compile_statement(
    "insert_user",
    """INSERT INTO user_profiles (id, email, username, first_name, contact_email, created_at, updated_at)
       VALUES (:id::uuid, :email::text, :username::text, 'Zo\u00eb', :contact::text, now(), now())""",
)
_USERS = compile_statement(
    "users",
    "SELECT id, email_key, contact_email_key, username_key, username_search, first_name_search FROM user_profiles",
)

PEOPLE = Migration(1, "0001_people", "CREATE TABLE people (id integer);\n-- split\nCREATE INDEX p ON people (id);")
TRIPS = Migration(2, "0002_trips", "CREATE TABLE trips (id integer)")


class Fresh:
    """An empty database and pools on it."""

    def __init__(self, connect: ConnectKwargs) -> None:
        self.connect = connect
        self._made: list[Database] = []

    def pool(self, **options: object) -> Database:
        self._made.append(Database({**self.connect, **options}, size=2))
        return self._made[-1]

    async def close(self) -> None:
        for pool in self._made:
            await pool.close()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(postgres: Postgres) -> AsyncIterator[Fresh]:
    made = Fresh(await postgres.fresh_database())
    yield made
    await made.close()
    await postgres.drop_database(made.connect)


async def record(pool: Database) -> list[str]:
    return [row["name"] for row in await pool.fetch(_RECORD)]


async def tables(pool: Database) -> set[str]:
    return {row["tablename"] for row in await pool.fetch(_TABLES)} - {"schema_migrations"}


async def test_a_fresh_database_gets_every_file_in_order(fresh: Fresh) -> None:
    pool = fresh.pool()
    done = await migrate(pool)
    assert done == load(migrations.folder())
    assert await record(pool) == [migration.name for migration in done]
    assert {"user_profiles", "trips", "outbox", "queue_jobs", "replays"} <= await tables(pool)


async def test_a_second_run_applies_nothing(fresh: Fresh) -> None:
    pool = fresh.pool()
    await migrate(pool)
    assert await migrate(pool) == []


async def test_new_files_are_applied_to_an_existing_database(fresh: Fresh) -> None:
    pool = fresh.pool()
    assert await migrate(pool, [PEOPLE]) == [PEOPLE]
    assert await migrate(pool, [PEOPLE, TRIPS]) == [TRIPS]
    assert await tables(pool) == {"people", "trips"}


@pytest.mark.contract("jobs.migrations")
async def test_concurrent_runners_apply_each_file_once(fresh: Fresh) -> None:
    runs = await asyncio.gather(*(migrate(fresh.pool()) for _ in range(4)))
    applied = sorted(migration.name for run in runs for migration in run)
    assert applied == await record(fresh.pool()) == sorted(set(applied))


async def test_an_edited_file_is_refused_before_any_change(fresh: Fresh) -> None:
    pool = fresh.pool()
    await migrate(pool, [PEOPLE])
    edited = Migration(1, PEOPLE.name, PEOPLE.text.replace("integer", "bigint"))
    with pytest.raises(MigrationError, match="0001_people was edited"):
        await migrate(pool, [edited, TRIPS])
    assert await record(pool) == [PEOPLE.name]
    assert await tables(pool) == {"people"}


async def test_a_database_of_a_newer_version_is_refused_before_any_change(fresh: Fresh) -> None:
    pool = fresh.pool()
    await migrate(pool, [PEOPLE, TRIPS])
    with pytest.raises(MigrationError, match="run the newer version"):
        await migrate(pool, [PEOPLE])
    assert await tables(pool) == {"people", "trips"}


async def test_a_failed_file_is_rolled_back_and_can_be_repaired(fresh: Fresh) -> None:
    pool = fresh.pool()
    broken = Migration(2, TRIPS.name, f"{TRIPS.text};\n-- split\nALTER TABLE missing ADD COLUMN id integer")
    with pytest.raises(asyncpg.UndefinedTableError):
        await migrate(pool, [PEOPLE, broken])
    assert await record(pool) == [PEOPLE.name]
    assert await tables(pool) == {"people"}
    assert await migrate(pool, [PEOPLE, TRIPS]) == [TRIPS]


async def test_a_killed_runner_leaves_nothing_of_its_current_file(fresh: Fresh) -> None:
    pool, watch = fresh.pool(server_settings=SERVER_SETTINGS), fresh.pool()
    endless = Migration(2, TRIPS.name, f"{TRIPS.text};\n-- split\nSELECT pg_sleep(60) AS endless")
    task = asyncio.create_task(migrate(pool, [PEOPLE, endless]))
    while not (await watch.fetch(_ENDLESS))[0]["count"]:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Until PostgreSQL notices the lost client, the next runner waits for the lock.
    assert await migrate(watch, [PEOPLE, TRIPS]) == [TRIPS]


async def test_a_file_may_take_longer_than_a_request(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index on millions of rows takes minutes."""
    (tmp_path / "0001_slow.sql").write_text("SELECT pg_sleep(0.6)")
    monkeypatch.setattr(migrations, "folder", lambda: tmp_path)
    assert await migrated(fresh.pool(command_timeout=0.2)) == 1


@pytest.mark.contract("jobs.migrations.fix-failure")
async def test_a_migration_error_is_one_sentence_for_the_operator(
    fresh: Fresh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{PEOPLE.name}.sql").write_text(PEOPLE.text)
    monkeypatch.setattr(migrations, "folder", lambda: tmp_path)
    await migrate(fresh.pool(), [PEOPLE, TRIPS])
    with pytest.raises(StartupError, match=r"^Cannot migrate: .* run the newer version\.$"):
        await migrated(fresh.pool())


async def test_existing_rows_get_the_keys_that_new_rows_get(fresh: Fresh) -> None:
    pool, user_id = fresh.pool(), uuid7()
    await migrate(pool, BEFORE_KEYS)
    await pool.fetch(
        _INSERT_USER, id=user_id, email="zoe\u0308@m\u00fcnchen.de", username="ΝΙΚΟΣ", contact="Straße@x.de"
    )
    await migrate(pool)
    [row] = await pool.fetch(_USERS)
    assert row["email_key"] == "zo\u00eb@xn--mnchen-3ya.de"
    assert row["contact_email_key"] == "strasse@x.de"
    assert (row["username_key"], row["username_search"]) == ("νικοσ", "νικοσ")
    assert row["first_name_search"] == "zoe"


async def test_a_migration_of_many_rows_reaches_all_of_them(fresh: Fresh) -> None:
    pool = fresh.pool()
    await migrate(pool, BEFORE_KEYS)
    for n in range(2 * BATCH + 1):
        await pool.fetch(_INSERT_USER, id=uuid7(), email=f"ß{n}@x.de", username=f"ß{n}", contact=None)
    await migrate(pool)
    rows = await pool.fetch(_USERS)
    assert {row["username_key"] for row in rows} == {f"ss{n}" for n in range(2 * BATCH + 1)}


@pytest.mark.parametrize(("one", "other", "what"), [
    (("zo\u00eb@x.de", "a"), ("zoe\u0308@x.de", "b"), "email address"),
    (("b@m\u00fcnchen.de", "a"), ("b@xn--mnchen-3ya.de", "b"), "email address"),
    (("a@x.de", "ΝΙΚΟΣ"), ("b@x.de", "νικος"), "username"),
    (("a@x.de", "STRASSE"), ("b@x.de", "straße"), "username"),
])  # fmt: skip
async def test_users_who_turn_out_to_be_the_same_are_named_and_nothing_changes(
    fresh: Fresh, one: tuple[str, str], other: tuple[str, str], what: str
) -> None:
    pool, ids = fresh.pool(), [uuid7(), uuid7(), uuid7()]
    await migrate(pool, BEFORE_KEYS)
    for id_, (email, username) in zip(ids, (one, other, ("c@x.de", "c")), strict=True):
        await pool.fetch(_INSERT_USER, id=id_, email=email, username=username, contact=None)
    with pytest.raises(MigrationError, match=f"0014_text_keys: .* the same {what} .*: {ids[0]}, {ids[1]}$"):
        await migrate(pool)
    assert await record(pool) == [migration.name for migration in BEFORE_KEYS]
    change = compile_statement(
        "change", "UPDATE user_profiles SET email = 'd@x.de', username = 'd' WHERE id = :id::uuid"
    )
    await pool.fetch(change, id=ids[1])
    assert [migration.version for migration in await migrate(pool)][:1] == [14]


async def test_rows_of_the_former_version_get_keys_too(fresh: Fresh) -> None:
    pool = fresh.pool()
    await migrate(pool)
    await pool.fetch(_INSERT_USER, id=uuid7(), email="Ana@X.de", username="Ana", contact=None)
    [row] = await pool.fetch(_USERS)
    assert (row["email_key"], row["username_key"], row["first_name_search"]) == ("ana@x.de", "ana", "zo\u00eb")


async def test_of_repeated_open_invitations_the_latest_stays(fresh: Fresh) -> None:
    pool, ids = fresh.pool(), [uuid7() for _ in range(4)]
    await migrate(pool, BEFORE_KEYS)
    await pool.fetch(_INSERT_USER, id=ids[0], email="a@x.de", username="a", contact=None)
    await pool.fetch(
        compile_statement(
            "trip",
            """INSERT INTO trips (id, name, destination_latitude, destination_longitude, start_date, end_date,
                                  status, created_at, updated_at)
               VALUES (:id::uuid, 'T', 0, 0, '2026-01-01', '2026-01-02', 'PLANNING', now(), now())""",
        ),
        id=ids[1],
    )
    invite = compile_statement(
        "invite",
        """INSERT INTO trip_invitations (id, trip_id, invitee_email, role, status, expires_at, mailed_at,
                                         mail_event_id, created_at, updated_at)
           VALUES (:id::uuid, :trip::uuid, :email::text, 'MEMBER', 'PENDING', '2027-01-01', now(), :id::uuid,
                   :at::timestamptz, now())""",
    )
    await pool.fetch(invite, id=ids[2], trip=ids[1], email="zo\u00eb@x.de", at=NOON)
    await pool.fetch(invite, id=ids[3], trip=ids[1], email="zoe\u0308@x.de", at=NOON + timedelta(seconds=1))
    await migrate(pool)
    rows = await pool.fetch(compile_statement("statuses", "SELECT id, status FROM trip_invitations"))
    assert {row["id"]: row["status"] for row in rows} == {ids[2]: "DECLINED", ids[3]: "PENDING"}


async def test_existing_trips_get_the_time_zone_of_their_destination_and_new_cards(fresh: Fresh) -> None:
    pool = fresh.pool()
    await migrate(pool, BEFORE_TIME_ZONES)
    insert = compile_statement(
        "trip",
        """WITH trip AS (
               INSERT INTO trips (id, name, destination_latitude, destination_longitude, start_date, end_date,
                                  status, created_at, updated_at)
               VALUES (:id::uuid, 'T', :latitude::float8, :longitude::float8, '2026-01-01', '2026-01-02',
                       'PLANNING', now(), now())
               RETURNING id)
           INSERT INTO trip_cards SELECT id, '{}' FROM trip""",
    )
    ids = sorted(uuid7() for _ in range(3))
    for id_, latitude, longitude in zip(ids, (27.7, 0.0, 1.87), (85.32, 0.0, -157.4), strict=True):
        await pool.fetch(insert, id=id_, latitude=latitude, longitude=longitude)
    await migrate(pool)
    read = compile_statement(
        "zones", "SELECT timezone, body FROM trips JOIN trip_cards ON trip_id = id ORDER BY destination_longitude"
    )
    rows = [(row["timezone"], json.loads(row["body"])["timezone"]) for row in await pool.fetch(read)]
    assert rows == [(name, name) for name in ("Pacific/Kiritimati", "UTC", "Asia/Kathmandu")]


async def test_existing_to_dos_polls_and_documents_get_the_keys_of_a_search(fresh: Fresh) -> None:
    pool, ids = fresh.pool(), {"id": uuid7(), "user": uuid7(), "trip": uuid7()}
    await migrate(pool, BEFORE_SEARCH)
    await pool.fetch(_INSERT_USER, id=ids["user"], email="a@x.de", username="a", contact=None)
    inserts = (
        """INSERT INTO trips (id, name, destination_latitude, destination_longitude, start_date, end_date, status,
                              created_at, updated_at)
           VALUES (:trip::uuid, 'T', 0, 0, '2026-01-01', '2026-01-02', 'PLANNING', now(), now())""",
        """INSERT INTO todos (id, trip_id, text, status, created_by, created_at, updated_at)
           VALUES (:id::uuid, :trip::uuid, 'Café', 'COMPLETE', :user::uuid, now(), now())""",
        """INSERT INTO polls (id, trip_id, question, kind, ballot, allow_multiple_votes, members_add_options,
                              closes_automatically, status, created_by, expires_at, created_at, updated_at)
           VALUES (:id::uuid, :trip::uuid, 'ΝΙΚΟΣ', 'choice', 'open', false, false, false, 'ACTIVE', :user::uuid,
                   now() + interval '1 day', now(), now())""",
        """INSERT INTO poll_options (id, poll_id, text, text_key, position, created_by, created_at)
           VALUES (:id::uuid, :id::uuid, 'Łódź', 'x', 0, :user::uuid, now())""",
        """INSERT INTO documents (id, user_id, trip_id, type, name, metadata, media_type, size_bytes, created_at,
                                  updated_at)
           VALUES (:id::uuid, :user::uuid, :trip::uuid, 'other', 'Straße', '{}', 'application/pdf', 1, now(),
                   now())""",
    )
    for text in inserts:
        statement = compile_statement("insert", text)
        await pool.fetch(statement, **{name: ids[name] for name in statement.params})
    plain = compile_statement(
        "plain",
        """INSERT INTO todos (id, trip_id, text, status, created_by, created_at, updated_at)
           VALUES (:id::uuid, :trip::uuid, 'Buy a TENT', 'COMPLETE', :user::uuid, now(), now())""",
    )
    await pool.fetch(plain, **{**ids, "id": uuid7()})
    await migrate(pool)
    [row] = await pool.fetch(compile_statement("key", "SELECT text_search FROM todos WHERE text = 'Buy a TENT'"))
    assert row["text_search"] == "buy a tent"
    await pool.fetch(compile_statement("delete", "DELETE FROM todos WHERE text = 'Buy a TENT'"))
    read = compile_statement(
        "keys",
        """SELECT t.text_search, p.question_search, o.text_search AS option_search, d.name_search
           FROM todos t, polls p, poll_options o, documents d""",
    )
    [row] = await pool.fetch(read)
    keys = ("text_search", "question_search", "option_search", "name_search")
    assert [row[key] for key in keys] == ["cafe", "νικοσ", "lodz", "strasse"]


@pytest.mark.parametrize("names", [
    ["0002_second.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"], ["1_a.sql"], ["0001-a.sql"],
])  # fmt: skip
def test_misnumbered_and_misnamed_files_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError):
        load(tmp_path)
