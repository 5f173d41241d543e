"""Registration, confirmation and sign-in."""

from datetime import datetime

from msgspec import Struct

from nomadcrew.core.auth.errors import (
    InvalidCredentials,
    MfaRequired,
    NotConfirmed,
    PasswordElsewhere,
    RegistrationClosed,
    WrongPassword,
)
from nomadcrew.core.auth.failures import Origin, Target, check_within_limits
from nomadcrew.core.auth.model import MFA_TOKEN_LIFETIME, Account, SignedIn
from nomadcrew.core.auth.passwords import check_password
from nomadcrew.core.auth.ports import Accounts, Codes, Credentials, NewAccount, RegistrationId, Sessions, Tokens
from nomadcrew.core.auth.sessions import open_session
from nomadcrew.core.emails import parse_own_email
from nomadcrew.core.ids import EventId, NewId, UserId
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.text import comparison_key, email_key
from nomadcrew.core.users.errors import EmailTaken
from nomadcrew.core.users.rules import parse_name, parse_username, suffix_of, usernames_for


class SignUp(Struct, frozen=True):
    """A registration form. Without a username one is derived from the email address."""

    email: str
    password: str
    username: str | None = None
    first_name: str = ""
    last_name: str = ""


async def register(
    sign_up: SignUp,
    origin: Origin,
    *,
    is_open: bool,
    accounts: Accounts,
    sessions: Sessions,
    tokens: Tokens,
    limits: RateLimits,
    new_id: NewId,
    now: datetime,
) -> SignedIn:
    """Create an account and sign it in; a repeat with the same password signs in again.

    Raises:
        RegistrationClosed: the site accepts new accounts by invitation only.
        DomainError: as `create_account` says.
    """
    if not is_open:
        raise RegistrationClosed
    account = await create_account(
        sign_up, origin, confirmed=False, accounts=accounts, limits=limits, codes=tokens, new_id=new_id, now=now
    )
    return await open_session(
        account, origin, accounts=accounts, sessions=sessions, tokens=tokens, new_id=new_id, now=now
    )


async def create_account(
    sign_up: SignUp,
    origin: Origin,
    *,
    confirmed: bool,
    accounts: Accounts,
    limits: RateLimits,
    codes: Codes,
    new_id: NewId,
    now: datetime,
) -> Account:
    """Create an account. An existing account with the same address and password is returned.

    Raises:
        Invalid: the address, a name or the username is malformed; `WeakPassword`.
        EmailTaken, UsernameTaken: another account has it.
        MfaRequired: the existing account needs a code.
        TooMany: too many wrong passwords for an existing account.
    """
    new = _checked(sign_up, new_id)
    made: list[Account] = []

    async def register() -> bool:
        try:
            made.append(await accounts.register(new, sign_up.password, confirmed=confirmed, now=now))
        except EmailTaken:
            return False
        return True

    # Registering with an existing address tests a password, so it counts like a sign-in.
    target = Target(email_key(new.email))
    if not await check_within_limits(register, target, origin, limits=limits, codes=codes):
        raise EmailTaken
    require_no_code(made[0], codes, now)
    return made[0]


async def request_account(
    sign_up: SignUp, *, is_open: bool, accounts: Accounts, new_id: NewId, now: datetime
) -> None:
    """Store a registration until its mailed link is followed. Does not reveal whether the address has an account.

    Raises:
        RegistrationClosed: the site accepts new accounts by invitation only.
        Invalid: as `create_account`.
        UsernameTaken: another account has it.
    """
    if not is_open:
        raise RegistrationClosed
    new = _checked(sign_up, new_id)
    await accounts.request(new, sign_up.password, RegistrationId(new_id()), EventId(new_id()), now=now)


async def confirm(
    code: str,
    password: str,
    origin: Origin,
    *,
    accounts: Accounts,
    sessions: Sessions,
    tokens: Tokens,
    limits: RateLimits,
    new_id: NewId,
    now: datetime,
) -> SignedIn:
    """Turn the registration of a mailed code into an account, and sign it in.

    Raises:
        DomainError: as `confirm_account` says.
    """
    account = await confirm_account(
        code, password, origin, accounts=accounts, tokens=tokens, limits=limits, new_id=new_id, now=now
    )
    return await open_session(
        account, origin, accounts=accounts, sessions=sessions, tokens=tokens, new_id=new_id, now=now
    )


async def confirm_account(
    code: str,
    password: str,
    origin: Origin,
    *,
    accounts: Accounts,
    tokens: Tokens,
    limits: RateLimits,
    new_id: NewId,
    now: datetime,
) -> Account:
    """Turn the registration of a mailed code into an account.

    The password of the registration proves that its author follows the link: the owner of an address who did not
    register would else confirm an account whose password a stranger knows.

    Raises:
        InvalidConfirmation, ConfirmationUsed: the code is malformed, expired or used.
        InvalidCredentials: the password is wrong.
        TooMany: too many wrong passwords before.
    """
    registration_id = RegistrationId(tokens.read_confirmation_code(code))
    credentials = await accounts.find_registration(registration_id, now=now)
    if credentials is not None:
        target = Target(str(registration_id))
        await require_password(
            credentials, password, target, origin, accounts=accounts, limits=limits, codes=tokens
        )
    return await accounts.confirm(registration_id, suffix_of(new_id()), now=now)


async def sign_in(
    login: str,
    password: str,
    origin: Origin,
    *,
    accounts: Accounts,
    sessions: Sessions,
    tokens: Tokens,
    limits: RateLimits,
    new_id: NewId,
    now: datetime,
) -> SignedIn:
    """Sign in with an email address or username.

    Raises:
        DomainError: as `check_credentials` says.
    """
    account = await check_credentials(
        login, password, origin, accounts=accounts, limits=limits, codes=tokens, new_id=new_id, now=now
    )
    return await open_session(
        account, origin, accounts=accounts, sessions=sessions, tokens=tokens, new_id=new_id, now=now
    )


async def check_credentials(
    login: str,
    password: str,
    origin: Origin,
    *,
    accounts: Accounts,
    limits: RateLimits,
    codes: Codes,
    new_id: NewId,
    now: datetime,
) -> Account:
    """The account of an email address or username and a password.

    Raises:
        InvalidCredentials: the login or the password is wrong.
        MfaRequired: both are right, but the account needs a code.
        NotConfirmed: both are right, but the address is not confirmed; the mail is sent again.
        TooMany: too many failures before, as `check_within_limits` says.
    """
    login = login.strip()
    credentials = await accounts.find(login, now=now)
    target = _target(credentials, login)
    await require_password(credentials, password, target, origin, accounts=accounts, limits=limits, codes=codes)
    assert credentials is not None
    if credentials.account is not None:
        require_no_code(credentials.account, codes, now)
        return credentials.account
    assert credentials.registration_id is not None
    await accounts.remind(credentials.registration_id, EventId(new_id()), now=now)
    raise NotConfirmed


def _checked(sign_up: SignUp, new_id: NewId) -> NewAccount:
    email = parse_own_email(sign_up.email)
    username = parse_username(sign_up.username) if sign_up.username and sign_up.username.strip() else None
    check_password(sign_up.password, email=email, username=username)
    user_id = UserId(new_id())
    usernames = usernames_for(email, user_id) if username is None else (username,)
    return NewAccount(
        user_id,
        email,
        usernames,
        parse_name("firstName", sign_up.first_name),
        parse_name("lastName", sign_up.last_name),
    )


def _target(credentials: Credentials | None, login: str) -> Target:
    """One target per account, the same for its address and its username."""
    account = None if credentials is None else credentials.account
    if account is None:
        return Target(comparison_key(login))
    return Target(email_key(account.profile.email), account.user_id)


async def remind(email: str, *, accounts: Accounts, new_id: NewId, now: datetime) -> None:
    """Mail the link of a pending registration again, if the address has one. The caller does not learn whether."""
    await accounts.remind_address(email, EventId(new_id()), now=now)


async def require_password(
    credentials: Credentials | None,
    password: str,
    target: Target,
    origin: Origin,
    *,
    accounts: Accounts,
    limits: RateLimits,
    codes: Codes,
) -> None:
    """Raises InvalidCredentials, or TooMany as `check_within_limits` says."""
    is_right = await check_within_limits(
        lambda: accounts.check(credentials, password), target, origin, limits=limits, codes=codes
    )
    if not is_right:
        raise InvalidCredentials


async def require_own_password(
    user_id: UserId, password: str, origin: Origin, *, accounts: Accounts, limits: RateLimits, codes: Codes
) -> Account:
    """The account of a signed-in user who knows its password.

    Raises:
        WrongPassword: the password is wrong.
        PasswordElsewhere: the user has no account of this site.
        TooMany: too many wrong passwords before.
    """
    credentials = await accounts.get_credentials(user_id)
    if credentials is None or credentials.account is None:
        raise PasswordElsewhere
    target = Target(email_key(credentials.account.profile.email), user_id)
    try:
        await require_password(credentials, password, target, origin, accounts=accounts, limits=limits, codes=codes)
    except InvalidCredentials:
        raise WrongPassword from None
    return credentials.account


def require_no_code(account: Account, codes: Codes, now: datetime) -> None:
    """Raises MfaRequired: the sign-in needs a code."""
    if account.has_totp:
        raise MfaRequired(codes.mfa_token(account.user_id, expires_at=now + MFA_TOKEN_LIFETIME))
