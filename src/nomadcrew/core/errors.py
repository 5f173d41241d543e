"""The product's refusals, by kind.

A kind decides the HTTP status; `web.problems` has the mapping. Clients switch on codes, which are never reused or
renamed.

    DomainError
    ├── Invalid          400   bad input, wrong state
    ├── Unauthenticated  401   no valid token
    ├── Forbidden        403   not the caller's right
    ├── NotFound         404
    ├── Conflict         409
    ├── Gone             410
    ├── TooLarge         413   the content exceeds a limit
    ├── Unprocessable    422   well formed, but contradicts what was sent before
    ├── TooMany          429
    └── Unavailable      503   an outage: the client may retry the same request
"""


class DomainError(Exception):
    """A refusal. `code` is for programs, `text` for users, `details` for developers of clients."""

    code = "error"
    text = "The request was refused."

    def __init__(self, text: str | None = None, *, code: str | None = None, details: str | None = None) -> None:
        self.text = text if text is not None else type(self).text
        self.code = code if code is not None else type(self).code
        self.details = details
        super().__init__(self.text)


class Invalid(DomainError):
    code = "validation_failed"
    text = "The request is not valid."


class Unauthenticated(DomainError):
    """`mfa_token` is set if a code completes the sign-in."""

    code = "auth_failed"
    text = "Sign in to continue."
    mfa_token: str | None = None


class Forbidden(DomainError):
    code = "insufficient_permissions"
    text = "Your role on this trip does not allow that."


class NotFound(DomainError):
    code = "not_found"

    def __init__(self, kind: str, id_: object = None, *, code: str | None = None) -> None:
        super().__init__(f"{kind} not found", code=code, details=None if id_ is None else f"ID: {id_}")


class Conflict(DomainError):
    code = "conflict"


class Gone(DomainError):
    code = "gone"


class TooLarge(DomainError):
    code = "content_too_large"


class Unprocessable(DomainError):
    code = "unprocessable"


class TooMany(DomainError):
    """A rate limit refuses the request; the client may retry after `retry_after_s` seconds."""

    code = "rate_limited"
    text = "Too many requests. Wait a moment and try again."

    def __init__(self, retry_after_s: int, text: str | None = None, *, code: str | None = None) -> None:
        super().__init__(text, code=code, details=f"retry_after: {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


class Unavailable(DomainError):
    """An outage of a service that the product needs; nothing was acknowledged."""

    code = "unavailable"
    text = "The service is unavailable. Try again in a moment."
    retry_after_s = 2


class NotOnboarded(Unauthenticated):
    code = "user_not_onboarded"
    text = "This account has no profile yet."


class NotTripMember(Forbidden):
    """The caller is not on the trip. Unknown and malformed ids get the same refusal, to prevent probing."""

    code = "not_trip_member"
    text = "You are not a member of this trip."


class PermanentFailure(Exception):
    """A permanent failure: the job goes to the dead letters without a retry."""


class BadSetting(Exception):
    """A setting is not usable; the text names the setting and a valid value."""
