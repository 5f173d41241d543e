"""Accounts on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from nomadcrew.adapters.postgres.profiles import profile_of
from nomadcrew.adapters.postgres.sql import Duplicate, Row, Sql, Statement, json_param, statements
from nomadcrew.adapters.postgres.text_keys import search_columns, with_keys
from nomadcrew.core.auth.errors import ConfirmationUsed, InvalidConfirmation, InvalidEmailChange, InvalidReset
from nomadcrew.core.auth.model import CONFIRMATION_LIFETIME, EMAIL_CHANGE_LIFETIME, RESET_LIFETIME, Account, IdToken
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
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.ids import EventId, UserId
from nomadcrew.core.retention import REGISTRATION_RETENTION
from nomadcrew.core.text import comparison_key, email_key
from nomadcrew.core.users.errors import EmailTaken, UsernameTaken
from nomadcrew.core.users.rules import with_suffix

_SQL = statements("accounts")
REPEAT_PAUSE = timedelta(seconds=60)
REMIND_PAUSE = timedelta(minutes=5)
OWNER_PAUSE = timedelta(hours=1)
MAX_REQUESTS_PER_HOUR = 5
DELETE_BATCH = 5_000  # rows per DELETE, so that locks are short


class Passwords(Protocol):
    """Slow password hashes. A hash contains its parameters."""

    async def hash(self, password: str) -> str: ...

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """True if the password matches the hash; False for None, after the same time."""
        ...

    def needs_rehash(self, password_hash: str) -> bool:
        """True if the hash has outdated parameters."""
        ...


class PostgresUnconfirmedRegistrations:
    """`UnconfirmedRegistrations` on SQL."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def in_use(self, ids: Sequence[UUID]) -> set[UUID]:
        """The ids that belong to an account or a registration."""
        rows = await self._sql.fetch(_SQL["in_use"], ids=json_param(list(ids)))
        return {row["id"] for row in rows}

    async def delete_expired(self, *, now: datetime) -> int:
        before, deleted, total = now - REGISTRATION_RETENTION, DELETE_BATCH, 0
        while deleted == DELETE_BATCH:
            deleted = len(await self._sql.fetch(_SQL["forget_expired"], before=before, limit=DELETE_BATCH))
            total += deleted
        return total


class PostgresAccounts(PostgresUnconfirmedRegistrations):
    def __init__(self, sql: Sql, passwords: Passwords) -> None:
        super().__init__(sql)
        self._passwords = passwords

    async def register(
        self, new: NewAccount, password: str, *, confirmed: bool, now: datetime, identity: IdToken | None = None
    ) -> Account:
        rows = await self._fetch_with_retry(
            _SQL["register"],
            user_id=new.user_id,
            **_columns(new),
            password_hash=await self._passwords.hash(password),
            confirmed=confirmed,
            provider=None if identity is None else identity.provider.value,
            subject=None if identity is None else identity.subject,
            now=now,
        )
        if not rows:
            raise UsernameTaken
        [row] = rows
        if row["verdict"] == "created":
            return account_of(row)
        if row["password_hash"] and await self._passwords.matches(row["password_hash"], password):
            return account_of(row)
        raise EmailTaken

    async def request(
        self, new: NewAccount, password: str, registration_id: RegistrationId, event_id: EventId, *, now: datetime
    ) -> None:
        recent = await self._sql.fetch(
            _SQL["recent_registration"], email_key=email_key(new.email), since=now - REPEAT_PAUSE
        )
        # Checked in any case, so that the response time does not reveal whether the address is known.
        if await self._passwords.matches(recent[0]["password_hash"] if recent else None, password):
            return
        [row] = await self._sql.fetch(
            _SQL["request"],
            id=registration_id,
            **_columns(new),
            password_hash=await self._passwords.hash(password),
            expires_at=now + CONFIRMATION_LIFETIME,
            counted_since=now - timedelta(hours=1),
            at_most=MAX_REQUESTS_PER_HOUR,
            remind_before=now - OWNER_PAUSE,
            event_id=event_id,
            now=now,
        )
        if row["verdict"] == "username_taken":
            raise UsernameTaken

    async def remind(self, registration_id: RegistrationId, event_id: EventId, *, now: datetime) -> None:
        await self._sql.fetch(
            _SQL["remind"],
            id=registration_id,
            event_id=event_id,
            expires_at=now + CONFIRMATION_LIFETIME,
            mailed_before=now - REMIND_PAUSE,
            now=now,
        )

    async def remind_address(self, email: str, event_id: EventId, *, now: datetime) -> None:
        await self._sql.fetch(
            _SQL["remind_address"],
            email_key=email_key(email),
            event_id=event_id,
            expires_at=now + CONFIRMATION_LIFETIME,
            mailed_before=now - REMIND_PAUSE,
            now=now,
        )

    async def request_reset(
        self, email: str, reset_id: PasswordResetId, event_id: EventId, *, now: datetime
    ) -> None:
        await self._sql.fetch(
            _SQL["request_reset"],
            email_key=email_key(email),
            id=reset_id,
            event_id=event_id,
            expires_at=now + RESET_LIFETIME,
            mailed_before=now - REMIND_PAUSE,
            now=now,
        )

    async def get_reset(self, reset_id: PasswordResetId, *, now: datetime) -> PasswordReset | None:
        for row in await self._sql.fetch(_SQL["reset"], id=reset_id, now=now):
            return PasswordReset(row["reset_id"], account_of(row), row["expires_at"])
        return None

    async def reset_password(self, reset: PasswordReset, password: str, *, now: datetime) -> None:
        password_hash = await self._passwords.hash(password)
        if not await self._sql.fetch(_SQL["reset_password"], id=reset.id, password_hash=password_hash, now=now):
            raise InvalidReset

    async def request_email_change(
        self, user_id: UserId, email: str, change_id: EmailChangeId, event_id: EventId, *, now: datetime
    ) -> None:
        await self._sql.fetch(
            _SQL["request_email_change"],
            user_id=user_id,
            id=change_id,
            email=email,
            email_key=email_key(email),
            event_id=event_id,
            expires_at=now + EMAIL_CHANGE_LIFETIME,
            mailed_before=now - REMIND_PAUSE,
            now=now,
        )

    async def get_email_change(self, change_id: EmailChangeId, *, now: datetime) -> EmailChange | None:
        for row in await self._sql.fetch(_SQL["email_change"], id=change_id, now=now):
            return EmailChange(row["change_id"], account_of(row), row["new_email"], row["expires_at"])
        return None

    async def change_email(self, change: EmailChange, *, now: datetime) -> None:
        try:
            if await self._sql.fetch(_SQL["change_email"], id=change.id, now=now):
                return
        except Duplicate:
            pass
        raise InvalidEmailChange

    async def get_former_email(self, change_id: EmailChangeId) -> str | None:
        rows = await self._sql.fetch(_SQL["former_email"], id=change_id)
        return rows[0]["former_email"] if rows else None

    async def note_device(
        self, user_id: UserId, kind: bytes, user_agent: str, device_id: DeviceId, *, is_known: bool, now: datetime
    ) -> bool:
        [row] = await self._sql.fetch(
            _SQL["note_device"],
            id=device_id,
            user_id=user_id,
            kind=kind,
            user_agent=user_agent,
            is_known=is_known,
            now=now,
        )
        return bool(row["may_sign_in"])

    async def get_device(self, device_id: DeviceId) -> KnownDevice | None:
        for row in await self._sql.fetch(_SQL["device"], id=device_id):
            return KnownDevice(account_of(row), row["user_agent"], row["first_seen_at"])
        return None

    async def confirm(
        self, registration_id: RegistrationId, suffix: str, *, now: datetime, password_hash: str | None = None
    ) -> Account:
        """See the port. `password_hash` replaces the registration's."""
        params = {"id": registration_id, "password_hash": password_hash, "now": now}
        [row] = await self._fetch_with_retry(_SQL["confirm"], usernames=with_keys([]), **params)
        if row["verdict"] == "username_taken":
            other = with_suffix(row["wanted_username"], suffix)
            [row] = await self._fetch_with_retry(_SQL["confirm"], usernames=with_keys([other]), **params)
        if row["verdict"] == "confirmation_used":
            raise ConfirmationUsed
        if row["verdict"] != "ok":
            raise InvalidConfirmation
        return account_of(row)

    async def get_pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        rows = await self._sql.fetch(_SQL["pending"], id=registration_id, now=now)
        if not rows:
            return None
        return Registration(rows[0]["id"], rows[0]["email"], rows[0]["username"], rows[0]["expires_at"])

    async def find(self, login: str, *, now: datetime) -> Credentials | None:
        rows = await self._sql.fetch(
            _SQL["find"], email_key=email_key(login), username_key=comparison_key(login), now=now
        )
        if not rows:
            return None
        [row] = rows
        if row["id"] is None:
            return Credentials(row["password_hash"], registration_id=row["registration_id"])
        return Credentials(row["password_hash"], account=account_of(row))

    async def find_registration(self, registration_id: RegistrationId, *, now: datetime) -> Credentials | None:
        rows = await self._sql.fetch(_SQL["pending"], id=registration_id, now=now)
        return Credentials(rows[0]["password_hash"], registration_id=registration_id) if rows else None

    async def check(self, found: Credentials | None, password: str) -> bool:
        if not await self._passwords.matches(None if found is None else found.password_hash, password):
            return False
        assert found is not None
        if found.account is not None and self._passwords.needs_rehash(found.password_hash):
            await self._sql.fetch(
                _SQL["rehash"],
                user_id=found.account.user_id,
                old_hash=found.password_hash,
                password_hash=await self._passwords.hash(password),
            )
        return True

    async def get_account(self, user_id: UserId) -> Account | None:
        rows = await self._sql.fetch(_SQL["one"], user_id=user_id)
        return account_of(rows[0]) if rows else None

    async def get_credentials(self, user_id: UserId) -> Credentials | None:
        rows = await self._sql.fetch(_SQL["one"], user_id=user_id)
        return Credentials(rows[0]["password_hash"], account=account_of(rows[0])) if rows else None

    async def page(self, *, limit: int, offset: int) -> AccountPage:
        rows = await self._sql.fetch(_SQL["page"], limit=limit, offset=offset)
        return AccountPage([account_of(row) for row in rows if row["id"] is not None], rows[0]["total"])

    async def set_password(self, user_id: UserId, password: str, *, now: datetime) -> None:
        password_hash = await self._passwords.hash(password)
        if not await self._sql.fetch(_SQL["set_password"], user_id=user_id, password_hash=password_hash, now=now):
            raise NotFound("account", user_id)

    async def grant_admin(self, user_id: UserId, *, granted: bool, now: datetime) -> None:
        if not await self._sql.fetch(_SQL["grant_admin"], user_id=user_id, granted=granted, now=now):
            raise NotFound("account", user_id)

    async def _fetch_with_retry(self, statement: Statement, **params: object) -> Sequence[Row]:
        """The rows of a statement that reads before it inserts; it is repeated once after a concurrent insert."""
        try:
            return await self._sql.fetch(statement, **params)
        except Duplicate:
            try:
                return await self._sql.fetch(statement, **params)
            except Duplicate as duplicate:
                raise Unavailable(code="busy") from duplicate


def _columns(new: NewAccount) -> dict[str, str | None]:
    return {
        "email": new.email,
        "email_key": email_key(new.email),
        "usernames": with_keys(new.usernames),
        "first_name": new.first_name,
        "last_name": new.last_name,
        **search_columns(first_name=new.first_name, last_name=new.last_name),
    }


def account_of(row: Row) -> Account:
    return Account(profile_of(row), row["is_admin"], row["confirmed"], row["has_totp"])
