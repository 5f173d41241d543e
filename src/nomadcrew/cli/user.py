"""`nomadcrew user`: account administration."""

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from nomadcrew.cli.context import with_ports
from nomadcrew.core.auth import administration
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.erasure.service import Eraser, delete_account
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ports import Ports
from nomadcrew.core.users.errors import EmailTaken
from nomadcrew.hosts.machine.errors import StartupError

T = TypeVar("T")
COUNT, OFFSET = click.IntRange(1, 10_000), click.IntRange(0, 10**9)


@click.group()
def user() -> None:
    """Create and manage accounts."""


def _password() -> str:
    """A random password that satisfies the policy."""
    return f"{secrets.token_urlsafe(12)}-aA7"


@user.command(short_help="Create an account.")
@click.argument("email")
@click.option("--username", help="Default: derived from the email address.")
@click.option("--password", help="Default: generated and printed.")
def create(email: str, username: str | None, password: str | None) -> None:
    """Create an account with the address EMAIL, confirmed, even if registration is closed.

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
                codes=ports.codes,
                new_id=ports.new_id,
                now=ports.clock(),
            )
        )
    except EmailTaken:
        raise StartupError(
            f"An account with the address {email} already exists; "
            f"`nomadcrew user reset-password {email}` changes its password."
        ) from None
    click.echo(f"Created {account.profile.username} ({account.profile.email}).")
    if password is None:
        click.echo(f"Password: {chosen}")


@user.command("list")
@click.option("--limit", type=COUNT, default=100, show_default=True, help="Number of accounts to show.")
@click.option("--offset", type=OFFSET, default=0, show_default=True, help="Number of accounts to skip.")
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


@user.command("reset-password", short_help="Set a new password and end the account's sessions.")
@click.argument("login")
@click.option("--password", help="Default: generated and printed.")
def reset_password(login: str, password: str | None) -> None:
    """Set a new password for LOGIN (email address or username) and end the account's sessions.

    A running server refuses their access tokens and closes their sockets within a second.

    \b
    Example:
      nomadcrew user reset-password ana@example.org
    """
    chosen = password or _password()
    _on_account(
        login,
        lambda ports: administration.reset_password(login, chosen, accounts=ports.accounts, now=ports.clock()),
    )
    click.echo("Password changed; all sessions end within a second.")
    if password is None:
        click.echo(f"Password: {chosen}")


@user.command("grant-admin", short_help="Make a user a system administrator, or revoke the right.")
@click.argument("login")
@click.option("--revoke", is_flag=True, help="Revoke the right.")
def grant_admin(login: str, revoke: bool) -> None:
    """Make LOGIN (email address or username) a system administrator, who may edit every profile.

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
    change = "is no longer a system administrator" if revoke else "is a system administrator"
    click.echo(f"{account.profile.username} {change}, from their next access token (within 15 minutes).")


@user.command("remove-totp", short_help="Remove a user's authenticator app.")
@click.argument("login")
def remove_totp(login: str) -> None:
    """Remove the authenticator app of LOGIN (email address or username), who lost it and the recovery codes.

    The password alone signs in then. First make sure that it is the user who asks.

    \b
    Example:
      nomadcrew user remove-totp ana
    """
    account = _on_account(
        login,
        lambda ports: administration.remove_totp(
            login, accounts=ports.accounts, totp_factors=ports.totp_factors, now=ports.clock()
        ),
    )
    click.echo(f"Sign-ins of {account.profile.username} need no code.")


@user.command(short_help="Erase a user with all data at once.")
@click.argument("login")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(login: str, yes: bool) -> None:
    """Erase LOGIN (email address, username or user id) with all data at once, and mail the receipt.

    Trips pass to the longest-standing admin, or else member; trips without another member are deleted.

    \b
    Example:
      nomadcrew user delete ana@example.org --yes
    """
    if not yes:
        click.confirm(f"Erase {login} and all of the account's data? This cannot be undone.", abort=True)
    receipt, erasure = _on_account(
        login,
        lambda ports: delete_account(
            login, accounts=ports.accounts, sessions=ports.sessions, eraser=Eraser.of(ports)
        ),
    )
    for kind, count in sorted(erasure.erased.items()):
        click.echo(f"{count:>8}  {kind}")
    click.echo(f"Receipt: {receipt}")


def _on_account(login: str, work: Callable[[Ports], Awaitable[T]]) -> T:
    try:
        return with_ports(work)
    except NotFound:
        raise StartupError(
            f"No account has the address or username {login}; `nomadcrew user list` lists the accounts."
        ) from None
