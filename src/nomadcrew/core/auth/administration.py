"""Administration of accounts, by an operator's commands."""

from datetime import datetime

from nomadcrew.core.auth.accounts import SignUp, create_account
from nomadcrew.core.auth.credential_ports import TotpFactors
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.passwords import check_password
from nomadcrew.core.auth.ports import AccountPage, Accounts, Codes
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import NewId
from nomadcrew.core.rate_limits import RateLimits

__all__ = ["account_of_login", "create_user", "grant_admin", "list_users", "reset_password"]


async def create_user(
    sign_up: SignUp, *, accounts: Accounts, limits: RateLimits, codes: Codes, new_id: NewId, now: datetime
) -> Account:
    """Create an account, also if registration is closed. Its address counts as confirmed.

    Raises:
        DomainError: as `create_account` says.
    """
    return await create_account(
        sign_up,
        Origin("operator"),
        confirmed=True,
        accounts=accounts,
        limits=limits,
        codes=codes,
        new_id=new_id,
        now=now,
    )


async def list_users(*, accounts: Accounts, limit: int = 100, offset: int = 0) -> AccountPage:
    """All accounts, newest first."""
    return await accounts.page(limit=limit, offset=offset)


async def reset_password(login: str, password: str, *, accounts: Accounts, now: datetime) -> Account:
    """Replace an account's password and end its sessions.

    Raises:
        NotFound: no account has that address or username.
        WeakPassword: the password is too weak.
    """
    account = await account_of_login(login, accounts, now)
    check_password(password, email=account.profile.email, username=account.profile.username)
    await accounts.set_password(account.user_id, password, now=now)
    return account


async def grant_admin(login: str, *, accounts: Accounts, now: datetime, granted: bool = True) -> Account:
    """Grant or revoke the rights of a system administrator, effective with the user's next access token.

    Raises:
        NotFound: no account has that address or username.
    """
    account = await account_of_login(login, accounts, now)
    await accounts.grant_admin(account.user_id, granted=granted, now=now)
    return account


async def remove_totp(login: str, *, accounts: Accounts, totp_factors: TotpFactors, now: datetime) -> Account:
    """Remove the authenticator app of a user who lost it: the password alone signs in. Safe to repeat.

    Raises:
        NotFound: no account has that address or username.
    """
    account = await account_of_login(login, accounts, now)
    await totp_factors.remove(account.user_id, now=now)
    return account


async def account_of_login(login: str, accounts: Accounts, now: datetime) -> Account:
    """Raises NotFound: no account has that address or username."""
    credentials = await accounts.find(login.strip(), now=now)
    if credentials is None or credentials.account is None:
        raise NotFound("account")
    return credentials.account
