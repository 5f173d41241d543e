"""Refusals about accounts and sessions."""

from nomadcrew.core.errors import Conflict, Forbidden, Invalid, Unauthenticated
from nomadcrew.core.ids import SessionId


class WeakPassword(Invalid):
    code = "weak_password"
    text = "Choose a stronger password."


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    text = "The email address, username or password is wrong."


class WrongPassword(Forbidden):
    code = "wrong_password"
    text = "This is not your present password."


class PasswordElsewhere(Forbidden):
    code = "password_elsewhere"
    text = "You sign in with another service. Change the password there."


class MfaRequired(Unauthenticated):
    """The password is right; the sign-in is completed with `mfa_token` and a code."""

    code = "mfa_required"
    text = "Enter the code of your authenticator app."

    def __init__(self, mfa_token: str) -> None:
        super().__init__()
        self.mfa_token = mfa_token


class InvalidMfaToken(Unauthenticated):
    code = "invalid_mfa_token"
    text = "The code came too late. Sign in again."


class ProviderOff(Invalid):
    code = "provider_off"
    text = "This site offers no sign-in with that service."


class InvalidIdToken(Unauthenticated):
    code = "invalid_id_token"
    text = "The sign-in with the other service did not work. Try it again."


class EmailUnverified(Forbidden):
    code = "email_unverified"
    text = "The other service does not confirm your email address. Register with it here."


class IdentityUnlinked(Conflict):
    code = "identity_unlinked"
    text = "You have an account with this address. Sign in with your password, then link the other service."


class IdentityTaken(Conflict):
    code = "identity_taken"
    text = "This sign-in, or another one of the same service, is linked already."


class LastSignIn(Conflict):
    code = "last_sign_in"
    text = "You could not sign in any more. Choose a password first: ask for a link by mail."


class WrongCode(Forbidden):
    code = "wrong_code"
    text = "This code is wrong or was used before. Wait for the next one."


class MfaEnabled(Conflict):
    code = "mfa_enabled"
    text = "Your sign-ins need a code already. Turn that off first."


class MfaDisabled(Conflict):
    code = "mfa_disabled"
    text = "Your sign-ins need no code. Set up an authenticator app first."


class NotConfirmed(Forbidden):
    code = "email_not_confirmed"
    text = "Confirm your email address first: follow the link in the mail we sent you."


class InvalidConfirmation(Invalid):
    code = "invalid_confirmation"
    text = "This confirmation link is not valid or has expired. Ask for a new one in the app."


class ConfirmationUsed(Invalid):
    code = "confirmation_used"
    text = "This email address is confirmed already. Sign in to continue."


class InvalidReset(Invalid):
    code = "invalid_reset"
    text = "This link was used already or has expired. Ask for a new one."


class InvalidEmailChange(Invalid):
    code = "invalid_email_change"
    text = "This link was used already or has expired. Ask for a new one in the app."


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
