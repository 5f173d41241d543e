"""Sign-in with an account at Google or Apple."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from joserfc.jwk import RSAKey

from nomadcrew.core.ids import UserId
from tests.id_tokens import APPLE, GOOGLE, IdentityProviders, identity_providers
from tests.postgres import Postgres
from tests.world import Answer, User, World, world

PASSWORD = "Sail2Porto!"
PATH = "/v1/auth/identities"


@pytest.fixture(scope="module")
def providers() -> Iterator[IdentityProviders]:
    with identity_providers() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def site(
    postgres: Postgres, template: str, tmp_path: Path, providers: IdentityProviders
) -> AsyncIterator[World]:
    async with world(postgres, tmp_path, template=template, environment=dict(providers.settings)) as made:
        yield made


def user_of(reply: Answer) -> User:
    user = reply.json["user"]
    return User(UserId(UUID(user["id"])), user["email"], user["username"], reply.json["access_token"])


async def nonce(site: World) -> str:
    reply = await site.call("POST", f"{PATH}/nonce")
    assert (reply.status, reply.json["expires_in"]) == (200, 600)
    return str(reply.json["nonce"])


async def proof(
    site: World, providers: IdentityProviders, *, provider: str = "google", issuer: str = GOOGLE, **claims: Any
) -> dict[str, str]:
    one = await nonce(site)
    return {
        "provider": provider,
        "nonce": one,
        "id_token": providers.token(one, site.clock(), issuer=issuer, **claims),
    }


async def sign_in(site: World, body: dict[str, str]) -> Answer:
    return await site.call("POST", f"{PATH}/sign-in", body=body)


async def register(site: World) -> User:
    body = {"email": "ana@example.org", "username": "ana", "password": PASSWORD}
    return user_of(await site.call("POST", "/v1/auth/register", body=body))


async def link(site: World, by: User, body: dict[str, str]) -> Answer:
    return await site.call("POST", PATH, by=by, body=body | {"password": PASSWORD})


async def test_a_new_user_gets_an_account_with_the_verified_address(
    site: World, providers: IdentityProviders
) -> None:
    first = await sign_in(site, await proof(site, providers))
    assert first.status == 200, first.body
    assert (first.json["user"]["email"], first.json["user"]["firstName"]) == ("ana@example.org", "Ana")
    again = await sign_in(site, await proof(site, providers, email="moved@example.org"))
    assert user_of(again).id == user_of(first).id
    assert (await site.call("GET", PATH, by=user_of(again))).json["identities"][0]["provider"] == "google"


async def test_apple_sends_a_hashed_nonce_and_a_text_for_true(site: World, providers: IdentityProviders) -> None:
    one = await nonce(site)
    hashed = hashlib.sha256(one.encode()).hexdigest()
    token = providers.token(hashed, site.clock(), issuer=APPLE, email_verified="true", given_name="x" * 60)
    reply = await sign_in(site, {"provider": "apple", "nonce": one, "id_token": token})
    assert (reply.status, "firstName" in reply.json["user"]) == (200, False), "a name too long is left out"


async def test_a_token_works_once(site: World, providers: IdentityProviders) -> None:
    body = await proof(site, providers)
    assert (await sign_in(site, body)).status == 200
    again = await sign_in(site, body)
    assert (again.status, again.code) == (401, "invalid_id_token")


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": APPLE},
        {"issuer": "https://accounts.example.org"},
        {"aud": "another-app"},
        {"aud": ["trips.apps.googleusercontent.com"]},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
        {"sub": "x" * 256},
        {"exp": 1},
        {"exp": None},
        {"key": RSAKey.generate_key(2048, parameters={"kid": "of-the-fake"})},
    ],
    ids=str,
)
async def test_another_token_is_refused(site: World, providers: IdentityProviders, wrong: dict[str, Any]) -> None:
    refused = await sign_in(site, await proof(site, providers, **wrong))
    assert (refused.status, refused.code) == (401, "invalid_id_token")


async def test_a_nonce_is_ours_and_expires(site: World, providers: IdentityProviders) -> None:
    now = site.clock()
    forged = {"provider": "google", "nonce": "forged", "id_token": providers.token("forged", now)}
    assert (await sign_in(site, forged)).code == "invalid_id_token"
    body = await proof(site, providers)
    site.clock.advance(600)
    assert (await sign_in(site, body)).code == "invalid_id_token"


@pytest.mark.parametrize(
    "claims", [{"email": None}, {"email_verified": False}, {"email": "u-x@people.invalid"}, {"email": "no address"}]
)
async def test_a_new_account_needs_a_verified_address(
    site: World, providers: IdentityProviders, claims: dict[str, Any]
) -> None:
    refused = await sign_in(site, await proof(site, providers, **claims))
    assert (refused.status, refused.code) == (403, "email_unverified")


async def test_an_account_is_linked_by_its_password_and_never_silently(
    site: World, providers: IdentityProviders
) -> None:
    ana = await register(site)
    refused = await sign_in(site, await proof(site, providers))
    assert (refused.status, refused.code) == (409, "identity_unlinked")
    wrong = await site.call("POST", PATH, by=ana, body=await proof(site, providers) | {"password": "Wrong1pass!"})
    assert wrong.code == "wrong_password"
    for _ in range(2):
        assert (await link(site, ana, await proof(site, providers))).status == 204
    assert user_of(await sign_in(site, await proof(site, providers))).id == ana.id
    taken = await link(site, ana, await proof(site, providers, sub="another"))
    assert (taken.status, taken.code) == (409, "identity_taken")


async def test_an_identity_signs_in_to_one_account(site: World, providers: IdentityProviders) -> None:
    ana = user_of(await sign_in(site, await proof(site, providers)))
    body = {"email": "ben@example.org", "username": "ben", "password": PASSWORD}
    ben = user_of(await site.call("POST", "/v1/auth/register", body=body))
    assert (await link(site, ben, await proof(site, providers))).code == "identity_taken"
    assert (await site.call("GET", PATH, by=ben)).json == {"identities": []}
    last = await site.call("DELETE", f"{PATH}/google", by=ana)
    assert (last.status, last.code) == (409, "last_sign_in")


async def test_an_identity_is_removed_where_something_else_signs_in(
    site: World, providers: IdentityProviders
) -> None:
    ana = await register(site)
    await link(site, ana, await proof(site, providers))
    assert (await site.call("DELETE", f"{PATH}/google", by=ana)).status == 204
    for provider in ("google", "facebook"):
        gone = await site.call("DELETE", f"{PATH}/{provider}", by=ana)
        assert (gone.status, gone.code) == (404, "identity_not_found")
    assert (await sign_in(site, await proof(site, providers))).code == "identity_unlinked"


async def test_a_site_without_a_client_offers_no_sign_in(here: World, providers: IdentityProviders) -> None:
    refused = await sign_in(here, await proof(here, providers))
    assert (refused.status, refused.code) == (400, "provider_off")


@pytest_asyncio.fixture(loop_scope="session")
async def closed(
    postgres: Postgres, template: str, tmp_path: Path, providers: IdentityProviders
) -> AsyncIterator[World]:
    environment = {"NOMADCREW_REGISTRATION": "closed", **providers.settings}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


async def test_a_closed_site_creates_no_account(closed: World, providers: IdentityProviders) -> None:
    refused = await sign_in(closed, await proof(closed, providers))
    assert (refused.status, refused.code) == (403, "registration_closed")
