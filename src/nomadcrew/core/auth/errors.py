"""Refusals around accounts, sessions and profiles."""

from nomadcrew.core.errors import Forbidden, Invalid, Unauthenticated
from nomadcrew.core.ids import SessionId


class UsernameTaken(Invalid):
    code = "username_taken"
    text = "That username is taken. Choose another username."


class EmailTaken(Invalid):
    code = "email_taken"
    text = "There is an account with that email address already."


class EmailRequired(Invalid):
    """The token of somebody without a profile names no address to make one with."""

    code = "email_required"
    text = "Your sign-in gives no email address, which a profile needs."


class InvalidUsername(Invalid):
    code = "invalid_username"
    text = "A username has 1 to 30 visible characters, without spaces and without @."


class WeakPassword(Invalid):
    code = "weak_password"
    text = "Choose a stronger password."


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    text = "The email address, username or password is not right."


class NotConfirmed(Forbidden):
    code = "email_not_confirmed"
    text = "Confirm your email address first: follow the link in the mail we sent you."


class InvalidConfirmation(Invalid):
    code = "invalid_confirmation"
    text = "This confirmation link is not valid or has expired. Register again to get a new one."


class ConfirmationUsed(Invalid):
    code = "confirmation_used"
    text = "This email address is confirmed already. Sign in to continue."


class InvalidRefreshToken(Unauthenticated):
    """`ended` is the session that a reused token brought down, if this refusal did so."""

    code = "invalid_refresh_token"
    text = "Your session has ended. Sign in again."

    def __init__(self, ended: SessionId | None = None) -> None:
        super().__init__()
        self.ended = ended


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    text = "Registration is closed here. Ask somebody for an invitation."


class NotSelf(Forbidden):
    code = "not_self"
    text = "You can change only your own profile."


class AdminOnly(Forbidden):
    code = "admin_only"
    text = "Only a system administrator may do that."
