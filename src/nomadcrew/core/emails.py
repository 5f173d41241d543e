"""Which texts are email addresses, and the form in which an address is stored and shown."""

from collections.abc import Callable
from functools import cache

from nomadcrew.core.errors import Invalid
from nomadcrew.core.text import composed

# A domain that no mail reaches. Source: RFC 2606, section 2.
PRIVATE_DOMAIN = "people.invalid"


def parse_email(text: str) -> str:
    """The address as it is stored and shown: in NFC and lower case, its domain in Unicode.

    RFC 5321, 5322, 6531 and IDNA decide, without a look-up. Quoted local parts, comments and IP addresses are
    refused, as mail services do, and so are encoded words (RFC 2047), which mail programs decode.

    Raises:
        Invalid: the address is malformed or longer than 254 characters.
    """
    local_part, domain = _parser()(composed(text))
    if "." not in domain or ("=?" in local_part and "?=" in local_part):
        raise Invalid("Not a valid email address.", code="invalid_request_payload")
    return f"{local_part.lower()}@{domain}"


def parse_own_email(text: str) -> str:
    """An address that a user claims to own, as `parse_email` returns it.

    Addresses at `PRIVATE_DOMAIN` are refused: they stand for users, and invitations to them would be the claimer's.

    Raises:
        Invalid: as `parse_email`, or no mail can reach the address.
    """
    email = parse_email(text)
    if is_private(email):
        raise Invalid("Not a valid email address.", code="invalid_request_payload")
    return email


def is_private(email: str) -> bool:
    """True if the address stands for a user, so that no mail can be sent to it."""
    return email.endswith(f"@{PRIVATE_DOMAIN}")


@cache
def _parser() -> Callable[[str], tuple[str, str]]:
    """A function that splits a valid address. Its library takes as long as half of a function's INIT to import, and
    few requests need it: registrations, invitations and changes of an address.
    """
    import email_validator
    from email_validator import EmailNotValidError, validate_email

    # A server may stand in a network with names of its own, such as `nas.local`.
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

    def parts(address: str) -> tuple[str, str]:
        try:
            valid = validate_email(address, strict=True, check_deliverability=False, globally_deliverable=False)
        except EmailNotValidError:
            return "", ""
        return valid.local_part, valid.domain

    return parts
