"""Accounts whose passwords Cognito keeps, and everything else SQL.

The user of an account, or of a registration that waits, has its id for a name. It is made before the row in SQL and
confirmed after it, so a row always has a user whose password is right; what a crash leaves between is a user nobody
can sign in as, or one that is confirmed when somebody next signs in.

Cognito answers for a user who is not confirmed before it looks at the password. So a registration keeps a hash of
its own in SQL until it is confirmed, as on one machine.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from nomadcrew.adapters.aws.cognito.user_pool import UserPool, attribute_list, delete_user
from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.adapters.postgres.accounts import Passwords, PostgresAccounts
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.core.auth.errors import EmailTaken, UsernameTaken, WeakPassword
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.passwords import canonical
from nomadcrew.core.auth.ports import AccountPage, Credentials, NewAccount, Registration, RegistrationId
from nomadcrew.core.errors import TooMany, Unavailable
from nomadcrew.core.ids import EventId, UserId

log = logging.getLogger("nomadcrew.accounts")

# What SQL holds in the place of an account's password.
ELSEWHERE = "cognito"
MAX_PASSWORD_CHARS = 256
LOCKED_OUT_S = 60
# A user who is confirmed cannot be once more; and one whose trigger failed is.
CONFIRMED_ALL_THE_SAME = frozenset(
    {
        "InvalidLambdaResponseException",
        "NotAuthorizedException",
        "UnexpectedLambdaException",
        "UserLambdaValidationException",
    }
)


class EndsSessions(Protocol):
    async def end_all(self, user_id: UserId, *, now: datetime) -> object:
        """End every session of a person."""
        ...


class _Elsewhere:
    """`Passwords` for accounts, which have none in SQL."""

    async def hash(self, password: str) -> str:  # noqa: ARG002 — the protocol's form
        return ELSEWHERE

    async def matches(self, password_hash: str | None, password: str) -> bool:  # noqa: ARG002 — the protocol's form
        return False

    def is_outdated(self, password_hash: str) -> bool:  # noqa: ARG002 — the protocol's form
        return False


def find_account(sql: Sql) -> Callable[[UserId], Awaitable[Account | None]]:
    """Finds accounts by id, for sessions."""
    return PostgresAccounts(sql, _Elsewhere()).one


class SqlRegistrations:
    """`Registrations` in SQL, whose passwords are with Cognito once they are confirmed."""

    def __init__(self, sql: Sql) -> None:
        self._accounts = PostgresAccounts(sql, _Elsewhere())

    async def confirm(self, registration_id: RegistrationId, suffix: str, *, now: datetime) -> Account:
        return await self._accounts.confirm(registration_id, suffix, now=now, password_hash=ELSEWHERE)

    async def pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        return await self._accounts.pending(registration_id, now=now)

    async def one(self, user_id: UserId) -> Account | None:
        return await self._accounts.one(user_id)


class CognitoAccounts:
    """`Accounts` on SQL and a user pool; `passwords` are for registrations only."""

    def __init__(self, pool: UserPool, sql: Sql, sessions: EndsSessions, passwords: Passwords) -> None:
        self._pool = pool
        self._sessions = sessions
        self._passwords = passwords
        self._accounts = PostgresAccounts(sql, _Elsewhere())
        self._registrations = PostgresAccounts(sql, passwords)

    async def register(self, new: NewAccount, password: str, *, confirmed: bool, now: datetime) -> Account:
        known = await self._registered(new.email, password, now)
        if known is not None:
            return known
        await self._make_user(new.user_id, _of(new), password, verified=confirmed)
        try:
            account = await self._accounts.register(new, password, confirmed=confirmed, now=now)
        except (EmailTaken, UsernameTaken) as taken:
            return await self._instead(new, password, taken, now)
        await self._name_user(account, verified=confirmed)
        return account

    async def request(
        self, new: NewAccount, password: str, registration_id: RegistrationId, event_id: EventId, *, now: datetime
    ) -> None:
        # Also where nothing is kept in the end, so that the time taken says nothing of the address.
        try:
            await self._pool.sign_up(str(registration_id), _fit(password), _of(new))
        except AwsError as refused:
            if refused.code != "UsernameExistsException":
                raise _refusal(refused) from refused
        await self._registrations.request(new, password, registration_id, event_id, now=now)

    async def remind(self, registration_id: RegistrationId, event_id: EventId, *, now: datetime) -> None:
        await self._registrations.remind(registration_id, event_id, now=now)

    async def confirm(self, registration_id: RegistrationId, suffix: str, *, now: datetime) -> Account:
        # SQL first, which knows whether the registration still counts. The pool's trigger finds it done.
        account = await self._accounts.confirm(registration_id, suffix, now=now, password_hash=ELSEWHERE)
        await self._confirm_user(account.user_id)
        await self._name_user(account, verified=True)
        return account

    async def pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        return await self._registrations.pending(registration_id, now=now)

    async def find(self, login: str, *, now: datetime) -> Credentials | None:
        return await self._accounts.find(login, now=now)

    async def check(self, found: Credentials | None, password: str) -> bool:
        if found is not None and found.account is None:
            # Cognito is asked about nobody beside it, so that this takes no shorter than the rest.
            _, right = await asyncio.gather(
                self._opens(None, password), self._passwords.matches(found.password_hash, password)
            )
            return right
        return await self._opens(None if found is None else found.account, password)

    async def one(self, user_id: UserId) -> Account | None:
        return await self._accounts.one(user_id)

    async def page(self, *, limit: int, offset: int) -> AccountPage:
        return await self._accounts.page(limit=limit, offset=offset)

    async def set_password(self, user_id: UserId, password: str, *, now: datetime) -> None:
        await self._accounts.set_password(user_id, password, now=now)
        try:
            await self._set_password(user_id, password)
        except AwsError as refused:
            account = await self._accounts.one(user_id)
            if refused.code != "UserNotFoundException" or account is None:
                raise
            # Of a pool that was made anew: whoever may set passwords may bring somebody back.
            await self._make_user(user_id, _of_account(account), password, verified=account.confirmed)
        await self._sessions.end_all(user_id, now=now)

    async def grant_admin(self, user_id: UserId, *, granted: bool, now: datetime) -> None:
        await self._accounts.grant_admin(user_id, granted=granted, now=now)

    async def _instead(
        self, new: NewAccount, password: str, taken: EmailTaken | UsernameTaken, now: datetime
    ) -> Account:
        """The account that is there already, if it is this person's; else the user that was made is dropped."""
        mine = await self._accounts.one(new.user_id)
        if mine is not None:
            return mine  # written a moment ago, and the answer was lost
        await delete_user(self._pool, new.user_id)
        # Somebody was faster; perhaps the very same request, sent twice.
        known = None if isinstance(taken, UsernameTaken) else await self._registered(new.email, password, now)
        if known is None:
            raise taken
        return known

    async def _registered(self, email: str, password: str, now: datetime) -> Account | None:
        """The account of an address, if that is its password.

        Raises:
            EmailTaken: it is not.
        """
        found = await self._accounts.find(email, now=now)
        if found is None or found.account is None:
            return None
        if not await self._opens(found.account, password):
            raise EmailTaken
        return found.account

    async def _opens(self, account: Account | None, password: str) -> bool:
        """Whether Cognito takes the password; asks about somebody unknown where there is no account."""
        typed = canonical(password)
        possible = 0 < len(typed) <= MAX_PASSWORD_CHARS and bool(typed.strip())
        username = str(account.user_id) if account is not None and possible else str(uuid4())
        params = {"PASSWORD": typed if possible else "-"}
        for confirmed in (False, True):
            try:
                await self._pool.begin("ADMIN_USER_PASSWORD_AUTH", username, params)
            except AwsError as refused:
                if refused.code == "UserNotConfirmedException" and account is not None and not confirmed:
                    # SQL made it an account; whoever was to tell Cognito did not live to do it.
                    await self._confirm_user(account.user_id)
                    continue
                return _is_wrong(refused)
            return account is not None and possible
        return False

    async def _make_user(
        self, user_id: UserId, attributes: dict[str, str], password: str, *, verified: bool
    ) -> None:
        attributes = {**attributes, "email_verified": "true" if verified else "false"}
        try:
            await self._pool.admin(
                "AdminCreateUser",
                str(user_id),
                MessageAction="SUPPRESS",
                # Of a user that a crash left behind; SQL says whose an address is.
                ForceAliasCreation=True,
                UserAttributes=attribute_list(attributes),
            )
        except AwsError as refused:
            # By the same call, whose answer was lost: nobody else has this id.
            if refused.code != "UsernameExistsException":
                raise _refusal(refused) from refused
        await self._set_password(user_id, password)

    async def _set_password(self, user_id: UserId, password: str) -> None:
        try:
            await self._pool.admin("AdminSetUserPassword", str(user_id), Password=_fit(password), Permanent=True)
        except AwsError as refused:
            raise _refusal(refused) from refused

    async def _confirm_user(self, user_id: UserId) -> None:
        try:
            await self._pool.admin("AdminConfirmSignUp", str(user_id))
        except AwsError as refused:
            if refused.code not in CONFIRMED_ALL_THE_SAME:
                raise

    async def _name_user(self, account: Account, *, verified: bool) -> None:
        """Let Cognito know what else to call somebody. Nobody signs in by that, so going without is no error."""
        attributes = {
            "email": account.profile.email,
            "email_verified": "true" if verified else "false",
            "preferred_username": account.profile.username,
        }
        try:
            await self._pool.admin(
                "AdminUpdateUserAttributes", str(account.user_id), UserAttributes=attribute_list(attributes)
            )
        except (AwsError, Unavailable) as refused:
            log.warning("aliases not set", extra={"fields": {"reason": refused.code}})


def _of(new: NewAccount) -> dict[str, str]:
    return _attributes(new.email, new.first_name, new.last_name, new.usernames[0])


def _of_account(account: Account) -> dict[str, str]:
    profile = account.profile
    return _attributes(profile.email, profile.first_name, profile.last_name, profile.username)


def _attributes(email: str, first_name: str, last_name: str, username: str) -> dict[str, str]:
    """What the pool requires of a user; it takes no empty names, which we do."""
    return {"email": email, "given_name": first_name or username, "family_name": last_name or username}


def _fit(password: str) -> str:
    """Raises WeakPassword: Cognito takes no such password."""
    typed = canonical(password)
    if len(typed) > MAX_PASSWORD_CHARS:
        raise WeakPassword("The password is too long.")
    return typed


def _is_wrong(refused: AwsError) -> bool:
    """False, for a wrong password.

    Raises:
        TooMany: Cognito has closed the account for a while.
        AwsError: it is not about the password.
    """
    if refused.code == "NotAuthorizedException" and "attempts exceeded" in refused.message.lower():
        raise TooMany(LOCKED_OUT_S, code="too_many_failures") from refused
    if refused.code in ("NotAuthorizedException", "UserNotFoundException", "PasswordResetRequiredException"):
        return False
    raise refused


def _refusal(refused: AwsError) -> Exception:
    """What a refused password means to people."""
    if refused.code == "InvalidPasswordException":
        return WeakPassword("The password needs lower and upper case, a digit and a symbol of the common ones.")
    return refused
