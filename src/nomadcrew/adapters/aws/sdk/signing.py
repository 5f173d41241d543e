"""AWS Signature Version 4, by which every call to AWS proves who makes it.

The steps are those of "Create a signed AWS API request" in the IAM user guide.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct

_ALGORITHM = "AWS4-HMAC-SHA256"
# What may stand in a path or a query as it is.
_UNRESERVED = "-_.~"


class Credentials(Struct, frozen=True):
    """Whose call it is; `token` comes with the short-lived keys of a role."""

    key_id: str
    secret: str
    token: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Credentials":
        """Those of an environment, as every AWS SDK reads them.

        Raises:
            KeyError: it has none.
        """
        token = environment.get("AWS_SESSION_TOKEN") or None
        return cls(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], token)


def sign(
    credentials: Credentials,
    *,
    service: str,
    region: str,
    method: str,
    host: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> dict[str, str]:
    """The headers of a request, `headers` among them, with those that sign it.

    Args:
        path: percent-encoded once, as it is sent.
        query: in canonical form: `encoded_query`.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    body_hash = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-date": stamp, **headers}
    if credentials.token is not None:
        signed["x-amz-security-token"] = credentials.token
    if service == "s3":
        signed["x-amz-content-sha256"] = body_hash
    names = sorted(signed)
    request = "\n".join(
        (
            method,
            # Every service but S3 wants the path encoded once more than it is sent.
            path if service == "s3" else quote(path, safe="/" + _UNRESERVED),
            query,
            *(f"{name}:{signed[name].strip()}" for name in names),
            "",
            ";".join(names),
            body_hash,
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = _signing_key(credentials.secret, stamp[:8], region, service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    proof = (
        f"Credential={credentials.key_id}/{scope}",
        f"SignedHeaders={';'.join(names)}",
        f"Signature={signature}",
    )
    signed["authorization"] = f"{_ALGORITHM} {', '.join(proof)}"
    return signed


def presign(
    credentials: Credentials,
    *,
    service: str,
    region: str,
    host: str,
    path: str = "/",
    query: Mapping[str, str],
    lifetime_s: int,
    now: datetime,
) -> str:
    """A signed `host/path?query`: S3 answers it to anybody, and services that speak no HTTP take it for a password.

    Args:
        path: percent-encoded once, as it is sent.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    asked = {
        **query,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lifetime_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token is not None:
        asked["X-Amz-Security-Token"] = credentials.token
    encoded = encoded_query(asked)
    body_hash = "UNSIGNED-PAYLOAD" if service == "s3" else hashlib.sha256(b"").hexdigest()
    request = "\n".join(("GET", path, encoded, f"host:{host}", "", "host", body_hash))
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = _signing_key(credentials.secret, stamp[:8], region, service)
    return f"{host}{path}?{encoded}&X-Amz-Signature={hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"


def encoded_path(path: str) -> str:
    """A path with everything percent-encoded that has to be, but its slashes."""
    return quote(path, safe="/" + _UNRESERVED)


def encoded_query(query: Mapping[str, str]) -> str:
    """A query string in the order and encoding that is signed."""
    pairs = ((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of a day; made anew at midnight only, it costs as much as the rest of a signature."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
