"""Changes of an account's email address, confirmed by a link that is mailed to the new one."""

from datetime import datetime

from nomadcrew.core.auth.accounts import require_own_password
from nomadcrew.core.auth.errors import InvalidEmailChange
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.ports import Accounts, Codes, EmailChange, EmailChangeId
from nomadcrew.core.emails import parse_own_email
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, NewId, UserId
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.users.ports import Profiles


async def request_email_change(
    user_id: UserId,
    password: str,
    email: str,
    origin: Origin,
    *,
    accounts: Accounts,
    limits: RateLimits,
    codes: Codes,
    new_id: NewId,
    now: datetime,
) -> None:
    """Mail a link to the new address. The caller does not learn whether the address has an account.

    Raises:
        Invalid: the address is malformed.
        DomainError: as `require_own_password` says.
    """
    wanted = parse_own_email(email)
    await require_own_password(user_id, password, origin, accounts=accounts, limits=limits, codes=codes)
    await accounts.request_email_change(user_id, wanted, EmailChangeId(new_id()), EventId(new_id()), now=now)


async def find_email_change(code: str, *, accounts: Accounts, codes: Codes, now: datetime) -> EmailChange:
    """The change of a mailed code.

    Raises:
        InvalidEmailChange: the code is malformed, used, expired or replaced.
    """
    try:
        change_id = EmailChangeId(codes.read_confirmation_code(code))
    except Invalid:
        raise InvalidEmailChange from None
    change = await accounts.get_email_change(change_id, now=now)
    if change is None:
        raise InvalidEmailChange
    return change


async def change_email(
    code: str, *, accounts: Accounts, profiles: Profiles, codes: Codes, now: datetime
) -> EmailChange:
    """Replace the address of a mailed code's account. The code works once.

    Raises:
        InvalidEmailChange: as `find_email_change`, or another account has the address now.
    """
    change = await find_email_change(code, accounts=accounts, codes=codes, now=now)
    await accounts.change_email(change, now=now)
    await profiles.forget(change.account.user_id)
    return change
