"""What whoever runs the site does with accounts, by command."""

from datetime import datetime

from nomadcrew.core.auth.accounts import SignUp, create_account
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.passwords import check_password
from nomadcrew.core.auth.ports import AccountPage, Accounts
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import NewId
from nomadcrew.core.limits import RateLimits

__all__ = ["create_user", "grant_admin", "list_users", "reset_password"]


async def create_user(
    sign_up: SignUp, *, accounts: Accounts, limits: RateLimits, new_id: NewId, now: datetime
) -> Account:
    """Create an account, also where registration is closed; its address counts as confirmed.

    Raises:
        DomainError: as `create_account` says.
    """
    return await create_account(sign_up, confirmed=True, accounts=accounts, limits=limits, new_id=new_id, now=now)


async def list_users(*, accounts: Accounts, limit: int = 100, offset: int = 0) -> AccountPage:
    """Everybody who may sign in here, newest first."""
    return await accounts.page(limit=limit, offset=offset)


async def reset_password(login: str, password: str, *, accounts: Accounts, now: datetime) -> Account:
    """Give an account another password and end its sessions.

    Raises:
        NotFound: nobody has that address or username.
        WeakPassword: the password is not good enough.
    """
    account = await _account(login, accounts, now)
    check_password(password, email=account.profile.email, username=account.profile.username)
    await accounts.set_password(account.user_id, password, now=now)
    return account


async def grant_admin(login: str, *, accounts: Accounts, now: datetime, granted: bool = True) -> Account:
    """Make somebody a system administrator, or take that back. It counts from their next access token.

    Raises:
        NotFound: nobody has that address or username.
    """
    account = await _account(login, accounts, now)
    await accounts.grant_admin(account.user_id, granted=granted, now=now)
    return account


async def _account(login: str, accounts: Accounts, now: datetime) -> Account:
    found = await accounts.find(login.strip(), now=now)
    if found is None or found.account is None:
        raise NotFound("account")
    return found.account
