"""`nomadcrew keys`: the keys that sign access tokens."""

import click

from nomadcrew.adapters.machine.keys import add_signing_key, signing_files
from nomadcrew.cli.context import read_settings, require_content
from nomadcrew.hosts.machine.data_folder import DataFolder


@click.group()
def keys() -> None:
    """List and rotate the keys that sign access tokens."""


@keys.command("list")
def list_() -> None:
    """List the signing keys: the first one signs, all of them verify.

    \b
    Example:
      nomadcrew keys list
    """
    folder = DataFolder(read_settings().home)
    require_content(folder)
    for path in reversed(signing_files(folder.keys)):
        click.echo(path)


@keys.command()
def rotate() -> None:
    """Add a signing key. The server signs with it from its next start.

    Older keys still verify. Delete an older key 15 minutes after that start, when its last token has expired.
    Delete a stolen key before that start: the tokens that it signed are then refused.

    \b
    Example:
      nomadcrew keys rotate
    """
    folder = DataFolder(read_settings().home)
    require_content(folder)
    path = add_signing_key(folder.keys)
    click.echo(f"Added {path}. Restart the server to sign with it.")
