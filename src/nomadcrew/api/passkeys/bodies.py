"""Bodies of /v1/auth/passkeys.

Options and credentials are those of browsers: WebAuthn Level 3, sections 5.1 and 5.4 to 5.10, as JSON.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.api.auth.bodies import Password, Secret
from nomadcrew.core.auth.model import Passkey
from nomadcrew.core.auth.passkeys import CHALLENGE_LIFETIME, NewPasskeyOptions

Name = Annotated[str, Meta(min_length=1, max_length=100)]
CHALLENGE_MS = int(CHALLENGE_LIFETIME.total_seconds() * 1000)
# ES256 and EdDSA of new authenticators, and RS256 of Windows. Source: the registry "COSE Algorithms" of IANA.
ALGORITHMS = (-8, -7, -257)


class PasskeyBeginIn(Struct):
    """The present password, and the `device_token` of an earlier sign-in as in a login."""

    password: Password
    device_token: Secret | None = None


class Site(Struct):
    id: str
    name: str


class Owner(Struct, rename="camel"):
    id: str
    name: str
    display_name: str


class KeyType(Struct, frozen=True):
    alg: int
    type: Literal["public-key"] = "public-key"


class KnownKey(Struct):
    id: str
    type: Literal["public-key"] = "public-key"


class Selection(Struct, frozen=True, rename="camel"):
    """The device must find the passkey by itself, and check its user."""

    resident_key: Literal["required"] = "required"
    require_resident_key: bool = True
    user_verification: Literal["required"] = "required"


class CreationOptions(Struct, rename="camel"):
    """The options of navigator.credentials.create, as its publicKey."""

    rp: Site
    user: Owner
    challenge: str
    exclude_credentials: Sequence[KnownKey]
    pub_key_cred_params: Sequence[KeyType] = tuple(KeyType(alg) for alg in ALGORITHMS)
    timeout: int = CHALLENGE_MS
    authenticator_selection: Selection = Selection()
    attestation: Literal["none"] = "none"


class RequestOptions(Struct, rename="camel"):
    """The options of navigator.credentials.get, as its publicKey."""

    challenge: str
    rp_id: str
    timeout: int = CHALLENGE_MS
    user_verification: Literal["required"] = "required"


class PasskeyIn(Struct):
    """The credential that the browser made, as JSON, and a name for the list."""

    name: Name
    credential: dict[str, Any]


class PasskeySignInIn(Struct):
    """The credential that the browser returned, as JSON."""

    credential: dict[str, Any]
    device_token: Secret | None = None


class PasskeyNameIn(Struct):
    name: Name


class PasskeyView(Struct):
    id: UUID
    name: str
    created_at: datetime
    used_at: datetime | None


class PasskeysView(Struct):
    passkeys: Sequence[PasskeyView]


def creation_options(new: NewPasskeyOptions, site_id: str, site_name: str) -> CreationOptions:
    profile = new.account.profile
    return CreationOptions(
        Site(site_id, site_name),
        Owner(_text(new.account.user_id.bytes), profile.username, profile.display_name),
        _text(new.challenge.encode()),
        [KnownKey(_text(credential_id)) for credential_id in new.present],
    )


def request_options(challenge: str, site_id: str) -> RequestOptions:
    return RequestOptions(_text(challenge.encode()), site_id)


def passkey_view(passkey: Passkey) -> PasskeyView:
    return PasskeyView(passkey.id, passkey.name, passkey.created_at, passkey.used_at)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
