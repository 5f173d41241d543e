"""What an HTML form sends."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from nomadcrew.core.errors import Invalid
from nomadcrew.web.call import Request
from nomadcrew.web.problems import TooLarge

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_BYTES = 16_384
MAX_FIELDS = 20


def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form, the last of each name.

    Raises:
        TooLarge: more than a form of ours can hold.
        Invalid: another kind of body, too many fields, bytes that are no text, or a NUL.
    """
    if len(request.body) > MAX_BYTES:
        raise TooLarge
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
        raise _invalid("a text holds a NUL character")
    return dict(fields)


def _invalid(details: str) -> Invalid:
    return Invalid("The form is not valid.", code="invalid_request_payload", details=details)
