"""Accounts in SQL, with the passwords in Cognito.

The Cognito user of an account or a pending registration has its id as username. The user is created before the row
in SQL and confirmed after it, so every row has a user with the right password. A crash in between leaves a user
that cannot sign in, or one that is confirmed at the next sign-in.

For an unconfirmed user, Cognito replies before it checks the password. A registration therefore has its own hash in
SQL until it is confirmed, as on one machine.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol
from uuid import uuid4

from msgspec.structs import replace

from nomadcrew.adapters.aws.cognito.user_pool import UserPool, attribute_list, delete_user
from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.adapters.postgres.accounts import Passwords, PostgresAccounts
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.core.auth.errors import WeakPassword
from nomadcrew.core.auth.model import Account, IdToken
from nomadcrew.core.auth.passwords import canonical
from nomadcrew.core.auth.ports import (
    AccountPage,
    Credentials,
    DeviceId,
    EmailChange,
    EmailChangeId,
    KnownDevice,
    NewAccount,
    PasswordReset,
    PasswordResetId,
    Registration,
    RegistrationId,
)
from nomadcrew.core.errors import TooMany, Unavailable
from nomadcrew.core.ids import EventId, SessionId, UserId
from nomadcrew.core.users.errors import EmailTaken, UsernameTaken

log = logging.getLogger("nomadcrew.accounts")

# Stored in SQL in the place of an account's password hash.
ELSEWHERE = "cognito"
MAX_PASSWORD_CHARS = 256
LOCKED_OUT_S = 60
# Errors after which the user is confirmed: it was confirmed before, or only its trigger failed.
CONFIRMED_ANYWAY = frozenset(
    {
        "InvalidLambdaResponseException",
        "NotAuthorizedException",
        "UnexpectedLambdaException",
        "UserLambdaValidationException",
    }
)


class EndsSessions(Protocol):
    async def end_others(self, user_id: UserId, kept: SessionId | None, *, now: datetime) -> object:
        """End all sessions of a user."""
        ...


class _InCognito:
    """`Passwords` for accounts, whose passwords are not in SQL."""

    async def hash(self, password: str) -> str:  # noqa: ARG002 — required by the protocol
        return ELSEWHERE

    async def matches(self, password_hash: str | None, password: str) -> bool:  # noqa: ARG002 — required by the protocol
        return False

    def needs_rehash(self, password_hash: str) -> bool:  # noqa: ARG002 — required by the protocol
        return False


def find_account(sql: Sql) -> Callable[[UserId], Awaitable[Account | None]]:
    """A function that finds accounts by id, for sessions."""
    return PostgresAccounts(sql, _InCognito()).get_account


class SqlRegistrations:
    """`Registrations` in SQL; after confirmation, passwords are in Cognito only."""

    def __init__(self, sql: Sql) -> None:
        self._accounts = PostgresAccounts(sql, _InCognito())

    async def confirm(self, registration_id: RegistrationId, suffix: str, *, now: datetime) -> Account:
        return await self._accounts.confirm(registration_id, suffix, now=now, password_hash=ELSEWHERE)

    async def get_pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        return await self._accounts.get_pending(registration_id, now=now)

    async def get_account(self, user_id: UserId) -> Account | None:
        return await self._accounts.get_account(user_id)

    async def get_reset(self, reset_id: PasswordResetId, *, now: datetime) -> PasswordReset | None:
        return await self._accounts.get_reset(reset_id, now=now)

    async def get_email_change(self, change_id: EmailChangeId, *, now: datetime) -> EmailChange | None:
        return await self._accounts.get_email_change(change_id, now=now)

    async def get_former_email(self, change_id: EmailChangeId) -> str | None:
        return await self._accounts.get_former_email(change_id)

    async def get_device(self, device_id: DeviceId) -> KnownDevice | None:
        return await self._accounts.get_device(device_id)


class CognitoAccounts(SqlRegistrations):
    """`Accounts` on SQL and a user pool; `passwords` hashes those of registrations."""

    def __init__(self, pool: UserPool, sql: Sql, sessions: EndsSessions, passwords: Passwords) -> None:
        super().__init__(sql)
        self._pool = pool
        self._sessions = sessions
        self._passwords = passwords
        self._registrations = PostgresAccounts(sql, passwords)

    async def register(
        self, new: NewAccount, password: str, *, confirmed: bool, now: datetime, identity: IdToken | None = None
    ) -> Account:
        known = await self._registered(new.email, password, now)
        if known is not None:
            return known
        await self._make_user(new.user_id, _attributes_of_new(new), password, verified=confirmed)
        try:
            account = await self._accounts.register(new, password, confirmed=confirmed, now=now, identity=identity)
        except (EmailTaken, UsernameTaken) as refusal:
            return await self._existing_account(new, password, refusal, now)
        await self._set_aliases(account, verified=confirmed)
        return account

    async def request(
        self, new: NewAccount, password: str, registration_id: RegistrationId, event_id: EventId, *, now: datetime
    ) -> None:
        # Signed up in any case, so that the response time does not reveal whether the address is known.
        try:
            await self._pool.sign_up(str(registration_id), _fit(password), _attributes_of_new(new))
        except AwsError as refused:
            if refused.code != "UsernameExistsException":
                raise _refusal(refused) from refused
        await self._registrations.request(new, password, registration_id, event_id, now=now)

    async def remind(self, registration_id: RegistrationId, event_id: EventId, *, now: datetime) -> None:
        await self._registrations.remind(registration_id, event_id, now=now)

    async def confirm(self, registration_id: RegistrationId, suffix: str, *, now: datetime) -> Account:
        # SQL first: it knows whether the registration is still valid. The pool's trigger then has nothing to do.
        account = await self._accounts.confirm(registration_id, suffix, now=now, password_hash=ELSEWHERE)
        await self._confirm_user(account.user_id)
        await self._set_aliases(account, verified=True)
        return account

    async def get_pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        return await self._registrations.get_pending(registration_id, now=now)

    async def remind_address(self, email: str, event_id: EventId, *, now: datetime) -> None:
        await self._registrations.remind_address(email, event_id, now=now)

    async def request_reset(
        self, email: str, reset_id: PasswordResetId, event_id: EventId, *, now: datetime
    ) -> None:
        await self._accounts.request_reset(email, reset_id, event_id, now=now)

    async def request_email_change(
        self, user_id: UserId, email: str, change_id: EmailChangeId, event_id: EventId, *, now: datetime
    ) -> None:
        await self._accounts.request_email_change(user_id, email, change_id, event_id, now=now)

    async def change_email(self, change: EmailChange, *, now: datetime) -> None:
        await self._accounts.change_email(change, now=now)
        profile = replace(change.account.profile, email=change.email)
        await self._set_aliases(replace(change.account, profile=profile), verified=True)

    async def note_device(
        self, user_id: UserId, kind: bytes, user_agent: str, device_id: DeviceId, *, is_known: bool, now: datetime
    ) -> bool:
        return await self._accounts.note_device(user_id, kind, user_agent, device_id, is_known=is_known, now=now)

    async def reset_password(self, reset: PasswordReset, password: str, *, now: datetime) -> None:
        # Cognito first: if it fails, the link still works.
        await self._replace_password(reset.account.user_id, password)
        await self._accounts.reset_password(reset, password, now=now)
        await self._sessions.end_others(reset.account.user_id, None, now=now)

    async def get_credentials(self, user_id: UserId) -> Credentials | None:
        return await self._accounts.get_credentials(user_id)

    async def find(self, login: str, *, now: datetime) -> Credentials | None:
        return await self._accounts.find(login, now=now)

    async def find_registration(self, registration_id: RegistrationId, *, now: datetime) -> Credentials | None:
        return await self._registrations.find_registration(registration_id, now=now)

    async def check(self, found: Credentials | None, password: str) -> bool:
        if found is not None and found.account is None:
            # Also ask Cognito about an unknown user, so that the check takes as long as the others.
            _, right = await asyncio.gather(
                self._accepts(None, password), self._passwords.matches(found.password_hash, password)
            )
            return right
        return await self._accepts(None if found is None else found.account, password)

    async def page(self, *, limit: int, offset: int) -> AccountPage:
        return await self._accounts.page(limit=limit, offset=offset)

    async def set_password(self, user_id: UserId, password: str, *, now: datetime) -> None:
        await self._accounts.set_password(user_id, password, now=now)
        await self._replace_password(user_id, password)
        await self._sessions.end_others(user_id, None, now=now)

    async def grant_admin(self, user_id: UserId, *, granted: bool, now: datetime) -> None:
        await self._accounts.grant_admin(user_id, granted=granted, now=now)

    async def _existing_account(
        self, new: NewAccount, password: str, refusal: EmailTaken | UsernameTaken, now: datetime
    ) -> Account:
        """The existing account, if it is this user's; else delete the new Cognito user."""
        own = await self._accounts.get_account(new.user_id)
        if own is not None:
            return own  # written by this request, whose reply from SQL was lost
        await delete_user(self._pool, new.user_id)
        # Another request was faster, perhaps the same one sent twice.
        known = None if isinstance(refusal, UsernameTaken) else await self._registered(new.email, password, now)
        if known is None:
            raise refusal
        return known

    async def _registered(self, email: str, password: str, now: datetime) -> Account | None:
        """The account with the address, if the password is right.

        Raises:
            EmailTaken: the password is wrong.
        """
        found = await self._accounts.find(email, now=now)
        if found is None or found.account is None:
            return None
        if not await self._accepts(found.account, password):
            raise EmailTaken
        return found.account

    async def _accepts(self, account: Account | None, password: str) -> bool:
        """True if Cognito accepts the password; without an account, asks about an unknown user."""
        typed = canonical(password)
        possible = 0 < len(typed) <= MAX_PASSWORD_CHARS and bool(typed.strip())
        username = str(account.user_id) if account is not None and possible else str(uuid4())
        params = {"PASSWORD": typed if possible else "-"}
        for confirmed in (False, True):
            try:
                await self._pool.begin("ADMIN_USER_PASSWORD_AUTH", username, params)
            except AwsError as refused:
                if refused.code == "UserNotConfirmedException" and account is not None and not confirmed:
                    # The account exists in SQL, but the process crashed before it confirmed the Cognito user.
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
                # Take the alias from the user of a crashed request; SQL decides who owns an address.
                ForceAliasCreation=True,
                UserAttributes=attribute_list(attributes),
            )
        except AwsError as refused:
            # Created by this request, whose reply was lost: no other request has this id.
            if refused.code != "UsernameExistsException":
                raise _refusal(refused) from refused
        await self._set_password(user_id, password)

    async def _replace_password(self, user_id: UserId, password: str) -> None:
        try:
            await self._set_password(user_id, password)
        except AwsError as refused:
            account = await self._accounts.get_account(user_id)
            if refused.code != "UserNotFoundException" or account is None:
                raise
            # The pool was recreated, so recreate the user.
            await self._make_user(user_id, _attributes_of(account), password, verified=account.confirmed)

    async def _set_password(self, user_id: UserId, password: str) -> None:
        try:
            await self._pool.admin("AdminSetUserPassword", str(user_id), Password=_fit(password), Permanent=True)
        except AwsError as refused:
            raise _refusal(refused) from refused

    async def _confirm_user(self, user_id: UserId) -> None:
        try:
            await self._pool.admin("AdminConfirmSignUp", str(user_id))
        except AwsError as refused:
            if refused.code not in CONFIRMED_ANYWAY:
                raise

    async def _set_aliases(self, account: Account, *, verified: bool) -> None:
        """Set a user's aliases in Cognito. Sign-ins do not use them, so a failure is only logged."""
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


def _attributes_of_new(new: NewAccount) -> dict[str, str]:
    return _attributes(new.email, new.first_name, new.last_name, new.usernames[0])


def _attributes_of(account: Account) -> dict[str, str]:
    profile = account.profile
    return _attributes(profile.email, profile.first_name, profile.last_name, profile.username)


def _attributes(email: str, first_name: str, last_name: str, username: str) -> dict[str, str]:
    """The attributes that the pool requires; Cognito refuses empty names, so the username replaces them."""
    return {"email": email, "given_name": first_name or username, "family_name": last_name or username}


def _fit(password: str) -> str:
    """Raises WeakPassword: the password is too long for Cognito."""
    typed = canonical(password)
    if len(typed) > MAX_PASSWORD_CHARS:
        raise WeakPassword("The password is too long.")
    return typed


def _is_wrong(refused: AwsError) -> bool:
    """False for a wrong password.

    Raises:
        TooMany: Cognito has locked the account temporarily.
        AwsError: the refusal has another reason.
    """
    if refused.code == "NotAuthorizedException" and "attempts exceeded" in refused.message.lower():
        raise TooMany(LOCKED_OUT_S, code="too_many_failures") from refused
    if refused.code in ("NotAuthorizedException", "UserNotFoundException", "PasswordResetRequiredException"):
        return False
    raise refused


def _refusal(refused: AwsError) -> Exception:
    """The refusal to show for an error of Cognito."""
    if refused.code == "InvalidPasswordException":
        return WeakPassword("The password needs a lower-case letter, an upper-case letter, a digit and a symbol.")
    return refused
