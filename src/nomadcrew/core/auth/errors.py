"""Refusals about accounts, sessions and profiles."""

from nomadcrew.core.errors import Forbidden, Invalid, Unauthenticated
from nomadcrew.core.ids import SessionId


class UsernameTaken(Invalid):
    code = "username_taken"
    text = "This username is taken. Choose another username."


class EmailTaken(Invalid):
    code = "email_taken"
    text = "An account with this email address exists already."


class EmailRequired(Invalid):
    """The caller has no profile yet, and the token has no email address to create one with."""

    code = "email_required"
    text = "A profile needs an email address, and your access token has none."


class InvalidUsername(Invalid):
    code = "invalid_username"
    text = "A username must have 1 to 30 visible characters, without spaces and without @."


class WeakPassword(Invalid):
    code = "weak_password"
    text = "Choose a stronger password."


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    text = "The email address, username or password is wrong."


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
    """`ended` is the session that this refusal ended because its token was reused, else None."""

    code = "invalid_refresh_token"
    text = "Your session has ended. Sign in again."

    def __init__(self, ended: SessionId | None = None) -> None:
        super().__init__()
        self.ended = ended


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    text = "Registration is closed. Ask a member for an invitation."


class NotSelf(Forbidden):
    code = "not_self"
    text = "You can change only your own profile."


class AdminOnly(Forbidden):
    code = "admin_only"
    text = "Only a system administrator may do that."
