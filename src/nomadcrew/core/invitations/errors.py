"""Refusals about invitations."""

from nomadcrew.core.errors import Forbidden, Invalid, Unauthenticated


class NotPending(Invalid):
    code = "invitation_not_pending"
    text = "This invitation was already answered or revoked."


class Expired(Invalid):
    code = "invitation_expired"
    text = "This invitation has expired. Ask for a new one."


class InviterNotAllowed(Invalid):
    code = "inviter_not_allowed"
    text = "The sender of this invitation may not give this role any more. Ask for a new invitation."


class EmailMismatch(Forbidden):
    code = "email_mismatch"
    text = "This invitation was sent to another email address."


class BadInvitationToken(Unauthenticated):
    code = "invalid_token"
    text = "This invitation link is not valid or has expired."
