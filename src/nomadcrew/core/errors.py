"""Refusals the product gives, by kind.

A kind decides the HTTP status, in `web.problems` and nowhere else; a code is what clients switch on and is
never reused or renamed.

    DomainError
    ├── Invalid          400   bad input, wrong state
    ├── Unauthenticated  401   who are you?
    ├── Forbidden        403   not yours
    ├── NotFound         404
    ├── Conflict         409
    ├── Gone             410
    ├── Unprocessable    422   well formed, but contradicts what was sent before
    ├── TooMany          429
    └── Unavailable      503   an outage: the same request may be sent again
"""


class DomainError(Exception):
    """A refusal. `code` is for programs, the text for people, `details` for whoever debugs a client."""

    code = "error"
    text = "The request was refused."

    def __init__(self, text: str | None = None, *, code: str | None = None, details: str | None = None) -> None:
        self.text = text if text is not None else type(self).text
        self.code = code if code is not None else type(self).code
        self.details = details
        super().__init__(self.text)


class Invalid(DomainError):
    code = "validation_failed"
    text = "Something in the request is not valid."


class Unauthenticated(DomainError):
    code = "auth_failed"
    text = "Sign in to continue."


class Forbidden(DomainError):
    code = "insufficient_permissions"
    text = "Your role on this trip does not allow that."


class NotFound(DomainError):
    code = "not_found"

    def __init__(self, what: str, id_: object = None, *, code: str | None = None) -> None:
        super().__init__(f"{what} not found", code=code, details=None if id_ is None else f"ID: {id_}")


class Conflict(DomainError):
    code = "conflict"


class Gone(DomainError):
    code = "gone"


class Unprocessable(DomainError):
    code = "unprocessable"


class TooMany(DomainError):
    """Refused by a limit; `retry_after_s` says when it is worth trying again."""

    code = "rate_limited"
    text = "Too many requests. Wait a moment and try again."

    def __init__(self, retry_after_s: int, text: str | None = None, *, code: str | None = None) -> None:
        super().__init__(text, code=code, details=f"retry_after: {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


class Unavailable(DomainError):
    """An outage of something the product needs; nothing was acknowledged."""

    code = "unavailable"
    text = "The service is not available just now. Try again in a moment."
    retry_after_s = 2


class NotOnboarded(Unauthenticated):
    code = "user_not_onboarded"
    text = "This account has no profile yet."


class NotTripMember(Forbidden):
    """Also what an unknown, foreign or malformed trip id gets, so that ids cannot be probed."""

    code = "not_trip_member"
    text = "You are not a member of this trip."


class Hopeless(Exception):
    """Work that no repeat can save; it is dead at once."""


class BadSetting(Exception):
    """A setting cannot be used; one sentence that says which, and what would do."""
