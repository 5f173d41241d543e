"""Checks passkeys with the library `webauthn`, which is imported with the first one: few requests have one."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from nomadcrew.core.auth.credential_ports import PasskeyKey, StoredPasskey
from nomadcrew.core.auth.errors import InvalidPasskey


class WebAuthnProofs:
    """`PasskeyProofs` of one site."""

    def __init__(self, public_url: str, origins: Sequence[str] = ()) -> None:
        """`origins` are further ones, such as `android:apk-key-hash:…` of the site's app."""
        parts = urlsplit(public_url)
        self.site_id = parts.hostname or ""
        self._origins = [f"{parts.scheme}://{parts.netloc}", *origins]

    def challenge(self, credential: dict[str, Any]) -> str:
        try:
            client_data = json.loads(_bytes(credential["response"]["clientDataJSON"]))
            return _bytes(client_data["challenge"]).decode()
        except (KeyError, TypeError, ValueError, RecursionError):
            raise InvalidPasskey from None

    def credential_id(self, credential: dict[str, Any]) -> bytes:
        return _bytes(credential.get("rawId"))

    def registered(self, credential: dict[str, Any], challenge: str) -> PasskeyKey:
        from webauthn import verify_registration_response
        from webauthn.helpers.exceptions import WebAuthnException

        try:
            verified = verify_registration_response(
                credential=credential,
                expected_challenge=challenge.encode(),
                expected_rp_id=self.site_id,
                expected_origin=self._origins,
                require_user_verification=True,
            )
        except (WebAuthnException, ValueError, TypeError, KeyError) as error:
            raise InvalidPasskey from error
        return PasskeyKey(verified.credential_id, verified.credential_public_key, verified.sign_count)

    def signed(self, credential: dict[str, Any], challenge: str, known: StoredPasskey) -> int:
        from webauthn import verify_authentication_response
        from webauthn.helpers.exceptions import WebAuthnException

        try:
            return verify_authentication_response(
                credential=credential,
                expected_challenge=challenge.encode(),
                expected_rp_id=self.site_id,
                expected_origin=self._origins,
                credential_public_key=known.key.public_key,
                credential_current_sign_count=known.key.sign_count,
                require_user_verification=True,
            ).new_sign_count
        except (WebAuthnException, ValueError, TypeError, KeyError) as error:
            raise InvalidPasskey from error


def _bytes(text: object) -> bytes:
    """The bytes of base64url without padding. Raises InvalidPasskey: it is no such text."""
    if not isinstance(text, str):
        raise InvalidPasskey
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPasskey from None
