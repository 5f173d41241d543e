"""A fake of Google and Apple on a local port: signed ID tokens, and the keys that verify them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.local_service import serve

GOOGLE, APPLE = "https://accounts.google.com", "https://appleid.apple.com"
CLIENTS = {GOOGLE: "trips.apps.googleusercontent.com", APPLE: "org.example.trips"}


@dataclass
class IdentityProviders:
    """Both services with one key. `url` is the address of the keys."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, parameters={"kid": "of-the-fake"}))

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of a site whose users may sign in with both."""
        return {
            "NOMADCREW_GOOGLE_CLIENT_IDS": CLIENTS[GOOGLE],
            "NOMADCREW_GOOGLE_KEYS_URL": self.url,
            "NOMADCREW_APPLE_CLIENT_IDS": CLIENTS[APPLE],
            "NOMADCREW_APPLE_KEYS_URL": self.url,
        }

    def answer(self, _method: str, _path: str, _headers: dict[str, str], _body: bytes) -> tuple[int, bytes]:
        return 200, json.dumps({"keys": [self.key.as_dict(private=False)]}).encode()

    def token(
        self, nonce: str, now: datetime, /, *, issuer: str = GOOGLE, key: RSAKey | None = None, **claims: Any
    ) -> str:
        """The token of the user `ana`, unless `claims` say otherwise; a claim that is None is left out."""
        now_s = int(now.timestamp())
        payload = {
            "iss": issuer, "aud": CLIENTS.get(issuer), "sub": "ana", "iat": now_s, "exp": now_s + 3600,
            "nonce": nonce, "email": "ana@example.org", "email_verified": True, "given_name": "Ana",
        } | claims  # fmt: skip
        kept = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "of-the-fake"}, kept, key or self.key, algorithms=["RS256"])


@contextmanager
def identity_providers() -> Iterator[IdentityProviders]:
    """Run both services during the block."""
    providers = IdentityProviders()
    with serve(providers.answer) as url:
        providers.url = f"{url}/keys"
        yield providers
