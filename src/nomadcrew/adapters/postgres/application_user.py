"""A database user that reads and writes rows and can do nothing else: no DDL, no roles, no programs or files.

Functions on AWS connect as this user. The migrator, which owns the schema, creates it and grants its rights.
"""

from typing import Final

from nomadcrew.adapters.postgres.sql import Sql, compile_statement

# `DO` takes no parameters, so they are settings of the transaction. Neither becomes a part of a logged text.
_SETTINGS: Final = compile_statement(
    "application_user_settings",
    """SELECT set_config('nomadcrew.application_user', :name::text, true),
              set_config('nomadcrew.application_password', :password::text, true)""",
)
_LOCK: Final = compile_statement("lock_application_user", "SELECT pg_advisory_xact_lock(7206034)")
_ALLOW: Final = compile_statement(
    "allow_application_user",
    """DO $$
    DECLARE
        application text := current_setting('nomadcrew.application_user');
        rights      text;
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = application) THEN
            EXECUTE format('CREATE ROLE %I', application);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', application,
                       current_setting('nomadcrew.application_password'));
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        FOREACH rights IN ARRAY ARRAY[
            'GRANT USAGE ON SCHEMA public TO %I',
            'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %I',
            'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO %I',
            'REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM %I',
            'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I',
            'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO %I'
        ] LOOP
            EXECUTE format(rights, application);
        END LOOP;
    END
    $$""",
)


async def allow_application_user(sql: Sql, name: str, password: str) -> None:
    """Create or update the user; `sql` is the owner's. Default rights cover tables of later migrations.

    Raises:
        Unavailable: the database is unreachable; nothing was changed.
    """
    async with sql.transaction():
        await sql.fetch(_LOCK)
        await sql.fetch(_SETTINGS, name=name, password=password)
        await sql.fetch(_ALLOW)
