"""The text of an API key: `nck_`, 30 random characters, and six of a checksum, all of them letters and digits.

Scanners of secrets recognise such a text, and a mistyped one is refused without a look-up. The random part has 178
bits, so a fast hash protects it at rest.
"""

import hashlib
import secrets
import zlib
from collections.abc import Callable

from nomadcrew.core.claims import API_KEY_PREFIX

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_CHARS, CHECKSUM_CHARS = 30, 6


def new_key_text(below: Callable[[int], int] = secrets.randbelow) -> str:
    """The text of a new key."""
    random = "".join(ALPHABET[below(len(ALPHABET))] for _ in range(RANDOM_CHARS))
    return f"{API_KEY_PREFIX}{random}{_checksum(random)}"


def hash_of(text: str) -> bytes | None:
    """The stored hash of a key, 32 bytes; None if the text has another form or a wrong checksum."""
    random = text[len(API_KEY_PREFIX) : -CHECKSUM_CHARS]
    if len(random) != RANDOM_CHARS or not text.isascii() or text != f"{API_KEY_PREFIX}{random}{_checksum(random)}":
        return None
    return hashlib.sha256(text.encode()).digest()


def _checksum(random: str) -> str:
    """The CRC-32 in base 62."""
    value, digits = zlib.crc32(random.encode()), ""
    for _ in range(CHECKSUM_CHARS):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
