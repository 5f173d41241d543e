"""Access tokens signed by Cognito, for our own sessions."""

from __future__ import annotations

import os
import secrets
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nomadcrew.adapters.aws.cognito.proofs import PURPOSE, answer_to, metadata_for
from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.adapters.jwt import secrets as codes
from nomadcrew.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from nomadcrew.adapters.aws.cognito.keys import PublicKey
    from nomadcrew.adapters.aws.cognito.user_pool import UserPool
    from nomadcrew.adapters.aws.sdk.secrets import Secrets
    from nomadcrew.adapters.jwt.jwks_cache import JwksCache
    from nomadcrew.core.auth.model import Account
    from nomadcrew.core.ids import SessionId, UserId

CONFIRMATIONS = "confirmations"
REFRESH = "refresh tokens"
DEVICES = "devices"
MFA = "mfa"
NONCES = "nonces"
CHALLENGE = "CUSTOM_CHALLENGE"


class DerivedCodes:
    """`Codes` with the secret of codes."""

    def __init__(self, secrets_: Secrets, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._secrets = secrets_
        self._random_bytes = random_bytes

    def new_refresh_token(self) -> str:
        return codes.refresh_token(self._random_bytes)

    def next_refresh_token(self, spent: str) -> str:
        return codes.next_refresh_token(self._secrets.key(REFRESH), spent)

    def device_token(self, user_id: UserId) -> str:
        return codes.device_token(self._secrets.key(DEVICES), user_id, self._random_bytes)

    def read_device_token(self, token: str, user_id: UserId) -> str | None:
        return codes.read_device_token(self._secrets.keys(DEVICES), token, user_id)

    def random_bytes(self, count: int, /) -> bytes:
        return self._random_bytes(count)

    def mfa_token(self, user_id: UserId, *, expires_at: datetime) -> str:
        return codes.mfa_token(self._secrets.key(MFA), user_id, expires_at)

    def read_mfa_token(self, token: str, *, now: datetime) -> UserId:
        return codes.read_mfa_token(self._secrets.keys(MFA), token, now)

    def nonce(self, nonce_id: UUID, *, expires_at: datetime) -> str:
        return codes.nonce(self._secrets.key(NONCES), nonce_id, expires_at)

    def read_nonce(self, nonce: str, *, now: datetime) -> UUID:
        return codes.read_nonce(self._secrets.keys(NONCES), nonce, now)

    def confirmation_code(self, confirmation_id: UUID) -> str:
        return codes.confirmation_code(self._secrets.key(CONFIRMATIONS), confirmation_id)

    def read_confirmation_code(self, code: str) -> UUID:
        return codes.read_confirmation_code(self._secrets.keys(CONFIRMATIONS), code)


class CognitoTokens(DerivedCodes):
    """`Tokens` of a user pool; its triggers are in `hosts/aws/functions/cognito_triggers.py`."""

    def __init__(
        self, pool: UserPool, secrets_: Secrets, proofs: Secrets, *, environment: Mapping[str, str] = os.environ
    ) -> None:
        """`proofs` is the secret that the pool's triggers read; `secrets_` is that of `DerivedCodes`."""
        super().__init__(secrets_)
        self._proofs = proofs
        self._pool = pool
        self._environment = environment

    async def issue(self, account: Account, session_id: SessionId, *, now: datetime) -> str:  # noqa: ARG002 — Cognito's clock
        username = str(account.user_id)
        key = self._proofs.key(PURPOSE)
        metadata = metadata_for(key, username, str(session_id), is_admin=account.is_admin)
        try:
            begun = await self._pool.begin("CUSTOM_AUTH", username, {})
            nonce = begun.get("ChallengeParameters", {}).get("nonce", "")
            ended = await self._pool.answer(
                CHALLENGE, begun.get("Session", ""), username, answer_to(key, username, nonce), metadata
            )
        except AwsError as refused:
            # The account was found and its session opened just before, so a refusal is a configuration error.
            raise Unavailable(details=f"cognito-idp: {refused.code}") from refused
        token = ended.get("AuthenticationResult", {}).get("AccessToken")
        if not isinstance(token, str):
            raise Unavailable(details="cognito-idp: no access token")
        return token

    async def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        """Do nothing: the gateway accepts a token until it expires, and this process verifies none."""

    async def jwks(self, *, now: datetime) -> dict[str, Any]:
        return {"keys": list((await self._keys.all(now=now)).values())}

    @cached_property
    def _keys(self) -> JwksCache[PublicKey]:
        from nomadcrew.adapters.aws.cognito.keys import public_keys

        return public_keys(self._pool.id, environment=self._environment)
