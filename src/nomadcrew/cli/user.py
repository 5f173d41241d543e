"""`nomadcrew user`: accounts, by whoever runs the server."""

import secrets

import click

from nomadcrew.cli.context import with_ports
from nomadcrew.core.identity import administration
from nomadcrew.core.identity.accounts import SignUp


@click.group()
def user() -> None:
    """Create and manage accounts."""


def _password() -> str:
    """A password that satisfies the policy, for whoever does not want to choose one."""
    return f"{secrets.token_urlsafe(12)}-aA7"


@user.command()
@click.argument("email")
@click.option("--username", help="Otherwise made from the address.")
@click.option("--password", help="Otherwise one is made and printed.")
def create(email: str, username: str | None, password: str | None) -> None:
    """Create an account, also where registration is closed.

    \b
    Example:
      nomadcrew user create ana@example.org --username ana
    """
    chosen = password or _password()
    account = with_ports(
        lambda ports: administration.create_user(
            SignUp(email=email, password=chosen, username=username),
            accounts=ports.accounts,
            limits=ports.limits,
            new_id=ports.new_id,
            now=ports.clock(),
        )
    )
    click.echo(f"Created {account.profile.username} ({account.profile.email}).")
    if password is None:
        click.echo(f"Password: {chosen}")


@user.command("list")
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0, show_default=True)
def list_(limit: int, offset: int) -> None:
    """List accounts, newest first."""
    page = with_ports(lambda ports: administration.list_users(accounts=ports.accounts, limit=limit, offset=offset))
    for account in page.items:
        marks = "  admin" if account.is_admin else ""
        click.echo(f"{account.user_id}  {account.profile.username:<20} {account.profile.email}{marks}")
    click.echo(f"{page.total} accounts")


@user.command("reset-password")
@click.argument("login")
@click.option("--password", help="Otherwise one is made and printed.")
def reset_password(login: str, password: str | None) -> None:
    """Give the account LOGIN (address or username) another password and end its sessions."""
    chosen = password or _password()
    with_ports(
        lambda ports: administration.reset_password(login, chosen, accounts=ports.accounts, now=ports.clock())
    )
    click.echo("The password is changed and every session ended.")
    if password is None:
        click.echo(f"Password: {chosen}")


@user.command("grant-admin")
@click.argument("login")
@click.option("--revoke", is_flag=True, help="Take it back.")
def grant_admin(login: str, revoke: bool) -> None:
    """Make LOGIN (address or username) a system administrator, who may edit every profile."""
    account = with_ports(
        lambda ports: administration.grant_admin(
            login, accounts=ports.accounts, now=ports.clock(), granted=not revoke
        )
    )
    what = "is no system administrator any more" if revoke else "is a system administrator"
    click.echo(f"{account.profile.username} {what}, from their next access token (15 minutes at most).")
