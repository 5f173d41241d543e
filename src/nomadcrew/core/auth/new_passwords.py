"""New passwords: of a signed-in user, and by a mailed link."""

from datetime import datetime

from nomadcrew.core.auth.accounts import require_own_password
from nomadcrew.core.auth.errors import InvalidReset
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import SignedIn
from nomadcrew.core.auth.passwords import check_password
from nomadcrew.core.auth.ports import Accounts, Codes, PasswordReset, PasswordResetId, Sessions, Tokens
from nomadcrew.core.auth.sessions import open_session
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, NewId, UserId
from nomadcrew.core.rate_limits import RateLimits


async def change_password(
    user_id: UserId,
    present: str,
    new: str,
    origin: Origin,
    *,
    accounts: Accounts,
    sessions: Sessions,
    tokens: Tokens,
    limits: RateLimits,
    new_id: NewId,
    now: datetime,
) -> SignedIn:
    """Replace the password of a user who knows it. All sessions end, and this device gets a new one.

    Raises:
        WeakPassword: the new one is too weak.
        DomainError: as `require_own_password` says.
    """
    account = await require_own_password(user_id, present, origin, accounts=accounts, limits=limits, codes=tokens)
    check_password(new, email=account.profile.email, username=account.profile.username)
    await accounts.set_password(user_id, new, now=now)
    return await open_session(
        account, origin, accounts=accounts, sessions=sessions, tokens=tokens, new_id=new_id, now=now
    )


async def request_reset(email: str, *, accounts: Accounts, new_id: NewId, now: datetime) -> None:
    """Mail a link for a new password, if an account has the address. The caller does not learn whether."""
    await accounts.request_reset(email, PasswordResetId(new_id()), EventId(new_id()), now=now)


async def find_reset(code: str, *, accounts: Accounts, codes: Codes, now: datetime) -> PasswordReset:
    """The reset of a mailed code.

    Raises:
        InvalidReset: the code is malformed, used, expired or replaced.
    """
    try:
        reset_id = PasswordResetId(codes.read_confirmation_code(code))
    except Invalid:
        raise InvalidReset from None
    reset = await accounts.get_reset(reset_id, now=now)
    if reset is None:
        raise InvalidReset
    return reset


async def reset_password(
    code: str, password: str, *, accounts: Accounts, codes: Codes, now: datetime
) -> PasswordReset:
    """Replace the password of a mailed code's account, and end all of its sessions. The code works once.

    Raises:
        InvalidReset: as `find_reset`.
        WeakPassword: the password is too weak; the code still works.
    """
    reset = await find_reset(code, accounts=accounts, codes=codes, now=now)
    profile = reset.account.profile
    check_password(password, email=profile.email, username=profile.username)
    await accounts.reset_password(reset, password, now=now)
    return reset
