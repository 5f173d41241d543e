"""The token in an invitation link: an HS256 JWT as the monolith issued it, so that its links stay valid."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid5

from nomadcrew.adapters.jwt.hs256 import sign, verified_payload
from nomadcrew.adapters.jwt.parse import UnverifiedToken, check_times, parse
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ids import InvitationId, parse_uuid
from nomadcrew.core.invitations.errors import BadInvitationToken
from nomadcrew.core.invitations.model import Invitation

ISSUER = "nomadcrew-backend-invitation"


class SignedInvitationLinks:
    """`InvitationLinks` with shared secrets: the first signs, all of them verify."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """`secrets` may end with previous ones, such as the monolith's JWT_SECRET_KEY, whose links are still in
        use.

        Raises:
            ValueError: there is no secret, or one is empty.
        """
        if not secrets or not all(secrets):
            raise ValueError("Invitation links need at least one secret; no secret may be empty.")
        self._keys = [secret.encode() for secret in secrets]

    def issue(self, invitation: Invitation, *, now: datetime) -> str:
        issued_at = int(now.timestamp())
        claims: dict[str, Any] = {
            "invitationId": str(invitation.id),
            "tripId": str(invitation.trip_id),
            "inviteeEmail": invitation.invitee_email,
            "email": "",
            "iss": ISSUER,
            "sub": str(invitation.id),
            # Derived from the invitation and its expiry, so that a mail that is sent twice has the same link.
            "jti": str(uuid5(invitation.id, invitation.expires_at.isoformat())),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": int(invitation.expires_at.timestamp()),
        }
        return sign(claims, self._keys[0])

    def read(self, token: str, *, now: datetime) -> InvitationId:
        try:
            parts = parse(token)
            if parts.issuer != ISSUER:
                raise BadInvitationToken
            payload = self._payload(parts)
            check_times(payload, now)
        except Unauthenticated as refusal:
            raise BadInvitationToken from refusal
        invitation_id = payload.get("invitationId")
        value = parse_uuid(invitation_id) if isinstance(invitation_id, str) else None
        if value is None:
            raise BadInvitationToken
        return InvitationId(value)

    def _payload(self, parts: UnverifiedToken) -> dict[str, Any]:
        for key in self._keys:
            try:
                return verified_payload(parts, key)
            except Unauthenticated:
                continue
        raise BadInvitationToken
