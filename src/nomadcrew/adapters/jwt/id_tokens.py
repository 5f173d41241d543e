"""Verifies ID tokens of Google and Apple."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from nomadcrew.adapters.jwt.jwks import JwksSource
from nomadcrew.adapters.jwt.jwks_cache import Fetch, fetcher
from nomadcrew.adapters.jwt.parse import check_times, parse
from nomadcrew.adapters.jwt.signatures import verified_payload
from nomadcrew.core.auth.errors import InvalidIdToken, ProviderOff
from nomadcrew.core.auth.model import IdToken, Provider
from nomadcrew.core.errors import Unauthenticated

MAX_SUBJECT = 255  # characters; OpenID Connect Core 1.0, section 2
# The values of `iss`. Sources: Google, "OpenID Connect"; Apple, "Authenticating users with Sign in with Apple".
ISSUERS: Mapping[Provider, frozenset[str]] = {
    Provider.APPLE: frozenset({"https://appleid.apple.com"}),
    Provider.GOOGLE: frozenset({"https://accounts.google.com", "accounts.google.com"}),
}


class Client(Struct, frozen=True):
    """This site at a provider: its client ids, the audiences of tokens, and the URL of the provider's keys."""

    ids: Sequence[str]
    keys_url: str


class ProviderIdTokens:
    """`IdTokens` of the providers at which the site has a client."""

    def __init__(self, clients: Mapping[Provider, Client], fetch: Fetch | None = None) -> None:
        self._ids = {provider: frozenset(client.ids) for provider, client in clients.items() if client.ids}
        self._keys = {
            provider: JwksSource(clients[provider].keys_url, fetch or fetcher({})) for provider in self._ids
        }

    async def verify(self, provider: Provider, id_token: str, nonce: str, *, now: datetime) -> IdToken:
        if provider not in self._ids:
            raise ProviderOff
        try:
            payload = await self._verified(provider, id_token, now)
        except Unauthenticated:
            raise InvalidIdToken from None
        audience, subject = payload.get("aud"), payload.get("sub")
        if (
            not isinstance(audience, str)
            or audience not in self._ids[provider]
            or not _is_nonce(payload.get("nonce"), nonce)
            or not isinstance(subject, str)
            or not 0 < len(subject) <= MAX_SUBJECT
        ):
            raise InvalidIdToken
        # Apple writes the text "true".
        is_verified = payload.get("email_verified") in (True, "true")
        email = _text(payload, "email")
        return IdToken(
            provider, subject, email if is_verified and email else None, _text(payload, "given_name"),
            _text(payload, "family_name"),
        )  # fmt: skip

    async def _verified(self, provider: Provider, id_token: str, now: datetime) -> dict[str, Any]:
        """The payload of a token of this provider, after checking signature and times. Raises Unauthenticated."""
        parts = parse(id_token)
        if parts.issuer not in ISSUERS[provider] or parts.kid is None or parts.critical:
            raise InvalidIdToken
        key = await self._keys[provider].key(parts.kid, now=now)
        if key is None:
            raise InvalidIdToken
        payload = verified_payload(parts, key)
        check_times(payload, now)
        return payload


def _is_nonce(claim: object, nonce: str) -> bool:
    """True for the nonce or its SHA-256 in hex, which Apple's libraries send in its place."""
    if not isinstance(claim, str):
        return False
    hashed = hashlib.sha256(nonce.encode()).hexdigest()
    return any(hmac.compare_digest(claim.encode(), text.encode()) for text in (nonce, hashed))


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""
