"""The administration of accounts, as the commands use it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest

from nomadcrew.core.auth.administration import grant_admin, list_users, remove_totp, reset_password
from nomadcrew.core.auth.credential_ports import TotpFactors
from nomadcrew.core.auth.errors import WeakPassword
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.ports import AccountPage, Accounts, Credentials
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import UserId
from nomadcrew.core.users.model import Profile
from tests.fakes import ANA, NOON

ACCOUNT = Account(Profile(ANA, "ana@example.org", "ana", "", "", "", None, None, {}, NOON, NOON))


@dataclass
class FakeAccounts:
    """`Accounts` and `TotpFactors` with the account of ana, which record changes."""

    changes: list[tuple[Any, ...]] = field(default_factory=list)

    async def find(self, login: str, *, now: datetime) -> Credentials | None:
        known = {"ana": Credentials("hash", account=ACCOUNT), "unconfirmed": Credentials("hash")}
        return known.get(login)

    async def page(self, *, limit: int, offset: int) -> AccountPage:
        return AccountPage([ACCOUNT][offset : offset + limit], 1)

    async def set_password(self, user_id: UserId, password: str, *, now: datetime) -> None:
        self.changes.append(("password", user_id, password))

    async def grant_admin(self, user_id: UserId, *, granted: bool, now: datetime) -> None:
        self.changes.append(("admin", user_id, granted))

    async def remove(self, user_id: UserId, *, now: datetime) -> None:
        self.changes.append(("app removed", user_id))


def fake() -> tuple[FakeAccounts, Accounts]:
    accounts = FakeAccounts()
    return accounts, cast(Accounts, accounts)


async def test_a_password_is_replaced_and_a_weak_one_refused() -> None:
    recorded, accounts = fake()
    assert await reset_password(" ana ", "Over-the-hills-7", accounts=accounts, now=NOON) == ACCOUNT
    with pytest.raises(WeakPassword):
        await reset_password("ana", "short", accounts=accounts, now=NOON)
    assert recorded.changes == [("password", ANA, "Over-the-hills-7")]


async def test_administrators_are_granted_and_revoked() -> None:
    recorded, accounts = fake()
    await grant_admin("ana", accounts=accounts, now=NOON)
    await grant_admin("ana", accounts=accounts, now=NOON, granted=False)
    assert recorded.changes == [("admin", ANA, True), ("admin", ANA, False)]


async def test_the_app_of_an_account_is_removed() -> None:
    recorded, accounts = fake()
    factors = cast(TotpFactors, recorded)
    assert await remove_totp("ana", accounts=accounts, totp_factors=factors, now=NOON) == ACCOUNT
    assert recorded.changes == [("app removed", ANA)]


@pytest.mark.parametrize("login", ["ben", "unconfirmed"])
async def test_an_unknown_or_unconfirmed_account_is_not_found(login: str) -> None:
    recorded, accounts = fake()
    with pytest.raises(NotFound):
        await grant_admin(login, accounts=accounts, now=NOON)
    assert recorded.changes == []


async def test_accounts_are_listed_in_pages() -> None:
    _, accounts = fake()
    assert (await list_users(accounts=accounts)).items == [ACCOUNT]
    assert (await list_users(accounts=accounts, offset=1)).items == []
