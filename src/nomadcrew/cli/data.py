"""`nomadcrew migrate`, `backup`, `restore`: commands on the data folder."""

from pathlib import Path

import click

from nomadcrew.cli.context import pool_on, read_settings, require_content, run, same_user_only
from nomadcrew.hosts.machine.backup import backup as backups
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.server import migrated


@click.command(short_help="Apply new migrations, as every start does.")
def migrate() -> None:
    """Apply new migrations to the database; `up` does so at every start.

    \b
    Example:
      nomadcrew migrate
    """
    settings = read_settings()

    async def main() -> int:
        async with pool_on(settings, DataFolder(settings.home)) as pool:
            return await migrated(pool)

    count = run(main())
    applied = "1 migration" if count == 1 else f"{count} migrations"
    click.echo(f"Applied {applied}." if count else "Nothing to do: the database is up to date.")


@click.command(short_help="Back up the database, keys and files to one file.")
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Back up the database, keys and files to FILE, with or without a running server.

    \b
    Example:
      nomadcrew backup /backups/nomadcrew-$(date +%F).tar
    """
    settings = read_settings()
    folder = DataFolder(settings.home)
    require_content(folder)
    postgres = EmbeddedPostgres(folder, find_binaries(settings.postgres_bin), postgres_user=settings.postgres_user)
    with same_user_only(folder):
        run(backups.backup(folder, postgres, file, say=click.echo))


@click.command(short_help="Create a data folder from a backup.")
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Create the data folder from FILE; the folder must be new or empty.

    Restore only your own backups: the database in FILE can run any command as the user who restores it.

    \b
    Example:
      NOMADCREW_HOME=/srv/nomadcrew nomadcrew restore /backups/nomadcrew-2026-11-22.tar
    """
    settings = read_settings()
    run(
        backups.restore(
            file,
            DataFolder(settings.home),
            find_binaries(settings.postgres_bin),
            postgres_user=settings.postgres_user,
            say=click.echo,
        )
    )
