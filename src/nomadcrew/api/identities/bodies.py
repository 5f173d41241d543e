"""Bodies of /v1/auth/identities."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from nomadcrew.api.auth.bodies import Password, Secret
from nomadcrew.core.auth.identities import NONCE_LIFETIME, Proof
from nomadcrew.core.auth.model import Identity, Provider

Token = Annotated[str, Meta(min_length=1, max_length=8_192)]


class NonceView(Struct):
    """A nonce for one ID token, and the seconds for which it is valid."""

    nonce: str
    expires_in: int = int(NONCE_LIFETIME.total_seconds())


class ProofIn(Struct):
    """An ID token of `provider`, which was asked for with `nonce` or with its SHA-256 in hex.

    The `device_token` of an earlier sign-in is as in a login.
    """

    provider: Provider
    id_token: Token
    nonce: Secret
    device_token: Secret | None = None

    def proof(self) -> Proof:
        return Proof(self.provider, self.id_token, self.nonce)


class LinkIn(Struct):
    """The proof of an identity as in `ProofIn`, and the present password."""

    provider: Provider
    id_token: Token
    nonce: Secret
    password: Password
    device_token: Secret | None = None

    def proof(self) -> Proof:
        return Proof(self.provider, self.id_token, self.nonce)


class IdentityView(Struct):
    provider: Provider
    created_at: datetime


class IdentitiesView(Struct):
    identities: Sequence[IdentityView]


def identities_view(identities: Sequence[Identity]) -> IdentitiesView:
    return IdentitiesView([IdentityView(each.provider, each.created_at) for each in identities])
