"""`nomadcrew user`: accounts, by whoever runs the server."""

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from nomadcrew.cli.context import with_ports
from nomadcrew.core.auth import administration
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.auth.errors import EmailTaken
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.machine.errors import CannotStart

T = TypeVar("T")
COUNT, OFFSET = click.IntRange(1, 10_000), click.IntRange(0, 10**9)


@click.group()
def user() -> None:
    """Create and manage accounts."""


def _password() -> str:
    """A password that satisfies the policy, for whoever does not want to choose one."""
    return f"{secrets.token_urlsafe(12)}-aA7"


@user.command(short_help="Create an account.")
@click.argument("email")
@click.option("--username", help="Otherwise made from the address.")
@click.option("--password", help="Otherwise one is made and printed.")
def create(email: str, username: str | None, password: str | None) -> None:
    """Create an account, also where registration is closed; its address counts as confirmed.

    \b
    Examples:
      nomadcrew user create ana@example.org
      nomadcrew user create ana@example.org --username ana --password 'Over-the-hills-7'
    """
    chosen = password or _password()
    try:
        account = with_ports(
            lambda ports: administration.create_user(
                SignUp(email=email, password=chosen, username=username),
                accounts=ports.accounts,
                limits=ports.limits,
                new_id=ports.new_id,
                now=ports.clock(),
            )
        )
    except EmailTaken:
        raise CannotStart(
            f"There is an account with the address {email} already; "
            f"`nomadcrew user reset-password {email}` gives it another password."
        ) from None
    click.echo(f"Created {account.profile.username} ({account.profile.email}).")
    if password is None:
        click.echo(f"Password: {chosen}")


@user.command("list")
@click.option("--limit", type=COUNT, default=100, show_default=True, help="How many to show.")
@click.option("--offset", type=OFFSET, default=0, show_default=True, help="How many to skip.")
def list_(limit: int, offset: int) -> None:
    """List accounts, newest first.

    \b
    Example:
      nomadcrew user list --limit 10
    """
    page = with_ports(lambda ports: administration.list_users(accounts=ports.accounts, limit=limit, offset=offset))
    for account in page.items:
        marks = "  admin" if account.is_admin else ""
        click.echo(f"{account.user_id}  {account.profile.username:<20} {account.profile.email}{marks}")
    click.echo("1 account" if page.total == 1 else f"{page.total} accounts")


@user.command("reset-password", short_help="Give an account another password and end its sessions.")
@click.argument("login")
@click.option("--password", help="Otherwise one is made and printed.")
def reset_password(login: str, password: str | None) -> None:
    """Give the account LOGIN (address or username) another password and end its sessions.

    \b
    Example:
      nomadcrew user reset-password ana@example.org
    """
    chosen = password or _password()
    _on_account(
        login,
        lambda ports: administration.reset_password(login, chosen, accounts=ports.accounts, now=ports.clock()),
    )
    click.echo("The password is changed and every session ended.")
    if password is None:
        click.echo(f"Password: {chosen}")


@user.command("grant-admin", short_help="Make somebody a system administrator, or take that back.")
@click.argument("login")
@click.option("--revoke", is_flag=True, help="Take it back.")
def grant_admin(login: str, revoke: bool) -> None:
    """Make LOGIN (address or username) a system administrator, who may edit every profile.

    \b
    Examples:
      nomadcrew user grant-admin ana
      nomadcrew user grant-admin ana --revoke
    """
    account = _on_account(
        login,
        lambda ports: administration.grant_admin(
            login, accounts=ports.accounts, now=ports.clock(), granted=not revoke
        ),
    )
    what = "is no system administrator any more" if revoke else "is a system administrator"
    click.echo(f"{account.profile.username} {what}, from their next access token (15 minutes at most).")


def _on_account(login: str, work: Callable[[Ports], Awaitable[T]]) -> T:
    try:
        return with_ports(work)
    except NotFound:
        raise CannotStart(
            f"Nobody has the address or username {login}; `nomadcrew user list` shows who there is."
        ) from None
