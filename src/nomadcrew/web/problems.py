"""The body of every refusal, and the mapping from kinds of refusals to HTTP statuses."""

from http import HTTPStatus
from typing import Annotated

import msgspec

from nomadcrew.core import errors
from nomadcrew.core.versions import LostUpdate
from nomadcrew.web.call import Reply
from nomadcrew.web.etags import etag_of

STATUS: dict[type[errors.DomainError], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.Unprocessable: 422,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}
TYPES = {
    400: "VALIDATION",
    401: "AUTHENTICATION",
    403: "AUTHORIZATION",
    404: "NOT_FOUND",
    405: "VALIDATION",
    409: "CONFLICT",
    410: "NOT_FOUND",
    413: "VALIDATION",
    415: "VALIDATION",
    422: "VALIDATION",
    429: "RATE_LIMIT",
    431: "VALIDATION",
}
JSON_TYPE = "application/json; charset=utf-8"


Object = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class Problem(msgspec.Struct):
    """The body of every refusal: RFC 9457's members, and those that the shipped app reads.

    A `version_conflict` has the `current` entity, and the body that was `sent`.
    """

    type: str
    title: str
    status: int
    detail: str
    message: str
    error: str
    code: str
    details: str
    request_id: str
    refresh_required: bool | msgspec.UnsetType = msgspec.UNSET
    current: Object | msgspec.UnsetType = msgspec.UNSET
    sent: Object | msgspec.UnsetType = msgspec.UNSET
    mfa_token: str | msgspec.UnsetType = msgspec.UNSET


class TooLarge(errors.TooLarge):
    code = "body_too_large"

    def __init__(self, max_bytes: int, *, instead: str = "") -> None:
        """`max_bytes` is the limit of the body; `instead` is a request without it."""
        size = f"{max_bytes >> 10} KiB" if max_bytes < 1 << 20 else f"{max_bytes >> 20} MiB"
        text = f"The request body exceeds {size}."
        super().__init__(f"{text} Use {instead} instead." if instead else text)


class HeadTooLarge(errors.DomainError):
    code = "headers_too_large"
    text = "The address and the headers of the request are too large."


class MethodNotAllowed(errors.DomainError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    text = "This address does not support that."

    def __init__(self, allow: str) -> None:
        """`allow` is the value of the header `Allow`."""
        super().__init__(details=f"allowed: {allow}")
        self.allow = allow


class UnreadableEncoding(errors.DomainError):
    code = "unsupported_content_encoding"
    text = "The request body is compressed. Send it as it is."


STATUS |= {MethodNotAllowed: 405, UnreadableEncoding: 415, HeadTooLarge: 431}


def status_of(error: Exception) -> int:
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def problem(error: Exception, request_id: str) -> Reply:
    """The reply to a refusal or a bug. For a bug it contains no details."""
    status = status_of(error)
    if isinstance(error, errors.DomainError) and status != 500:
        code, text, details = error.code, error.text, error.details or error.code
    else:
        code, text, details = "internal", "Something went wrong on our side.", "internal"
    body = Problem(
        type=TYPES.get(status, "SERVER"),
        title=HTTPStatus(status).phrase,
        status=status,
        detail=text,
        message=text,
        error=text,
        code=code,
        details=details,
        request_id=request_id,
        refresh_required=True if status == 401 and code == "token_expired" else msgspec.UNSET,
        mfa_token=(isinstance(error, errors.Unauthenticated) and error.mfa_token) or msgspec.UNSET,
    )
    headers = {"content-type": JSON_TYPE}
    if isinstance(error, LostUpdate):
        body.current, body.sent = msgspec.Raw(error.current), msgspec.Raw(error.sent)
        headers["etag"] = etag_of(error.current)
    elif isinstance(error, errors.TooMany | errors.Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, MethodNotAllowed):
        headers["allow"] = error.allow
    elif isinstance(error, UnreadableEncoding):
        headers["accept-encoding"] = "identity"  # RFC 9110, section 12.5.3
    return Reply(status, msgspec.json.encode(body), headers)
