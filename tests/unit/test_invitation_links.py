"""The token in an invitation's link."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from nomadcrew.adapters.embedded.invitation_links import SignedInvitationLinks
from nomadcrew.core.ids import InvitationId, TripId
from nomadcrew.core.invitations.model import BadInvitationToken, Invitation

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ID, TRIP = InvitationId(UUID(int=5)), TripId(UUID(int=6))
CURRENT, MONOLITH = "a-secret-of-ours-that-is-long-enough", "the-monoliths-JWT_SECRET_KEY-of-old"
INVITATION = Invitation(
    ID, TRIP, None, "ben@example.org", None, "MEMBER", "PENDING", NOON + timedelta(days=7), NOON, NOON
)


def as_the_monolith_made_it(secret: str = MONOLITH, alg: str = "HS256", **changes: Any) -> str:
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
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "typ": "JWT"}, kept, OctKey.import_key(secret), algorithms=[alg])


def test_a_link_says_what_the_monoliths_did() -> None:
    token = SignedInvitationLinks([CURRENT]).issue(INVITATION, now=NOON)
    decoded = jwt.decode(token, OctKey.import_key(CURRENT), algorithms=["HS256"])
    theirs = jwt.decode(as_the_monolith_made_it(), OctKey.import_key(MONOLITH), algorithms=["HS256"])
    assert decoded.header == {"typ": "JWT", "alg": "HS256"}
    assert UUID(decoded.claims.pop("jti"))
    theirs.claims.pop("jti")
    assert decoded.claims == theirs.claims


def test_a_link_is_read_until_it_expires() -> None:
    links = SignedInvitationLinks([CURRENT])
    token = links.issue(INVITATION, now=NOON)
    assert links.read(token, now=NOON + timedelta(days=6, hours=23)) == ID
    with pytest.raises(BadInvitationToken):
        links.read(token, now=NOON + timedelta(days=7, minutes=1))


def test_one_mail_sent_twice_carries_one_link() -> None:
    links = SignedInvitationLinks([CURRENT])
    assert links.issue(INVITATION, now=NOON) == links.issue(INVITATION, now=NOON)


def test_links_of_older_secrets_still_work() -> None:
    assert SignedInvitationLinks([CURRENT, MONOLITH]).read(as_the_monolith_made_it(), now=NOON) == ID
    with pytest.raises(BadInvitationToken):
        SignedInvitationLinks([CURRENT]).read(as_the_monolith_made_it(), now=NOON)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        "a.b.c",
        as_the_monolith_made_it(alg="HS384"),
        as_the_monolith_made_it(iss="somebody-else"),
        as_the_monolith_made_it(iss=None),
        as_the_monolith_made_it(invitationId=None),
        as_the_monolith_made_it(invitationId="x"),
        as_the_monolith_made_it(invitationId=7),
        as_the_monolith_made_it(exp=None),
        as_the_monolith_made_it(nbf=int((NOON + timedelta(hours=1)).timestamp())),
        as_the_monolith_made_it()[:-4] + "AAAA",
        jwt.encode(
            {"alg": "RS256"},
            {"iss": "nomadcrew-backend-invitation", "invitationId": str(ID), "exp": 9e9},
            RSAKey.generate_key(2048),
        ),
    ],
    ids=lambda token: token[-12:],
)
def test_what_is_no_link_of_ours_is_refused(token: str) -> None:
    with pytest.raises(BadInvitationToken):
        SignedInvitationLinks([CURRENT, MONOLITH]).read(token, now=NOON)


def test_links_need_a_secret() -> None:
    with pytest.raises(ValueError, match="secret"):
        SignedInvitationLinks([])
