"""Time-based one-time passwords of six digits and 30 seconds, and recovery codes.

Sources: RFC 4226, section 5.3; RFC 6238, with SHA-1, which every authenticator app knows; Google Authenticator's
Key Uri Format.
"""

import base64
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote, urlencode

SECRET_BYTES = 20
STEP_S = 30
DIGITS = 6
# A code is accepted for this many steps before and after its own: clocks differ, and typing takes time.
DRIFT_STEPS = 1
RECOVERY_CODES = 10
RECOVERY_BYTES = 10


def step_at(moment: datetime) -> int:
    """The number of whole steps since 1970."""
    return int(moment.timestamp()) // STEP_S


def code_at(secret: bytes, step: int) -> str:
    """The code of a step."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def step_of(secret: bytes, code: str, now: datetime) -> int | None:
    """The step, among those around `now`, whose code this is; None if it is none of theirs."""
    typed = code.encode()
    steps = range(step_at(now) - DRIFT_STEPS, step_at(now) + DRIFT_STEPS + 1)
    return next((step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), typed)), None)


def secret_text(secret: bytes) -> str:
    """A secret as users type it into an authenticator app: base32 of 32 characters."""
    return base64.b32encode(secret).decode()


def key_uri(secret: bytes, *, issuer: str, account: str) -> str:
    """The content of the QR code that authenticator apps scan."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return f"otpauth://totp/{label}?{urlencode({'secret': secret_text(secret), 'issuer': issuer}, quote_via=quote)}"


def recovery_code(random: bytes) -> str:
    """A code from `RECOVERY_BYTES` random bytes, in four groups of four characters."""
    text = base64.b32encode(random).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def recovery_hash(code: str) -> bytes:
    """The stored hash of a recovery code, typed with or without hyphens and in any case."""
    letters = "".join(char for char in code.lower() if char.isalnum())
    return hashlib.sha256(letters.encode()).digest()
