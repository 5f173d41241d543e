"""`nomadcrew migrate`, `backup`, `restore`: commands on the data folder."""

from pathlib import Path

import click

from nomadcrew.cli.context import pool_on, read_settings, require_content, run, same_user_only
from nomadcrew.hosts.machine.backup import backup as backups
from nomadcrew.hosts.machine.backup import drill as drills
from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.errors import StartupError
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from nomadcrew.hosts.machine.server import migrated
from nomadcrew.settings import Settings


@click.command(short_help="Apply new migrations, as every start does.")
def migrate() -> None:
    """Apply new migrations to the database; `up` does so at every start.

    \b
    Example:
      nomadcrew migrate
    """
    settings = read_settings()

    async def main() -> int:
        async with pool_on(settings, DataFolder(settings.home), migrating=False) as pool:
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
@click.option("--drill", is_flag=True, help="Only try it, in a folder beside the data folder that is removed.")
def restore(file: Path, *, drill: bool) -> None:
    """Create the data folder from FILE; the folder must be new or empty.

    With --drill, the backup is restored beside the data folder and counted, and nothing is kept. It shows that a
    backup works, also beside a running server.

    Restore only your own backups: the database in FILE can run any command as the user who restores it.

    \b
    Example:
      NOMADCREW_HOME=/srv/nomadcrew nomadcrew restore /backups/nomadcrew-2026-11-22.tar
      nomadcrew restore --drill /backups/nomadcrew-2026-11-22.tar
    """
    settings = read_settings()
    if drill:
        _drill(file, settings)
        return
    run(
        backups.restore(
            file,
            DataFolder(settings.home),
            find_binaries(settings.postgres_bin),
            postgres_user=settings.postgres_user,
            say=click.echo,
        )
    )


def _drill(file: Path, settings: Settings) -> None:
    """Try a backup and print what it has; exit with 1 if a file is missing."""
    binaries, beside = find_binaries(settings.postgres_bin), settings.home.absolute().parent
    done = run(drills.drill(file, beside, binaries, postgres_user=settings.postgres_user, say=click.echo))
    for key in done.missing:
        click.echo(f"Missing: {key}")
    click.echo(f"{done.rows:,} rows in {done.tables} tables, and {done.files:,} files. Nothing was kept.")
    if done.missing:
        raise StartupError(f"{file} lacks {len(done.missing):,} files that its database refers to.")
