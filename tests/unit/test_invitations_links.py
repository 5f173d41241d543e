"""The token in the link of an invitation."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from nomadcrew.adapters.machine.invitation_links import SignedInvitationLinks
from nomadcrew.core.ids import InvitationId, TripId
from nomadcrew.core.invitations.errors import BadInvitationToken
from nomadcrew.core.invitations.model import Invitation

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ID, TRIP = InvitationId(UUID(int=5)), TripId(UUID(int=6))
CURRENT, MONOLITH = "a-secret-of-ours-that-is-long-enough", "the-monoliths-JWT_SECRET_KEY-of-old"
INVITATION = Invitation(
    ID, TRIP, None, "ben@example.org", None, "MEMBER", "PENDING", NOON + timedelta(days=7), NOON, NOON
)


def monolith_token(secret: str = MONOLITH, alg: str = "HS256", **changes: Any) -> str:
    claims = {
        "invitationId": str(ID),
        "tripId": str(TRIP),
        "inviteeEmail": "ben@example.org",
        "email": "",
        "iss": "nomadcrew-backend-invitation",
        "sub": str(ID),
        "jti": "0d3c6e62-5f0f-4f7c-8f0e-3f1c8e0a2b11",
        "iat": int(NOON.timestamp()),
        "nbf": int(NOON.timestamp()),
        "exp": int((NOON + timedelta(days=7)).timestamp()),
    } | changes
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "typ": "JWT"}, present, OctKey.import_key(secret), algorithms=[alg])


@pytest.mark.contract("rest-core.links")
def test_a_link_has_the_claims_of_the_monolith() -> None:
    token = SignedInvitationLinks([CURRENT]).issue(INVITATION, now=NOON)
    decoded = jwt.decode(token, OctKey.import_key(CURRENT), algorithms=["HS256"])
    monolith = jwt.decode(monolith_token(), OctKey.import_key(MONOLITH), algorithms=["HS256"])
    assert decoded.header == {"typ": "JWT", "alg": "HS256"}
    assert UUID(decoded.claims.pop("jti"))
    monolith.claims.pop("jti")
    assert decoded.claims == monolith.claims


@pytest.mark.contract("rest-core.links")
def test_a_link_is_valid_until_it_expires() -> None:
    links = SignedInvitationLinks([CURRENT])
    token = links.issue(INVITATION, now=NOON)
    assert links.read(token, now=NOON + timedelta(days=6, hours=23)) == ID
    with pytest.raises(BadInvitationToken):
        links.read(token, now=NOON + timedelta(days=7, minutes=1))


def test_a_link_equals_the_output_of_jose() -> None:
    token = SignedInvitationLinks([CURRENT]).issue(INVITATION, now=NOON)
    claims = jwt.decode(token, OctKey.import_key(CURRENT), algorithms=["HS256"]).claims
    assert jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CURRENT), algorithms=["HS256"]) == token
    assert SignedInvitationLinks([MONOLITH]).read(monolith_token(inviteeEmail="bén@example.org"), now=NOON) == ID


def test_a_repeated_mail_has_the_same_link() -> None:
    links = SignedInvitationLinks([CURRENT])
    assert links.issue(INVITATION, now=NOON) == links.issue(INVITATION, now=NOON)


def test_links_of_older_secrets_are_accepted() -> None:
    assert SignedInvitationLinks([CURRENT, MONOLITH]).read(monolith_token(), now=NOON) == ID
    with pytest.raises(BadInvitationToken):
        SignedInvitationLinks([CURRENT]).read(monolith_token(), now=NOON)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b.c",
        monolith_token(alg="HS384"),
        monolith_token(iss="another-issuer"),
        monolith_token(iss=None),
        monolith_token(invitationId=None),
        monolith_token(invitationId="x"),
        monolith_token(invitationId=7),
        monolith_token(exp=None),
        monolith_token(nbf=int((NOON + timedelta(hours=1)).timestamp())),
        monolith_token()[:-4] + "AAAA",
        jwt.encode(
            {"alg": "RS256"},
            {"iss": "nomadcrew-backend-invitation", "invitationId": str(ID), "exp": 9e9},
            RSAKey.generate_key(2048),
        ),
    ],
    ids=lambda token: token[-12:],
)
def test_an_invalid_link_is_refused(token: str) -> None:
    with pytest.raises(BadInvitationToken):
        SignedInvitationLinks([CURRENT, MONOLITH]).read(token, now=NOON)


def by_hand(header: object, payload: object = None, secret: str = CURRENT) -> str:
    """A correctly signed token with any content."""
    claims = {"iss": "nomadcrew-backend-invitation", "invitationId": str(ID), "exp": 9e9}
    pieces = [json.dumps(piece).encode() for piece in (header, claims if payload is None else payload)]
    text = ".".join(base64.urlsafe_b64encode(piece).rstrip(b"=").decode() for piece in pieces)
    seal = hmac.digest(secret.encode(), text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(seal).rstrip(b'=').decode()}"


def reencoded(token: str) -> str:
    """An equivalent encoding: the last character of a 32-byte signature has two unused bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


GOOD = by_hand({"alg": "HS256"})
HOSTILE = {
    "none": by_hand({"alg": "none"}),
    "none, unsigned": by_hand({"alg": "none"}).rpartition(".")[0] + ".",
    "another case": by_hand({"alg": "hs256"}),
    "rs256": by_hand({"alg": "RS256"}),
    "no alg": by_hand({}),
    "alg is a list": by_hand({"alg": ["HS256"]}),
    "an extension": by_hand({"alg": "HS256", "crit": ["b64"], "b64": False}),
    "header is a list": by_hand(["HS256"]),
    "payload is a list": by_hand({"alg": "HS256"}, ["x"]),
    "payload is text": by_hand({"alg": "HS256"}, "x"),
    "exp is true": by_hand({"alg": "HS256"}, {"iss": "nomadcrew-backend-invitation", "exp": True}),
    "exp is beyond": by_hand({"alg": "HS256"}, {"iss": "nomadcrew-backend-invitation", "exp": 1e300}),
    "unsigned": GOOD.rpartition(".")[0] + ".",
    "padded": GOOD + "=",
    "another encoding": reencoded(GOOD),
    "cut": GOOD[:-1],
    "four parts": GOOD + ".x",
    "line break": GOOD + "\n",
    "not ascii": GOOD + "é",
    "no text at all": GOOD + "\ud800",
    "huge": by_hand({"alg": "HS256"}, {"iss": "nomadcrew-backend-invitation", "x": "x" * 100_000}),
    "deep": by_hand({"alg": "HS256"}).split(".")[0] + "." + "W1tb" * 3000 + ".x",
}


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_token_is_refused(token: str) -> None:
    links = SignedInvitationLinks([CURRENT, MONOLITH])
    assert links.read(GOOD, now=NOON) == ID
    with pytest.raises(BadInvitationToken):
        links.read(token, now=NOON)


@pytest.mark.parametrize("secrets", [[], [""], [CURRENT, ""]])
def test_links_need_a_secret(secrets: list[str]) -> None:
    with pytest.raises(ValueError, match="secret"):
        SignedInvitationLinks(secrets)
