"""What a username, a name and an avatar's address may look like."""

import re
import unicodedata
from urllib.parse import urlsplit
from uuid import UUID

from nomadcrew.core.errors import Invalid
from nomadcrew.core.identity.errors import InvalidUsername

MAX_USERNAME = 30
MAX_NAME = 50
MAX_AVATAR_URL = 2048
MAX_PREFERENCES_BYTES = 16_384
_UNFIT_FOR_DERIVED = re.compile(r"[^\w.-]")


def parse_username(text: str) -> str:
    """The username in one spelling: trimmed, composed characters.

    Raises:
        InvalidUsername: blank, too long, or with spaces, invisible characters or @, which is for addresses.
    """
    username = unicodedata.normalize("NFC", text.strip())
    if not 0 < len(username) <= MAX_USERNAME or not username.isprintable() or "@" in username or " " in username:
        raise InvalidUsername
    return username


def usernames_for(email: str, seed: UUID) -> tuple[str, ...]:
    """Usernames to try for somebody who chose none, from the local part of their address without its +tag."""
    local = email.partition("@")[0].partition("+")[0]
    base = _UNFIT_FOR_DERIVED.sub("", unicodedata.normalize("NFC", local)) or "traveller"
    return (base[:MAX_USERNAME], f"{base[:26]}{seed.int % 10_000:04d}", with_suffix(base, suffix_of(seed)))


def suffix_of(seed: UUID) -> str:
    """Eight characters from the random end of an id."""
    return seed.hex[-8:]


def with_suffix(username: str, suffix: str) -> str:
    return username[: MAX_USERNAME - len(suffix)] + suffix


def parse_name(field: str, text: str) -> str:
    """A first or last name, trimmed; may be empty.

    Raises:
        Invalid: too long, or with control characters.
    """
    name = unicodedata.normalize("NFC", text.strip())
    if len(name) > MAX_NAME or any(unicodedata.category(character) == "Cc" for character in name):
        raise Invalid(
            f"`{field}` must have at most {MAX_NAME} characters, on one line.", code="invalid_request_payload"
        )
    return name


def parse_avatar_url(text: str) -> str:
    """An http(s) address, or nothing.

    Raises:
        Invalid: too long, or no such address.
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
