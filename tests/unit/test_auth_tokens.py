"""Verification of access tokens of all issuers."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from nomadcrew.adapters.jwt.issuers import SupabaseIssuer
from nomadcrew.adapters.jwt.jwks import JwksSource
from nomadcrew.adapters.jwt.tokens import JwtTokens
from nomadcrew.core.auth.errors import InvalidConfirmation
from nomadcrew.core.auth.model import ACCESS_LIFETIME, Account
from nomadcrew.core.auth.ports import RegistrationId
from nomadcrew.core.errors import Unauthenticated, Unavailable
from nomadcrew.core.ids import SessionId, UserId
from nomadcrew.core.users.model import Profile

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ANA = UserId(UUID("019a0000-0000-7000-8000-00000000000a"))
SESSION = SessionId(UUID("019a0000-0000-7000-8000-000000000001"))
SIGNING, OLDER, FOREIGN = (RSAKey.generate_key(2048) for _ in range(3))
EC = ECKey.generate_key("P-256")
SUPABASE = "https://abc.supabase.co"
SUPABASE_SECRET = "a-secret-of-the-project-with-forty-characters"
ACCOUNT = Account(Profile(ANA, "ana@example.org", "ana", "", "", "", None, None, {}, NOON, NOON), is_admin=False)


@dataclass
class Published:
    """A fake JWKS address that counts fetches; `failing` simulates an outage."""

    keys: list[tuple[str, Key]] = field(default_factory=list)
    failing: bool = False
    fetched: int = 0
    document: bytes | None = None

    async def fetch(self, url: str) -> bytes:
        assert url == f"{SUPABASE}/auth/v1/.well-known/jwks.json"
        self.fetched += 1
        await asyncio.sleep(0)
        if self.failing:
            raise ConnectionRefusedError
        return self.document or jwks_of(self.keys)


def jwks_of(keys: Sequence[tuple[str, Key]]) -> bytes:
    return json.dumps({"keys": [{**key.as_dict(private=False), "kid": kid} for kid, key in keys]}).encode()


def own_tokens(**options: Any) -> JwtTokens:
    return JwtTokens([SIGNING, OLDER], ["confirmation-secret"], issuer="https://trips.example", **options)


def beside_supabase(published: Published | None = None, *, secret: str | None = SUPABASE_SECRET) -> JwtTokens:
    url = f"{SUPABASE}/auth/v1/.well-known/jwks.json"
    source = None if published is None else JwksSource(url, published.fetch)
    return own_tokens(others=[SupabaseIssuer(SUPABASE, hs256_secret=secret, jwks=source)])


def own_claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": "https://trips.example",
        "sub": str(ANA),
        "client_id": "nomadcrew",
        "token_use": "access",
        "sid": str(SESSION),
        "username": "ana",
        "iat": int(NOON.timestamp()),
        "exp": int((NOON + ACCESS_LIFETIME).timestamp()),
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def supabase_claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": f"{SUPABASE}/auth/v1",
        "sub": str(ANA),
        "aud": "authenticated",
        "email": "Ana@example.org",
        "user_metadata": {"username": "ana", "firstName": "Ana"},
        "iat": int(NOON.timestamp()),
        "exp": int((NOON + timedelta(hours=1)).timestamp()),
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: dict[str, Any], key: Key = SIGNING, alg: str = "RS256", kid: str | None = "") -> str:
    header = {"alg": alg} | ({"kid": kid or key.thumbprint()} if kid is not None else {})
    return jwt.encode(header, claims, key, algorithms=[alg])


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """A token that no library would create."""
    parts = [_base64(json.dumps(part).encode()) for part in (header, claims)]
    signature = b"" if secret is None else hmac.digest(secret, ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, _base64(signature)])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def refusal(tokens: JwtTokens, token: str, now: datetime = NOON) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.verify(token, now=now)
    return caught.value.code


async def test_issued_tokens_are_accepted() -> None:
    tokens = own_tokens()
    claims = await tokens.verify(await tokens.issue(ACCOUNT, SESSION, now=NOON), now=NOON)
    assert (claims.user_id, claims.session_id, claims.username) == (ANA, SESSION, "ana")
    assert claims.expires_at == NOON + timedelta(minutes=15)
    assert claims.email is None
    assert not claims.is_admin


async def test_issued_tokens_have_the_claims_for_the_gateway_and_no_address() -> None:
    token = await own_tokens().issue(ACCOUNT, SESSION, now=NOON)
    decoded = jwt.decode(token, SIGNING, algorithms=["RS256"])
    assert decoded.header == {"typ": "JWT", "alg": "RS256", "kid": SIGNING.thumbprint()}
    jti = decoded.claims.pop("jti")
    assert len(jti) == 32
    assert decoded.claims == own_claims()
    assert "example.org" not in json.dumps(decoded.claims)


async def test_a_token_states_whether_the_user_is_an_admin() -> None:
    tokens = own_tokens()
    admin = Account(ACCOUNT.profile, is_admin=True)
    assert (await tokens.verify(await tokens.issue(admin, SESSION, now=NOON), now=NOON)).is_admin
    assert not (await tokens.verify(signed(own_claims(is_admin="true")), now=NOON)).is_admin


async def test_an_older_key_still_verifies_and_the_newest_signs() -> None:
    tokens = own_tokens()
    assert await tokens.verify(signed(own_claims(), OLDER), now=NOON)
    assert (
        json.loads(base64.urlsafe_b64decode((await tokens.issue(ACCOUNT, SESSION, now=NOON)).split(".")[0] + "=="))[
            "kid"
        ]
        == SIGNING.thumbprint()
    )
    assert [key["kid"] for key in (await tokens.jwks(now=NOON))["keys"]] == [
        SIGNING.thumbprint(),
        OLDER.thumbprint(),
    ]
    assert all(set(key) == {"kty", "n", "e", "kid", "alg", "use"} for key in (await tokens.jwks(now=NOON))["keys"])


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"iss": "https://elsewhere.example"},
        {"iss": ["https://trips.example"]},
        {"sub": None},
        {"sub": "ana"},
        {"sub": 7},
        {"token_use": None},
        {"token_use": "id"},
        {"client_id": "another"},
        {"client_id": None},
        {"sid": None},
        {"sid": "x"},
        {"exp": None},
        {"exp": "2027"},
        {"exp": True},
        {"exp": 1e300},
        {"iat": int(NOON.timestamp()) + 61},
        {"nbf": int(NOON.timestamp()) + 61},
        {"nbf": "soon"},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_refused(changes: dict[str, Any]) -> None:
    assert await refusal(own_tokens(), signed(own_claims(**changes))) == "auth_failed"


async def test_an_expired_token_has_its_own_code_after_a_minute_of_tolerance() -> None:
    tokens, token = own_tokens(), signed(own_claims())
    end = NOON + ACCESS_LIFETIME
    assert await tokens.verify(token, now=end + 59 * SECOND)
    assert await refusal(tokens, token, end + 60 * SECOND) == "token_expired"
    assert await refusal(own_tokens(), token, end + 60 * SECOND) == "token_expired"


async def test_a_token_of_a_clock_one_minute_ahead_is_accepted() -> None:
    ahead = int(NOON.timestamp()) + 60
    assert await own_tokens().verify(signed(own_claims(iat=ahead, nbf=ahead)), now=NOON)


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "bnVsbA.bnVsbA.x", "e30.e30.", f"{'a' * 20_000}.b.c",
        by_hand({"alg": "RS256", "kid": 7}, own_claims(), None),
        by_hand({"alg": ["RS256"], "kid": "x"}, own_claims(), None),
        _base64(b"[" * 100_000) + ".e30.x",
    ],
    ids=lambda token: token[:20],
)  # fmt: skip
async def test_a_malformed_token_is_refused(token: str) -> None:
    assert await refusal(own_tokens(), token) == "auth_failed"


async def test_a_wrong_signature_is_refused() -> None:
    tokens = own_tokens()
    kid = SIGNING.thumbprint()
    assert await refusal(tokens, signed(own_claims(), FOREIGN, kid=kid)) == "auth_failed"
    head, _, signature = signed(own_claims()).split(".")
    forged = _base64(json.dumps(own_claims(is_admin=True)).encode())
    assert await refusal(tokens, f"{head}.{forged}.{signature}") == "auth_failed"


async def test_a_token_must_name_its_key() -> None:
    assert await refusal(own_tokens(), signed(own_claims(), kid=None)) == "auth_failed"
    assert await refusal(own_tokens(), signed(own_claims(), FOREIGN)) == "auth_failed"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", "HS256", "RS512", "PS256"])
async def test_an_algorithm_other_than_the_keys_is_refused(alg: str) -> None:
    header = {"alg": alg, "kid": SIGNING.thumbprint(), "typ": "JWT"}
    for secret in (None, b"", b"x"):
        assert await refusal(own_tokens(), by_hand(header, own_claims(), secret)) == "auth_failed"
    assert await refusal(beside_supabase(Published([("k", FOREIGN)])), by_hand(
        {**header, "kid": "k"}, supabase_claims(), None
    )) == "auth_failed"  # fmt: skip


async def test_a_public_key_is_not_accepted_as_a_shared_secret() -> None:
    """The algorithm confusion attack: HS256 with the published key as the secret."""
    for encoded in (SIGNING.as_pem(private=False), json.dumps(SIGNING.as_dict(private=False)).encode()):
        header = {"alg": "HS256", "kid": SIGNING.thumbprint()}
        assert await refusal(own_tokens(), by_hand(header, own_claims(), encoded)) == "auth_failed"
        published = Published([("k", SIGNING)])
        forged = by_hand({"alg": "HS256", "kid": "k"}, supabase_claims(), encoded)
        assert await refusal(beside_supabase(published, secret=None), forged) == "auth_failed"
        assert await refusal(beside_supabase(published), forged) == "auth_failed"


async def test_an_unknown_critical_header_is_refused() -> None:
    header = {"alg": "HS256", "crit": ["x"], "x": 1}
    token = by_hand(header, supabase_claims(), SUPABASE_SECRET.encode())
    assert await refusal(beside_supabase(), token) == "auth_failed"


async def test_a_key_of_another_issuer_is_refused() -> None:
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    assert await refusal(tokens, signed(own_claims(), FOREIGN, kid="k")) == "auth_failed"
    assert await refusal(tokens, signed(supabase_claims())) == "auth_failed"


async def test_a_supabase_token_with_the_shared_secret_identifies_its_user() -> None:
    claims = supabase_claims(app_metadata={"is_admin": True}, session_id=str(SESSION))
    token = signed(claims, OctKey.import_key(SUPABASE_SECRET), "HS256", kid=None)
    verified = await beside_supabase().verify(token, now=NOON)
    assert (verified.user_id, verified.email, verified.username) == (ANA, "Ana@example.org", "ana")
    assert verified.is_admin
    assert verified.session_id is None
    assert verified.metadata["firstName"] == "Ana"


async def test_supabase_claims_take_precedence_over_metadata() -> None:
    key = OctKey.import_key(SUPABASE_SECRET)
    metadata = {"username": "m"}
    inside = signed(supabase_claims(user_metadata=metadata), key, "HS256", kid=None)
    assert (await beside_supabase().verify(inside, now=NOON)).username == "m"
    outside = signed(supabase_claims(username="top", user_metadata=metadata), key, "HS256", kid=None)
    verified = await beside_supabase().verify(outside, now=NOON)
    assert (verified.email, verified.username) == ("Ana@example.org", "top")


@pytest.mark.parametrize(
    "changes", [{"email": ""}, {"email": None}, {"email": "ceo@corp.example", "is_anonymous": True}], ids=str
)
async def test_a_supabase_user_cannot_claim_an_address_that_the_project_did_not_prove(
    changes: dict[str, Any],
) -> None:
    claims = supabase_claims(user_metadata={"email": "ceo@corp.example", "email_verified": True}, **changes)
    token = signed(claims, OctKey.import_key(SUPABASE_SECRET), "HS256", kid=None)
    assert (await beside_supabase().verify(token, now=NOON)).email is None


@pytest.mark.parametrize(
    "changes",
    [{"aud": "anon"}, {"aud": ["x"]}, {"sub": None}, {"sub": "x"}, {"iss": "supabase"}, {"exp": None}],
    ids=str,
)
async def test_supabase_tokens_of_no_user_are_refused(changes: dict[str, Any]) -> None:
    key = OctKey.import_key(SUPABASE_SECRET)
    token = signed(supabase_claims(**changes), key, "HS256", kid=None)
    assert await refusal(beside_supabase(), token) == "auth_failed"


async def test_only_the_supabase_project_makes_admins() -> None:
    key = OctKey.import_key(SUPABASE_SECRET)
    in_user_metadata, at_top_level, as_text = (
        {"user_metadata": {"is_admin": True}},
        {"is_admin": True},
        {"is_admin": "yes"},
    )
    for changes in (in_user_metadata, at_top_level, {"app_metadata": as_text}):
        token = signed(supabase_claims(**changes), key, "HS256", kid=None)
        assert not (await beside_supabase().verify(token, now=NOON)).is_admin


@pytest.mark.parametrize(("key", "alg"), [(FOREIGN, "RS256"), (EC, "ES256")])
async def test_published_keys_of_both_types_verify(key: Key, alg: str) -> None:
    published = Published([("rsa", FOREIGN), ("ec", EC)])
    kid = "rsa" if alg == "RS256" else "ec"
    assert await beside_supabase(published).verify(signed(supabase_claims(), key, alg, kid), now=NOON)
    other = "ec" if alg == "RS256" else "rsa"
    assert await refusal(beside_supabase(published), signed(supabase_claims(), key, alg, other)) == "auth_failed"


async def test_keys_are_fetched_every_quarter_of_an_hour() -> None:
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    for n in range(14):
        await tokens.verify(signed(supabase_claims(n=n), FOREIGN, kid="k"), now=NOON + n * MINUTE)
    assert published.fetched == 1
    await tokens.verify(signed(supabase_claims(n=99), FOREIGN, kid="k"), now=NOON + 15 * MINUTE)
    assert published.fetched == 2


async def test_concurrent_verifications_fetch_the_keys_once() -> None:
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    distinct_tokens = [signed(supabase_claims(n=n), FOREIGN, kid="k") for n in range(10)]
    await asyncio.gather(*(tokens.verify(token, now=NOON) for token in distinct_tokens))
    assert published.fetched == 1


async def test_an_unknown_key_is_fetched_at_most_once_a_minute() -> None:
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    fresh = signed(supabase_claims(), SIGNING, kid="rotated")
    await tokens.verify(signed(supabase_claims(), FOREIGN, kid="k"), now=NOON)
    for n in range(10):
        assert await refusal(tokens, fresh, NOON + n * SECOND) == "auth_failed"
    assert published.fetched == 1
    published.keys.append(("rotated", SIGNING))
    assert await refusal(tokens, fresh, NOON + 59 * SECOND) == "auth_failed"
    assert await tokens.verify(fresh, now=NOON + 60 * SECOND)
    assert published.fetched == 2


async def test_an_outage_of_the_keys_is_not_a_refusal() -> None:
    published = Published([("k", FOREIGN)], failing=True)
    tokens = beside_supabase(published)
    token = signed(supabase_claims(), FOREIGN, kid="k")
    for n in range(5):
        with pytest.raises(Unavailable):
            await tokens.verify(token, now=NOON + n * SECOND)
    assert published.fetched == 1
    published.failing = False
    assert await tokens.verify(token, now=NOON + 5 * SECOND)


async def test_known_keys_survive_an_outage_for_an_hour() -> None:
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    lasting = int((NOON + timedelta(hours=9)).timestamp())
    await tokens.verify(signed(supabase_claims(exp=lasting), FOREIGN, kid="k"), now=NOON)
    published.failing = True
    assert await tokens.verify(signed(supabase_claims(exp=lasting, n=1), FOREIGN, kid="k"), now=NOON + 30 * MINUTE)
    with pytest.raises(Unavailable):
        await tokens.verify(signed(supabase_claims(exp=lasting, n=2), FOREIGN, kid="k"), now=NOON + 60 * MINUTE)


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"<html>", b"\xff"])
async def test_an_invalid_jwks_document_is_an_outage(document: bytes) -> None:
    tokens = beside_supabase(Published(document=document or b" "))
    with pytest.raises(Unavailable):
        await tokens.verify(signed(supabase_claims(), FOREIGN, kid="k"), now=NOON)


async def test_unusable_published_keys_are_ignored() -> None:
    good = {**FOREIGN.as_dict(private=False), "kid": "good"}
    odd = [
        7, {}, {"kid": "x"}, {"kid": 7, "kty": "RSA"}, {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "alg", "alg": "PS256"}, {"kid": "x", "kty": "RSA", "n": "!", "e": 1},
        {**good, "kid": "short", "n": good["n"][:171]}, {"kid": "oct", "kty": "oct", "k": "c2VjcmV0"},
        {"kid": "ec", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    ]  # fmt: skip
    published = Published(document=json.dumps({"keys": [*odd, good]}).encode())
    assert set(await JwksSource(f"{SUPABASE}/auth/v1/.well-known/jwks.json", published.fetch).all(now=NOON)) == {
        "good"
    }


async def test_a_verified_token_is_cached_until_its_expiry() -> None:
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    token = signed(supabase_claims(exp=int((NOON + 10 * MINUTE).timestamp())), FOREIGN, kid="k")
    first = await tokens.verify(token, now=NOON)
    assert await tokens.verify(token, now=NOON + MINUTE) is first
    assert await refusal(tokens, token, NOON + 11 * MINUTE) == "token_expired"


async def test_a_cached_token_is_verified_again_after_a_quarter_of_an_hour() -> None:
    """A withdrawn key must not survive in the cache."""
    published = Published([("k", FOREIGN)])
    tokens = beside_supabase(published)
    token = signed(supabase_claims(), FOREIGN, kid="k")
    await tokens.verify(token, now=NOON)
    published.keys.clear()
    assert await tokens.verify(token, now=NOON + 14 * MINUTE)
    assert await refusal(tokens, token, NOON + 15 * MINUTE) == "auth_failed"


async def test_tokens_of_an_ended_session_are_refused_and_sockets_are_notified() -> None:
    ended: list[SessionId] = []
    tokens = own_tokens(on_revoke=ended.append)
    token = await tokens.issue(ACCOUNT, SESSION, now=NOON)
    another = await tokens.issue(ACCOUNT, SessionId(UUID(int=7)), now=NOON)
    await tokens.verify(token, now=NOON)
    await tokens.revoke(SESSION, now=NOON)
    assert ended == [SESSION]
    assert await refusal(tokens, token) == "auth_failed"
    assert await refusal(tokens, await tokens.issue(ACCOUNT, SESSION, now=NOON)) == "auth_failed"
    assert await tokens.verify(another, now=NOON)


async def test_ended_sessions_are_dropped_once_their_tokens_have_expired() -> None:
    tokens = own_tokens()
    await tokens.revoke(SESSION, now=NOON)
    await tokens.revoke(SessionId(UUID(int=7)), now=NOON + 16 * MINUTE)
    assert await refusal(tokens, signed(own_claims()), NOON + 15 * MINUTE) == "auth_failed"
    await tokens.revoke(SessionId(UUID(int=8)), now=NOON + 17 * MINUTE)
    assert await refusal(tokens, signed(own_claims()), NOON + 17 * MINUTE) == "token_expired"


async def test_the_cache_of_tokens_is_bounded() -> None:
    tokens = own_tokens(cached=3)
    made = [await tokens.issue(ACCOUNT, SESSION, now=NOON) for _ in range(5)]
    first = [await tokens.verify(token, now=NOON) for token in made]
    again = [await tokens.verify(token, now=NOON) for token in reversed(made)]
    assert [a is b for a, b in zip(first, reversed(again), strict=True)] == [False, False, True, True, True]


async def test_refused_tokens_are_not_cached() -> None:
    tokens = own_tokens(cached=1)
    good = await tokens.issue(ACCOUNT, SESSION, now=NOON)
    remembered = await tokens.verify(good, now=NOON)
    for _ in range(3):
        await refusal(tokens, signed(own_claims(token_use="id")))
    assert await tokens.verify(good, now=NOON) is remembered


def test_issuers_must_have_different_names() -> None:
    same = SupabaseIssuer("https://x.example", hs256_secret=SUPABASE_SECRET)
    with pytest.raises(ValueError, match="same name"):
        JwtTokens([SIGNING], ["s"], issuer="https://x.example/auth/v1", others=[same])


def test_a_foreign_issuer_needs_keys_and_a_web_address() -> None:
    with pytest.raises(ValueError, match="JWKS"):
        SupabaseIssuer(SUPABASE)
    with pytest.raises(ValueError, match="URL"):
        JwksSource("file:///etc/passwd", Published().fetch)


def test_a_confirmation_code_identifies_its_registration_only() -> None:
    tokens = own_tokens()
    id_ = RegistrationId(UUID(int=42))
    code = tokens.confirmation_code(id_)
    assert code == tokens.confirmation_code(id_)
    assert tokens.read_confirmation_code(code) == id_
    other = tokens.confirmation_code(RegistrationId(UUID(int=43)))
    spoiled = code.replace(code[30], "!", 1)
    for forged in ("", "x", code[:-1], code + "A", code[:22] + other[22:], "é" * 64, spoiled):
        with pytest.raises(InvalidConfirmation):
            tokens.read_confirmation_code(forged)


def test_confirmation_codes_of_older_secrets_are_accepted() -> None:
    id_ = RegistrationId(UUID(int=42))
    older = JwtTokens([SIGNING], ["older"], issuer="x").confirmation_code(id_)
    assert JwtTokens([SIGNING], ["newer", "older"], issuer="x").read_confirmation_code(older) == id_
    with pytest.raises(InvalidConfirmation):
        JwtTokens([SIGNING], ["newer"], issuer="x").read_confirmation_code(older)


def test_refresh_tokens_have_256_random_bits() -> None:
    made = {own_tokens().new_refresh_token() for _ in range(50)}
    assert len(made) == 50
    assert all(len(token) == 43 for token in made)


def test_the_token_after_a_refresh_token_is_always_the_same_and_needs_the_secret() -> None:
    tokens = own_tokens()
    first = tokens.new_refresh_token()
    assert tokens.next_refresh_token(first) == tokens.next_refresh_token(first) != first
    assert tokens.next_refresh_token(first) != tokens.next_refresh_token(tokens.next_refresh_token(first))
    other = JwtTokens([SIGNING], ["another secret"], issuer="x")
    assert other.next_refresh_token(first) != tokens.next_refresh_token(first)
