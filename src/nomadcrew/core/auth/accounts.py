"""Registering, signing in and out, and staying signed in."""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakValueDictionary

from nomadcrew.core.auth.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidRefreshToken,
    NotConfirmed,
    RegistrationClosed,
)
from nomadcrew.core.auth.model import ACCESS_LIFETIME, REFRESH_LIFETIME, Account, Session, SignedIn
from nomadcrew.core.auth.passwords import check_password
from nomadcrew.core.auth.ports import Accounts, Credentials, NewAccount, RegistrationId, Sessions, Tokens
from nomadcrew.core.errors import TooMany
from nomadcrew.core.ids import EventId, NewId, SessionId, UserId
from nomadcrew.core.invitations.model import parse_email
from nomadcrew.core.limits import RateLimits
from nomadcrew.core.users.rules import parse_name, parse_username, suffix_of, usernames_for

FAILURES = "failed_sign_in"

# Attempts on one account wait for each other, so that many sent at once are counted like many in a row.
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class SignUp:
    """What somebody enters to register; without a username one is made from their address."""

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
        RegistrationClosed: accounts are made by invitation here.
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
    """Create an account at once; one with the same address and password is returned as it is.

    Raises:
        Invalid: the address, a name or the username has not the right form; `WeakPassword`.
        EmailTaken, UsernameTaken: somebody else's.
        TooMany: the password of an existing account was guessed wrong too often.
    """
    new = _checked(sign_up, new_id)
    async with _turn(new.email):
        # Registering with another's address tries a password on their account, so it counts like a sign-in.
        await _refuse_after_failures(limits, new.email)
        try:
            return await accounts.register(new, sign_up.password, confirmed=confirmed, now=now)
        except EmailTaken:
            await limits.take(FAILURES, new.email)
            raise


async def request_account(
    sign_up: SignUp, *, is_open: bool, accounts: Accounts, new_id: NewId, now: datetime
) -> None:
    """Keep a registration until the link mailed to its address is followed. Tells nobody who has an account.

    Raises:
        RegistrationClosed: accounts are made by invitation here.
        Invalid: as `create_account`.
        UsernameTaken: another account's.
    """
    if not is_open:
        raise RegistrationClosed
    new = _checked(sign_up, new_id)
    await accounts.request(new, sign_up.password, RegistrationId(new_id()), EventId(new_id()), now=now)


async def confirm(
    code: str, *, accounts: Accounts, sessions: Sessions, tokens: Tokens, new_id: NewId, now: datetime
) -> SignedIn:
    """Make the registration behind a mailed code an account, and sign it in.

    Raises:
        InvalidConfirmation, ConfirmationUsed: it is none any more.
    """
    account = await confirm_account(code, accounts=accounts, tokens=tokens, new_id=new_id, now=now)
    return await open_session(account, sessions=sessions, tokens=tokens, new_id=new_id, now=now)


async def confirm_account(
    code: str, *, accounts: Accounts, tokens: Tokens, new_id: NewId, now: datetime
) -> Account:
    """Make the registration behind a mailed code an account.

    Raises:
        InvalidConfirmation, ConfirmationUsed: it is none any more.
    """
    registration_id = tokens.read_confirmation_code(code)
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
    """Sign in with an e-mail address or username.

    Raises:
        DomainError: as `check_credentials` says.
    """
    account = await check_credentials(login, password, accounts=accounts, limits=limits, new_id=new_id, now=now)
    return await open_session(account, sessions=sessions, tokens=tokens, new_id=new_id, now=now)


async def check_credentials(
    login: str, password: str, *, accounts: Accounts, limits: RateLimits, new_id: NewId, now: datetime
) -> Account:
    """The account that an e-mail address or username and a password open.

    Raises:
        InvalidCredentials: whichever of them is wrong.
        NotConfirmed: right, but the address waits for its confirmation; the mail is sent again.
        TooMany: five failures in a quarter of an hour.
    """
    login = login.strip()
    found = await accounts.find(login, now=now)
    key = _failures_key(found, login)
    async with _turn(key):
        await _refuse_after_failures(limits, key)
        if not await accounts.check(found, password):
            await limits.take(FAILURES, key)
            raise InvalidCredentials
    assert found is not None
    if found.account is not None:
        return found.account
    assert found.registration_id is not None
    await accounts.remind(found.registration_id, EventId(new_id()), now=now)
    raise NotConfirmed


async def open_session(
    account: Account, *, sessions: Sessions, tokens: Tokens, new_id: NewId, now: datetime
) -> SignedIn:
    """Sign an account in on one more device."""
    refresh_token = tokens.new_refresh_token()
    session = Session(SessionId(new_id()), account, now + REFRESH_LIFETIME)
    await sessions.open(session, hash_of(refresh_token), now=now)
    return await _signed_in(session, refresh_token, tokens, now)


async def refresh(refresh_token: str, *, sessions: Sessions, tokens: Tokens, now: datetime) -> SignedIn:
    """Exchange a refresh token for fresh ones.

    Raises:
        InvalidRefreshToken: it opens nothing any more. If it was stolen, neither do its descendants.
    """
    fresh = tokens.new_refresh_token()
    try:
        session = await sessions.rotate(
            hash_of(refresh_token), hash_of(fresh), now=now, expires_at=now + REFRESH_LIFETIME
        )
    except InvalidRefreshToken as refusal:
        if refusal.ended is not None:
            await tokens.revoke(refusal.ended, now=now)
        raise
    return await _signed_in(session, fresh, tokens, now)


async def sign_out(refresh_token: str, *, sessions: Sessions, tokens: Tokens, now: datetime) -> None:
    """End the session of a refresh token; one that has ended already stays so."""
    ended = await sessions.close(hash_of(refresh_token), now=now)
    if ended is not None:
        await tokens.revoke(ended, now=now)


def hash_of(refresh_token: str) -> bytes:
    """What is stored of a refresh token. It has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(refresh_token.encode()).digest()


async def _signed_in(session: Session, refresh_token: str, tokens: Tokens, now: datetime) -> SignedIn:
    access_token = await tokens.issue(session.account, session.id, now=now)
    lifetime_s = int(ACCESS_LIFETIME.total_seconds())
    return SignedIn(access_token, refresh_token, lifetime_s, session.account.profile)


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


def _failures_key(found: Credentials | None, login: str) -> str:
    """One key per account, whether it is named by address or by username."""
    return login.lower() if found is None or found.account is None else found.account.profile.email.lower()


async def _refuse_after_failures(limits: RateLimits, key: str) -> None:
    allowance = await limits.take(FAILURES, key, cost=0)
    if not allowance.allowed:
        raise TooMany(
            allowance.retry_after_s,
            "Too many failed sign-ins for this account. Try again later.",
            code="too_many_failures",
        )


def _turn(key: str) -> asyncio.Lock:
    lock = _turns.get(key)
    if lock is None:
        lock = _turns[key] = asyncio.Lock()
    return lock
