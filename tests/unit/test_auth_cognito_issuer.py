"""Verification of a user pool's access tokens, and the source of its keys."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc.jwk import RSAKey

from nomadcrew.adapters.aws.cognito.issuer import pool_jwks, pool_verifier
from nomadcrew.adapters.aws.cognito.keys import public_keys
from nomadcrew.adapters.jwt.verifier import TokenVerifier
from nomadcrew.core.errors import Unauthenticated, Unavailable
from nomadcrew.core.ids import SessionId
from tests.unit.test_auth_tokens import FOREIGN, SIGNING, by_hand, jwks_of, signed

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POOL, CLIENT = "eu-west-1_AbCdEf", "3client"
ANA = UUID("019a0000-0000-7000-8000-00000000000a")
SESSION = UUID("019a0000-0000-7000-8000-000000000001")
AT_AWS = f"https://cognito-idp.eu-west-1.amazonaws.com/{POOL}"


class Published:
    """The keys of a pool; `failing` simulates an outage."""

    def __init__(self, *keys: RSAKey) -> None:
        self.keys = keys
        self.urls: list[str] = []
        self.failing = False

    async def fetch(self, url: str) -> bytes:
        self.urls.append(url)
        if self.failing:
            raise ConnectionRefusedError
        return jwks_of([(key.thumbprint(), key) for key in self.keys])


def verifier(published: Published | None = None) -> TokenVerifier:
    fetch = (published or Published(SIGNING)).fetch
    return pool_verifier(POOL, CLIENT, environment={}, fetch=fetch)


def claims(**changes: Any) -> dict[str, Any]:
    all_ = {
        "sub": "7c2b9f04-1111-4222-8333-444455556666",
        "iss": AT_AWS,
        "client_id": CLIENT,
        "token_use": "access",
        "scope": "aws.cognito.signin.user.admin nomadcrew/api",
        "username": str(ANA),
        "sid": str(SESSION),
        "iat": int(NOON.timestamp()),
        "exp": int((NOON + timedelta(minutes=15)).timestamp()),
    } | changes
    return {name: value for name, value in all_.items() if value is not None}


async def refusal(token: str, now: datetime = NOON) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await verifier().verify(token, now=now)
    return caught.value.code


async def test_a_token_of_the_pool_identifies_its_user() -> None:
    verified = await verifier().verify(signed(claims()), now=NOON)
    assert (verified.user_id, verified.session_id, verified.is_admin) == (ANA, SESSION, False)
    assert verified.expires_at == NOON + timedelta(minutes=15)
    assert (await verifier().verify(signed(claims(is_admin="true")), now=NOON)).is_admin


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": f"{AT_AWS}x"},
        {"iss": AT_AWS.replace("eu-west-1.", "eu-west-2.")},
        {"iss": f"{AT_AWS}/"},
        {"token_use": "id"},
        {"token_use": None},
        {"client_id": "another"},
        {"client_id": None, "aud": CLIENT},
        {"scope": "aws.cognito.signin.user.admin"},
        {"scope": None},
        {"scope": ["nomadcrew/api"]},
        {"username": None},
        {"username": "ana"},
        {"username": 7},
        {"sid": None},
        {"sid": "x"},
        {"exp": None},
        {"iat": int(NOON.timestamp()) + 61},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_refused(changes: dict[str, Any]) -> None:
    assert await refusal(signed(claims(**changes))) == "auth_failed"


async def test_only_the_text_true_makes_an_admin() -> None:
    for word in ("false", "True", 1, None):
        assert not (await verifier().verify(signed(claims(is_admin=word)), now=NOON)).is_admin


async def test_a_foreign_key_or_algorithm_is_refused() -> None:
    kid = SIGNING.thumbprint()
    assert await refusal(signed(claims(), FOREIGN)) == "auth_failed"
    assert await refusal(signed(claims(), FOREIGN, kid=kid)) == "auth_failed"
    assert await refusal(signed(claims(), kid=None)) == "auth_failed"
    for alg in ("none", "HS256", "RS512"):
        for secret in (None, SIGNING.as_pem(private=False)):
            assert await refusal(by_hand({"alg": alg, "kid": kid}, claims(), secret)) == "auth_failed"


async def test_an_expired_token_has_its_own_code() -> None:
    assert await refusal(signed(claims()), NOON + timedelta(minutes=16)) == "token_expired"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, f"{AT_AWS}/.well-known/jwks.json"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566/"}, f"http://127.0.0.1:4566/{POOL}/.well-known/jwks.json"),
        (
            {"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": "http://y"},
            f"http://y/{POOL}/.well-known/jwks.json",
        ),
    ],
)
async def test_keys_are_fetched_from_the_endpoint_of_the_pool(environment: Mapping[str, str], url: str) -> None:
    published = Published(SIGNING)
    source = pool_jwks(POOL, environment=environment, fetch=published.fetch)
    assert await source.key(SIGNING.thumbprint(), now=NOON) is not None
    assert published.urls == [url]


async def test_keys_are_fetched_every_quarter_of_an_hour_and_survive_an_outage() -> None:
    published = Published(SIGNING, FOREIGN)
    source = public_keys(POOL, environment={}, fetch=published.fetch)
    both = {SIGNING.thumbprint(), FOREIGN.thumbprint()}
    for minutes in (0, 5, 14):
        assert set(await source.all(now=NOON + timedelta(minutes=minutes))) == both
    assert len(published.urls) == 1
    published.failing = True
    assert set(await source.all(now=NOON + timedelta(minutes=15))) == both
    assert len(published.urls) == 2
    with pytest.raises(Unavailable):
        await source.all(now=NOON + timedelta(minutes=61))
    published.failing = False
    assert set(await source.all(now=NOON + timedelta(minutes=62))) == both


async def test_only_the_public_parts_of_a_key_are_published() -> None:
    whole = {**SIGNING.as_dict(private=True), "kid": "whole", "alg": "RS256", "use": "sig", "x5c": ["x"]}
    odd = [{"kty": "oct", "k": "secret", "kid": "oct"}, {**whole, "kid": "enc", "use": "enc"}, {"kty": "RSA"}, 7,
           {**whole, "kid": "ps", "alg": "PS256"}, {**whole, "kid": "number", "n": 7}]  # fmt: skip

    async def fetch(_url: str) -> bytes:
        return json.dumps({"keys": [*odd, whole]}).encode()

    shown = await public_keys(POOL, environment={}, fetch=fetch).all(now=NOON)
    assert set(shown) == {"whole"}
    assert set(shown["whole"]) == {"kty", "n", "e", "kid", "alg", "use"}
    assert shown["whole"]["n"] == whole["n"]


async def test_an_outage_before_the_first_fetch_is_reported() -> None:
    published = Published(SIGNING)
    published.failing = True
    source = public_keys(POOL, environment={}, fetch=published.fetch)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await source.all(now=NOON)
    assert len(published.urls) == 1


async def test_an_ended_session_is_refused_while_its_tokens_are_valid() -> None:
    pool_verifier_ = verifier()
    await pool_verifier_.verify(signed(claims()), now=NOON)
    pool_verifier_.revoke(SessionId(SESSION), now=NOON)
    with pytest.raises(Unauthenticated):
        await pool_verifier_.verify(signed(claims()), now=NOON)
