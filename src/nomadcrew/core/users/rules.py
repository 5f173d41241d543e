"""Rules for usernames, names and avatar URLs."""

import unicodedata
from urllib.parse import urlsplit
from uuid import UUID

from nomadcrew.core.errors import Invalid
from nomadcrew.core.text import check_label, composed, is_identifier
from nomadcrew.core.users.errors import InvalidUsername

MAX_USERNAME = 30
MAX_NAME = 50
MAX_AVATAR_URL = 2048
MAX_PREFERENCES_BYTES = 16_384


def parse_username(text: str) -> str:
    """The username, trimmed and in NFC.

    Raises:
        InvalidUsername: blank, too long, or with a space, an invisible character or an @, which marks email
        addresses and mentions.
    """
    username = composed(text)
    if len(username) > MAX_USERNAME or not is_identifier(username) or "@" in username:
        raise InvalidUsername
    return username


def usernames_for(email: str, seed: UUID) -> tuple[str, ...]:
    """Candidates for a user without a chosen username, from the address's local part without its +tag."""
    return _near(_fit(email.partition("@")[0].partition("+")[0]), seed)


def usernames_near(wanted: str, seed: UUID) -> tuple[str, ...]:
    """Candidates for a wanted name that may not be a username: the name itself if it is one, then near ones."""
    local = wanted.strip().removeprefix("@").partition("@")[0]
    try:
        name = parse_username(wanted)
        return (name, *_near(name, seed)[1:])
    except InvalidUsername:
        return _near(_fit("_".join(local.split())), seed)


def _fit(text: str) -> str:
    """The text if it is an identifier, else its letters, digits and marks; without any, a neutral word."""
    base = composed(text)
    if not is_identifier(base):
        base = "".join(c for c in base if c in "_.-" or unicodedata.category(c)[0] in "LMN")
    has_letters = any(unicodedata.category(c)[0] in "LN" for c in base)
    return base if has_letters and is_identifier(base) else "traveller"


def _near(base: str, seed: UUID) -> tuple[str, ...]:
    digits = f"{seed.int % 10_000:04d}"
    return (composed(base[:MAX_USERNAME]), with_suffix(base, digits), with_suffix(base, suffix_of(seed)))


def suffix_of(seed: UUID) -> str:
    """The last eight hex digits of an id, which are random."""
    return seed.hex[-8:]


def with_suffix(username: str, suffix: str) -> str:
    return composed(username[: MAX_USERNAME - len(suffix)]) + suffix


def parse_name(field: str, text: str) -> str:
    """A first or last name, trimmed and in NFC; may be empty.

    Raises:
        Invalid: the name is too long, has control characters or shows nothing.
    """
    check_label(field, text)
    name = composed(text)
    if len(name) > MAX_NAME or any(unicodedata.category(character) == "Cc" for character in name):
        raise Invalid(
            f"`{field}` must have at most {MAX_NAME} characters, on one line.", code="invalid_request_payload"
        )
    return name


def preferences_too_large() -> Invalid:
    return Invalid(
        f"Preferences must not exceed {MAX_PREFERENCES_BYTES // 1024} KiB.", code="preferences_too_large"
    )


def parse_avatar_url(text: str) -> str:
    """An http or https URL, trimmed; may be empty.

    Raises:
        Invalid: the text is too long or not such a URL.
    """
    url = text.strip()
    if url and (len(url) > MAX_AVATAR_URL or not url.isprintable() or " " in url or not _is_web_address(url)):
        raise Invalid("An avatar must be an http or https URL.", code="invalid_request_payload")
    return url


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
