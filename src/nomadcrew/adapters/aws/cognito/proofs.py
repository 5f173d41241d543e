"""Signed messages from our sign-in to Cognito's triggers, so that only it can make them issue tokens.

Cognito passes them as client metadata and as the answer to a challenge, without their sender.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping

SCOPE = "nomadcrew/api"
PURPOSE = "challenge"


def metadata_for(key: bytes, username: str, session_id: str, *, is_admin: bool) -> dict[str, str]:
    """The additional claims of an access token, as signed client metadata."""
    admin = "true" if is_admin else "false"
    return {"sid": session_id, "is_admin": admin, "proof": _sign(key, "claims", username, session_id, admin)}


def claims_in(keys: Iterable[bytes], username: str, metadata: Mapping[str, str]) -> dict[str, str] | None:
    """The additional claims in client metadata; None if the signature is wrong."""
    session_id, admin = metadata.get("sid", ""), metadata.get("is_admin", "")
    if not _is_signed(keys, metadata.get("proof", ""), "claims", username, session_id, admin):
        return None
    return {"sid": session_id, **({"is_admin": "true"} if admin == "true" else {})}


def answer_to(key: bytes, username: str, nonce: str) -> str:
    """The answer to a challenge with this nonce."""
    return _sign(key, "answer", username, nonce)


def is_answer(keys: Iterable[bytes], username: str, nonce: str, answer: str) -> bool:
    """True if the answer to a challenge is right."""
    return bool(nonce) and _is_signed(keys, answer, "answer", username, nonce)


def _is_signed(keys: Iterable[bytes], signature: str, *parts: str) -> bool:
    given = signature.encode(errors="replace")
    return any(hmac.compare_digest(_sign(key, *parts).encode(), given) for key in keys)


def _sign(key: bytes, *parts: str) -> str:
    message = b"".join(len(encoded).to_bytes(4, "big") + encoded for encoded in map(_bytes, parts))
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _bytes(part: str) -> bytes:
    return part.encode(errors="surrogatepass")
