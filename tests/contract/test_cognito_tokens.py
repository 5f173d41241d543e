"""Access tokens that Cognito signs, with the pool's triggers deployed as a function under its own role."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from nomadcrew.adapters.aws.cognito.keys import issuer_of
from nomadcrew.adapters.aws.cognito.proofs import PURPOSE, SCOPE, answer_to, metadata_for
from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.core.auth.errors import InvalidConfirmation
from nomadcrew.core.auth.model import ACCESS_LIFETIME, Account
from nomadcrew.core.auth.ports import RegistrationId
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unauthenticated, Unavailable
from nomadcrew.core.ids import SessionId, UserId, uuid7
from nomadcrew.core.users.model import Profile
from nomadcrew.hosts.aws.http_event import claims_of
from tests.contract.aws_identity import Identity

PASSWORD = "Sail2Porto!"


async def an_account(identity: Identity, *, is_admin: bool = False) -> Account:
    """Somebody the pool knows."""
    now, user_id = utc_now(), UserId(uuid7())
    pool = identity.pool()
    await pool.admin("AdminCreateUser", str(user_id), MessageAction="SUPPRESS")
    await pool.admin("AdminSetUserPassword", str(user_id), Password=PASSWORD, Permanent=True)
    profile = Profile(user_id, "ana@example.org", "ana", "", "", "", None, None, {}, now, now)
    return Account(profile, is_admin=is_admin)


async def payload_of(identity: Identity, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set(await identity.tokens().jwks(now=utc_now()))  # type: ignore[arg-type]
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


def at_the_gateway(payload: dict[str, Any]) -> dict[str, str]:
    """Claims as API Gateway hands them on."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in payload.items()}


async def refused(identity: Identity, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await identity.verifier().verify(token, now=utc_now())
    return caught.value.code


async def by_password(
    identity: Identity, account: Account, metadata: dict[str, str] | None = None
) -> dict[str, str]:
    """The tokens that checking a password leaves over."""
    begun = await identity.pool().begin(
        "ADMIN_USER_PASSWORD_AUTH", str(account.user_id), {"PASSWORD": PASSWORD}, metadata
    )
    tokens: dict[str, str] = begun["AuthenticationResult"]
    return tokens


async def by_challenge(
    identity: Identity, account: Account, key: bytes, metadata: dict[str, str]
) -> dict[str, Any]:
    """What the pool gives for a challenge answered with `key`."""
    pool, username = identity.pool(), str(account.user_id)
    begun = await pool.begin("CUSTOM_AUTH", username, {})
    answer = answer_to(key, username, begun["ChallengeParameters"]["nonce"])
    ended = await pool.answer("CUSTOM_CHALLENGE", begun["Session"], username, answer, metadata)
    tokens: dict[str, Any] = ended["AuthenticationResult"]
    return tokens


async def test_what_the_pool_issues_we_accept(identity: Identity) -> None:
    tokens, account, session = identity.tokens(), await an_account(identity), SessionId(uuid7())
    token = await tokens.issue(account, session, now=utc_now())
    claims = await identity.verifier().verify(token, now=utc_now())
    assert (claims.user_id, claims.session_id, claims.is_admin) == (account.user_id, session, False)
    assert abs(claims.expires_at - utc_now() - ACCESS_LIFETIME) < timedelta(minutes=1)
    assert claims.email is None


async def test_a_token_says_what_gateway_and_handlers_need_and_no_address(identity: Identity) -> None:
    account, session = await an_account(identity, is_admin=True), SessionId(uuid7())
    payload = await payload_of(identity, await identity.tokens().issue(account, session, now=utc_now()))
    assert payload["iss"] == issuer_of(identity.pool_id)
    assert (payload["token_use"], payload["client_id"]) == ("access", identity.client_id)
    assert SCOPE in payload["scope"].split()
    assert (payload["username"], payload["sid"]) == (str(account.user_id), str(session))
    assert payload["is_admin"] == "true"
    assert payload["sub"] != str(account.user_id)
    assert payload["exp"] - payload["iat"] == ACCESS_LIFETIME.total_seconds()
    assert "example.org" not in json.dumps(payload)


async def test_gateway_and_authorizer_take_a_token_for_the_same(identity: Identity) -> None:
    account, session = await an_account(identity, is_admin=True), SessionId(uuid7())
    tokens = identity.tokens()
    token = await tokens.issue(account, session, now=utc_now())
    believed = await identity.verifier().verify(token, now=utc_now())
    assert claims_of(at_the_gateway(await payload_of(identity, token))) == believed


async def test_the_pools_other_tokens_open_nothing(identity: Identity) -> None:
    account = await an_account(identity)
    key = identity.secrets().key(PURPOSE)
    metadata = metadata_for(key, str(account.user_id), str(uuid7()), is_admin=False)
    left_over = await by_password(identity, account, metadata)
    good = await by_challenge(identity, account, key, metadata)
    for token in (left_over["AccessToken"], left_over["IdToken"], good["IdToken"]):
        assert await refused(identity, token) == "auth_failed"
        assert claims_of(at_the_gateway(await payload_of(identity, token))) is None
    assert await identity.verifier().verify(good["AccessToken"], now=utc_now())


async def test_only_who_knows_the_key_gets_past_the_challenge(identity: Identity) -> None:
    """Rights to call Cognito, and the client's secret, are not enough."""
    account = await an_account(identity)
    with pytest.raises(AwsError) as caught:
        await by_challenge(identity, account, b"guessed", {"sid": str(uuid7()), "is_admin": "true"})
    assert caught.value.code == "NotAuthorizedException"


@pytest.mark.parametrize("what", ["user", "session", "admin", "no proof"])
async def test_only_who_knows_the_key_says_what_a_token_says(identity: Identity, what: str) -> None:
    account = await an_account(identity)
    key, session = identity.secrets().key(PURPOSE), str(uuid7())
    whose = str(uuid7()) if what == "user" else str(account.user_id)
    metadata = metadata_for(key, whose, session, is_admin=False)
    changes = {"session": {"sid": str(uuid7())}, "admin": {"is_admin": "true"}, "no proof": {"proof": ""}}
    forged = metadata | changes.get(what, {})
    made = await by_challenge(identity, account, key, forged)
    assert await refused(identity, made["AccessToken"]) == "auth_failed"
    payload = await payload_of(identity, made["AccessToken"])
    assert not payload.keys() & {"sid", "is_admin"}
    assert SCOPE not in payload["scope"].split()


async def test_many_tokens_at_once_are_each_their_own(identity: Identity) -> None:
    tokens, account = identity.tokens(), await an_account(identity)
    sessions = [SessionId(uuid7()) for _ in range(6)]
    made = await asyncio.gather(*(tokens.issue(account, each, now=utc_now()) for each in sessions))
    verifier = identity.verifier()
    assert [(await verifier.verify(token, now=utc_now())).session_id for token in made] == sessions


async def test_somebody_the_pool_does_not_know_gets_no_token(identity: Identity) -> None:
    account = await an_account(identity)
    await identity.pool().admin("AdminDeleteUser", str(account.user_id))
    with pytest.raises(Unavailable):
        await identity.tokens().issue(account, SessionId(uuid7()), now=utc_now())


async def test_the_published_keys_have_the_form_of_our_own(identity: Identity) -> None:
    document = await identity.tokens().jwks(now=utc_now())
    assert document["keys"]
    assert all(set(key) == {"kty", "n", "e", "kid", "alg", "use"} for key in document["keys"])


async def test_a_token_of_another_pool_is_refused(identity: Identity) -> None:
    token = await identity.tokens().issue(await an_account(identity), SessionId(uuid7()), now=utc_now())
    cognito = identity.aws.boto("cognito-idp")
    other = cognito.create_user_pool(PoolName="another")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=other, ClientName="auth")["UserPoolClient"]["ClientId"]
    elsewhere = Identity(
        identity.aws, other, client, identity.secret_arn, identity.sessions_table, identity.profiles_table
    )
    assert await refused(elsewhere, token) == "auth_failed"


async def test_confirmation_codes_are_stable_and_ours_alone(identity: Identity) -> None:
    id_ = RegistrationId(uuid7())
    code = identity.tokens().confirmation_code(id_)
    assert code == identity.tokens().confirmation_code(id_)
    assert identity.tokens().read_confirmation_code(code) == id_
    with pytest.raises(InvalidConfirmation):
        identity.tokens().read_confirmation_code(code[:-4] + "AAAA")
    assert identity.tokens().new_refresh_token() != identity.tokens().new_refresh_token()


async def test_nobody_signs_up_past_us(identity: Identity) -> None:
    """The pool takes names that are ids only, whoever asks."""
    with pytest.raises(AwsError) as caught:
        await identity.pool().sign_up("mallory", PASSWORD, {"email": "m@example.org"})
    assert caught.value.code == "UserLambdaValidationException"
