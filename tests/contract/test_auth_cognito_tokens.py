"""Access tokens signed by Cognito, with the pool's triggers deployed as a function with its own role."""

import asyncio
import json
from dataclasses import replace
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
from tests.contract.aws_auth import AwsAuth

PASSWORD = "Sail2Porto!"


async def an_account(aws_auth: AwsAuth, *, is_admin: bool = False) -> Account:
    """The account of a user in the pool."""
    now, user_id = utc_now(), UserId(uuid7())
    pool = aws_auth.pool()
    await pool.admin("AdminCreateUser", str(user_id), MessageAction="SUPPRESS")
    await pool.admin("AdminSetUserPassword", str(user_id), Password=PASSWORD, Permanent=True)
    profile = Profile(user_id, "ana@example.org", "ana", "", "", "", None, None, {}, now, now)
    return Account(profile, is_admin=is_admin)


async def payload_of(aws_auth: AwsAuth, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set(await aws_auth.tokens().jwks(now=utc_now()))  # type: ignore[arg-type]
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


async def refused(aws_auth: AwsAuth, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await aws_auth.verifier().verify(token, now=utc_now())
    return caught.value.code


async def by_password(
    aws_auth: AwsAuth, account: Account, metadata: dict[str, str] | None = None
) -> dict[str, str]:
    """The tokens that the pool returns for a correct password."""
    started = await aws_auth.pool().begin(
        "ADMIN_USER_PASSWORD_AUTH", str(account.user_id), {"PASSWORD": PASSWORD}, metadata
    )
    tokens: dict[str, str] = started["AuthenticationResult"]
    return tokens


async def by_challenge(aws_auth: AwsAuth, account: Account, key: bytes, metadata: dict[str, str]) -> dict[str, Any]:
    """The tokens that the pool returns for a challenge answered with `key`."""
    pool, username = aws_auth.pool(), str(account.user_id)
    started = await pool.begin("CUSTOM_AUTH", username, {})
    answer = answer_to(key, username, started["ChallengeParameters"]["nonce"])
    finished = await pool.answer("CUSTOM_CHALLENGE", started["Session"], username, answer, metadata)
    tokens: dict[str, Any] = finished["AuthenticationResult"]
    return tokens


async def test_the_verifier_accepts_tokens_of_the_pool(aws_auth: AwsAuth) -> None:
    tokens, account, session = aws_auth.tokens(), await an_account(aws_auth), SessionId(uuid7())
    token = await tokens.issue(account, session, now=utc_now())
    claims = await aws_auth.verifier().verify(token, now=utc_now())
    assert (claims.user_id, claims.session_id, claims.is_admin) == (account.user_id, session, False)
    assert abs(claims.expires_at - utc_now() - ACCESS_LIFETIME) < timedelta(minutes=1)
    assert claims.email is None


async def test_a_token_has_the_claims_for_gateway_and_handlers_and_no_address(aws_auth: AwsAuth) -> None:
    account, session = await an_account(aws_auth, is_admin=True), SessionId(uuid7())
    payload = await payload_of(aws_auth, await aws_auth.tokens().issue(account, session, now=utc_now()))
    assert payload["iss"] == issuer_of(aws_auth.pool_id)
    assert (payload["token_use"], payload["client_id"]) == ("access", aws_auth.client_id)
    assert SCOPE in payload["scope"].split()
    assert (payload["username"], payload["sid"]) == (str(account.user_id), str(session))
    assert payload["is_admin"] == "true"
    assert payload["sub"] != str(account.user_id)
    assert payload["exp"] - payload["iat"] == ACCESS_LIFETIME.total_seconds()
    assert "example.org" not in json.dumps(payload)


async def test_a_token_names_its_user_and_session(aws_auth: AwsAuth) -> None:
    account, session = await an_account(aws_auth, is_admin=True), SessionId(uuid7())
    token = await aws_auth.tokens().issue(account, session, now=utc_now())
    claims = await aws_auth.verifier().verify(token, now=utc_now())
    assert (claims.user_id, claims.session_id, claims.is_admin) == (account.user_id, session, True)


async def test_other_tokens_of_the_pool_are_refused(aws_auth: AwsAuth) -> None:
    account = await an_account(aws_auth)
    key = aws_auth.proofs().key(PURPOSE)
    metadata = metadata_for(key, str(account.user_id), str(uuid7()), is_admin=False)
    by_password_tokens = await by_password(aws_auth, account, metadata)
    good = await by_challenge(aws_auth, account, key, metadata)
    for token in (by_password_tokens["AccessToken"], by_password_tokens["IdToken"], good["IdToken"]):
        assert await refused(aws_auth, token) == "auth_failed"
    assert await aws_auth.verifier().verify(good["AccessToken"], now=utc_now())


async def test_the_challenge_needs_the_key(aws_auth: AwsAuth) -> None:
    """The right to call Cognito and the client secret are not enough."""
    account = await an_account(aws_auth)
    with pytest.raises(AwsError) as caught:
        await by_challenge(aws_auth, account, b"guessed", {"sid": str(uuid7()), "is_admin": "true"})
    assert caught.value.code == "NotAuthorizedException"


async def test_the_secret_of_codes_proves_nothing_to_the_pool(aws_auth: AwsAuth) -> None:
    """It is read by functions that sign no user in, such as the one that sends mails."""
    account = await an_account(aws_auth)
    with pytest.raises(AwsError) as caught:
        await by_challenge(aws_auth, account, aws_auth.secrets().key(PURPOSE), {"sid": str(uuid7())})
    assert caught.value.code == "NotAuthorizedException"


@pytest.mark.parametrize("what", ["user", "session", "admin", "no proof"])
async def test_claims_need_a_proof_with_the_key(aws_auth: AwsAuth, what: str) -> None:
    account = await an_account(aws_auth)
    key, session = aws_auth.proofs().key(PURPOSE), str(uuid7())
    user_id = str(uuid7()) if what == "user" else str(account.user_id)
    metadata = metadata_for(key, user_id, session, is_admin=False)
    changes = {"session": {"sid": str(uuid7())}, "admin": {"is_admin": "true"}, "no proof": {"proof": ""}}
    forged = metadata | changes.get(what, {})
    made = await by_challenge(aws_auth, account, key, forged)
    assert await refused(aws_auth, made["AccessToken"]) == "auth_failed"
    payload = await payload_of(aws_auth, made["AccessToken"])
    assert not payload.keys() & {"sid", "is_admin"}
    assert SCOPE not in payload["scope"].split()


async def test_concurrent_tokens_have_their_own_sessions(aws_auth: AwsAuth) -> None:
    tokens, account = aws_auth.tokens(), await an_account(aws_auth)
    sessions = [SessionId(uuid7()) for _ in range(6)]
    made = await asyncio.gather(*(tokens.issue(account, session, now=utc_now()) for session in sessions))
    verifier = aws_auth.verifier()
    assert [(await verifier.verify(token, now=utc_now())).session_id for token in made] == sessions


async def test_an_unknown_user_gets_no_token(aws_auth: AwsAuth) -> None:
    account = await an_account(aws_auth)
    await aws_auth.pool().admin("AdminDeleteUser", str(account.user_id))
    with pytest.raises(Unavailable):
        await aws_auth.tokens().issue(account, SessionId(uuid7()), now=utc_now())


async def test_published_keys_have_the_form_of_our_own(aws_auth: AwsAuth) -> None:
    document = await aws_auth.tokens().jwks(now=utc_now())
    assert document["keys"]
    assert all(set(key) == {"kty", "n", "e", "kid", "alg", "use"} for key in document["keys"])


async def test_a_token_of_another_pool_is_refused(aws_auth: AwsAuth) -> None:
    token = await aws_auth.tokens().issue(await an_account(aws_auth), SessionId(uuid7()), now=utc_now())
    cognito = aws_auth.aws.boto("cognito-idp")
    other = cognito.create_user_pool(PoolName="another")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(UserPoolId=other, ClientName="auth")["UserPoolClient"]["ClientId"]
    other_auth = replace(aws_auth, pool_id=other, client_id=client)
    assert await refused(other_auth, token) == "auth_failed"


async def test_confirmation_codes_are_stable_and_signed(aws_auth: AwsAuth) -> None:
    id_ = RegistrationId(uuid7())
    code = aws_auth.tokens().confirmation_code(id_)
    assert code == aws_auth.tokens().confirmation_code(id_)
    assert aws_auth.tokens().read_confirmation_code(code) == id_
    with pytest.raises(InvalidConfirmation):
        aws_auth.tokens().read_confirmation_code(code[:-4] + "AAAA")
    assert aws_auth.tokens().new_refresh_token() != aws_auth.tokens().new_refresh_token()


async def test_a_sign_up_with_a_chosen_username_is_refused(aws_auth: AwsAuth) -> None:
    """The pool accepts ids as usernames only."""
    with pytest.raises(AwsError) as caught:
        await aws_auth.pool().sign_up("mallory", PASSWORD, {"email": "m@example.org"})
    assert caught.value.code == "UserLambdaValidationException"
