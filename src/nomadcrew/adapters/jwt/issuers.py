"""The issuers whose access tokens are accepted, and the checks of each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from joserfc.jwk import OctKey, RSAKey

from nomadcrew.adapters.jwt.jwks import JwksSource
from nomadcrew.adapters.jwt.parse import UnverifiedToken, check_times, invalid, subject
from nomadcrew.adapters.jwt.signatures import VerifyingKey
from nomadcrew.core.claims import Claims
from nomadcrew.core.ids import SessionId, parse_uuid


class Issuer(Protocol):
    """An issuer of access tokens. `name` is the `iss` of its tokens."""

    @property
    def name(self) -> str: ...

    async def key_for(self, parts: UnverifiedToken, *, now: datetime) -> VerifyingKey:
        """The key that signed a token, by the token's own account.

        Raises:
            Unauthenticated: the issuer has no such key, or does not use the algorithm.
            Unavailable: its keys cannot be fetched.
        """
        ...

    def claims_of(self, payload: dict[str, Any], *, now: datetime) -> Claims:
        """The claims of a verified payload. Raises Unauthenticated: no access token for this API, or expired."""
        ...


class OurIssuer:
    """This server: RS256 only, with the keys of the data folder."""

    def __init__(self, name: str, client_id: str, signing: Sequence[RSAKey]) -> None:
        self.name = name
        self.client_id = client_id
        self.signing_key = signing[0]
        self.kid = signing[0].thumbprint()
        self._keys = {key.thumbprint(): VerifyingKey("RS256", key) for key in signing}

    async def key_for(self, parts: UnverifiedToken, *, now: datetime) -> VerifyingKey:  # noqa: ARG002 — required by the port
        key = self._keys.get(parts.kid or "")
        if key is None:
            raise invalid()
        return key

    def claims_of(self, payload: dict[str, Any], *, now: datetime) -> Claims:
        expires_at = check_times(payload, now)
        if payload.get("token_use") != "access" or payload.get("client_id") != self.client_id:
            raise invalid()
        session_id = parse_uuid(str(payload.get("sid")))
        if session_id is None:
            raise invalid()
        return Claims(
            user_id=subject(payload),
            expires_at=expires_at,
            username=_text(payload.get("username")),
            is_admin=payload.get("is_admin") is True,
            session_id=SessionId(session_id),
        )

    def jwks(self) -> dict[str, Any]:
        return jwks_document(self._keys)


class SupabaseIssuer:
    """A Supabase project: HS256 with its secret, its published keys, or both while it migrates."""

    def __init__(self, url: str, *, hs256_secret: str | None = None, jwks: JwksSource | None = None) -> None:
        """`url` is the project's URL, such as https://abc.supabase.co.

        Raises:
            ValueError: there is neither a secret nor published keys.
        """
        if hs256_secret is None and jwks is None:
            raise ValueError("A Supabase issuer needs its JWT secret, its JWKS, or both.")
        self.name = f"{url.rstrip('/')}/auth/v1"
        self._secret = None if hs256_secret is None else VerifyingKey("HS256", OctKey.import_key(hs256_secret))
        self._jwks = jwks

    async def key_for(self, parts: UnverifiedToken, *, now: datetime) -> VerifyingKey:
        # The secret is used for HS256 only and published keys never are, so a public key cannot act as a secret.
        if parts.alg == "HS256":
            if self._secret is None:
                raise invalid()
            return self._secret
        if self._jwks is None or parts.kid is None or parts.alg not in ("RS256", "ES256"):
            raise invalid()
        key = await self._jwks.key(parts.kid, now=now)
        if key is None:
            raise invalid()
        return key

    def claims_of(self, payload: dict[str, Any], *, now: datetime) -> Claims:
        # The address is the project's own claim only: users write `user_metadata` themselves.
        expires_at = check_times(payload, now)
        if not _is_for(payload.get("aud"), "authenticated"):
            raise invalid()
        metadata, app_metadata = _mapping(payload, "user_metadata"), _mapping(payload, "app_metadata")
        return Claims(
            user_id=subject(payload),
            expires_at=expires_at,
            email=None if payload.get("is_anonymous") is True else _text(payload.get("email")),
            username=_text(payload.get("username")) or _text(metadata.get("username")),
            is_admin=app_metadata.get("is_admin") is True,
            metadata=metadata,
        )


def jwks_document(keys: Mapping[str, VerifyingKey]) -> dict[str, Any]:
    """RSA keys as a JWKS, by `kid`."""
    return {
        "keys": [
            {**key.key.as_dict(private=False), "kid": kid, "alg": "RS256", "use": "sig"}
            for kid, key in keys.items()
            if key.alg == "RS256"
        ]
    }


def _is_for(audience: object, wanted: str) -> bool:
    """True if a token is for `wanted`; a token without `aud` is for every audience."""
    return audience is None or audience == wanted or (isinstance(audience, list) and wanted in audience)


def _mapping(payload: dict[str, Any], name: str) -> dict[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
