"""Decodes posts of HTML forms."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from nomadcrew.core.errors import Invalid
from nomadcrew.web.call import Request
from nomadcrew.web.problems import TooLarge

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_BYTES = 16_384
MAX_FIELDS = 20


def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form; of repeated names the last.

    Raises:
        TooLarge: the body exceeds `MAX_BYTES`.
        Invalid: another content type, too many fields, undecodable bytes, or a NUL.
    """
    if len(request.body) > MAX_BYTES:
        raise TooLarge(MAX_BYTES)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise _invalid(f"the body is not {FORM_TYPE}")
    try:
        fields = parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise _invalid("the form cannot be read") from None
    if any("\x00" in name or "\x00" in value for name, value in fields):
        raise _invalid("a text contains a NUL character")
    return dict(fields)


def _invalid(details: str) -> Invalid:
    return Invalid(
        "The form cannot be read. Go back and try again.", code="invalid_request_payload", details=details
    )
