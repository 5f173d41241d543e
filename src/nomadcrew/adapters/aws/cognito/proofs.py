"""What `auth` tells Cognito's triggers, sealed, so that nobody else can make them issue tokens.

Cognito carries it as client metadata and as the answer to a challenge, and neither says who sent it.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping

SCOPE = "nomadcrew/api"
PURPOSE = "challenge"


def metadata_for(key: bytes, username: str, session_id: str, *, is_admin: bool) -> dict[str, str]:
    """What an access token shall say, as client metadata."""
    admin = "true" if is_admin else "false"
    return {"sid": session_id, "is_admin": admin, "proof": _seal(key, "claims", username, session_id, admin)}


def claims_in(keys: Iterable[bytes], username: str, metadata: Mapping[str, str]) -> dict[str, str] | None:
    """What an access token of that user shall say in addition; None where `auth` did not say so."""
    session_id, admin = metadata.get("sid", ""), metadata.get("is_admin", "")
    if not _is_sealed(keys, metadata.get("proof", ""), "claims", username, session_id, admin):
        return None
    return {"sid": session_id, **({"is_admin": "true"} if admin == "true" else {})}


def answer_to(key: bytes, username: str, nonce: str) -> str:
    """The answer to a challenge."""
    return _seal(key, "answer", username, nonce)


def is_answer(keys: Iterable[bytes], username: str, nonce: str, answer: str) -> bool:
    """Whether that is the answer to a challenge that was made."""
    return bool(nonce) and _is_sealed(keys, answer, "answer", username, nonce)


def _is_sealed(keys: Iterable[bytes], seal: str, *parts: str) -> bool:
    given = seal.encode(errors="replace")
    return any(hmac.compare_digest(_seal(key, *parts).encode(), given) for key in keys)


def _seal(key: bytes, *parts: str) -> str:
    message = b"".join(len(encoded).to_bytes(4, "big") + encoded for encoded in map(_bytes, parts))
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _bytes(part: str) -> bytes:
    return part.encode(errors="surrogatepass")
