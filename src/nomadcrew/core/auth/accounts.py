"""Registration, confirmation and sign-in."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakValueDictionary

from nomadcrew.core.auth.errors import InvalidCredentials, NotConfirmed, RegistrationClosed
from nomadcrew.core.auth.model import Account, SignedIn
from nomadcrew.core.auth.passwords import check_password
from nomadcrew.core.auth.ports import Accounts, Credentials, NewAccount, RegistrationId, Sessions, Tokens
from nomadcrew.core.auth.sessions import open_session
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ids import EventId, NewId, UserId
from nomadcrew.core.invitations.model import parse_email
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.users.errors import EmailTaken
from nomadcrew.core.users.rules import parse_name, parse_username, suffix_of, usernames_for

FAILURES = "failed_sign_in"

# Attempts on one account run one after another, so that concurrent attempts cannot exceed the limit of failures.
_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class SignUp:
    """A registration form. Without a username one is derived from the email address."""

    email: str
    password: str
    username: str | None = None
    first_name: str = ""
    last_name: str = ""


async def register(
    sign_up: SignUp,
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
        sign_up, confirmed=False, accounts=accounts, limits=limits, new_id=new_id, now=now
    )
    return await open_session(account, sessions=sessions, tokens=tokens, new_id=new_id, now=now)


async def create_account(
    sign_up: SignUp, *, confirmed: bool, accounts: Accounts, limits: RateLimits, new_id: NewId, now: datetime
) -> Account:
    """Create an account. An existing account with the same address and password is returned.

    Raises:
        Invalid: the address, a name or the username is malformed; `WeakPassword`.
        EmailTaken, UsernameTaken: another account has it.
        TooMany: too many wrong passwords for an existing account.
    """
    new = _checked(sign_up, new_id)
    async with _lock_for(new.email):
        # Registering with an existing address tests a password, so it counts like a sign-in.
        await _refuse_after_failures(limits, new.email)
        try:
            return await accounts.register(new, sign_up.password, confirmed=confirmed, now=now)
        except EmailTaken:
            await limits.spend(FAILURES, new.email)
            raise


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
    code: str, *, accounts: Accounts, sessions: Sessions, tokens: Tokens, new_id: NewId, now: datetime
) -> SignedIn:
    """Turn the registration of a mailed code into an account, and sign it in.

    Raises:
        InvalidConfirmation, ConfirmationUsed: the code is malformed, expired or used.
    """
    account = await confirm_account(code, accounts=accounts, tokens=tokens, new_id=new_id, now=now)
    return await open_session(account, sessions=sessions, tokens=tokens, new_id=new_id, now=now)


async def confirm_account(
    code: str, *, accounts: Accounts, tokens: Tokens, new_id: NewId, now: datetime
) -> Account:
    """Turn the registration of a mailed code into an account.

    Raises:
        InvalidConfirmation, ConfirmationUsed: the code is malformed, expired or used.
    """
    registration_id = RegistrationId(tokens.read_confirmation_code(code))
    return await accounts.confirm(registration_id, suffix_of(new_id()), now=now)


async def sign_in(
    login: str,
    password: str,
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
    account = await check_credentials(login, password, accounts=accounts, limits=limits, new_id=new_id, now=now)
    return await open_session(account, sessions=sessions, tokens=tokens, new_id=new_id, now=now)


async def check_credentials(
    login: str, password: str, *, accounts: Accounts, limits: RateLimits, new_id: NewId, now: datetime
) -> Account:
    """The account of an email address or username and a password.

    Raises:
        InvalidCredentials: the login or the password is wrong.
        NotConfirmed: both are right, but the address is not confirmed; the mail is sent again.
        TooMany: five failures within 15 minutes.
    """
    login = login.strip()
    credentials = await accounts.find(login, now=now)
    key = _failures_key(credentials, login)
    async with _lock_for(key):
        await _refuse_after_failures(limits, key)
        if not await accounts.check(credentials, password):  # pragma: no branch — coverage misses this exit
            await limits.spend(FAILURES, key)
            raise InvalidCredentials
    assert credentials is not None
    if credentials.account is not None:
        return credentials.account
    assert credentials.registration_id is not None
    await accounts.remind(credentials.registration_id, EventId(new_id()), now=now)
    raise NotConfirmed


def _checked(sign_up: SignUp, new_id: NewId) -> NewAccount:
    email = parse_email(sign_up.email)
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


def _failures_key(credentials: Credentials | None, login: str) -> str:
    """One key per account, the same for its address and its username."""
    account = None if credentials is None else credentials.account
    return login.lower() if account is None else account.profile.email.lower()


async def _refuse_after_failures(limits: RateLimits, key: str) -> None:
    allowance = await limits.spend(FAILURES, key, cost=0)
    if not allowance.allowed:
        raise TooMany(
            allowance.retry_after_s,
            "Too many failed sign-ins for this account. Try again later.",
            code="too_many_failures",
        )


def _lock_for(key: str) -> asyncio.Lock:
    lock = _locks.get(key)
    if lock is None:
        lock = _locks[key] = asyncio.Lock()
    return lock
