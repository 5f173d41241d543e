"""AWS Signature Version 4, which authenticates every call to AWS.

The steps are those of "Create a signed AWS API request" in the IAM user guide.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

from msgspec import Struct

_ALGORITHM = "AWS4-HMAC-SHA256"
# Characters that are not encoded in a path or a query.
_UNRESERVED = "-_.~"


class AwsCredentials(Struct, frozen=True):
    """Credentials of the caller; temporary credentials of a role have a `token`."""

    key_id: str
    secret: str
    token: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "AwsCredentials":
        """The credentials in an environment, in the variables of all AWS SDKs.

        Raises:
            KeyError: a variable is missing.
        """
        token = environment.get("AWS_SESSION_TOKEN") or None
        return cls(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], token)


def sign(
    credentials: AwsCredentials,
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
    """All headers of a signed request, their names in lower case: `headers` and those that sign it.

    Args:
        path: percent-encoded once, as sent.
        query: in canonical form, from `encoded_query`.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    body_hash = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-date": stamp, **{name.lower(): value for name, value in headers.items()}}
    if credentials.token is not None:
        signed["x-amz-security-token"] = credentials.token
    if service == "s3":
        signed["x-amz-content-sha256"] = body_hash
    names = sorted(signed)
    request = "\n".join(
        (
            method,
            # All services but S3 sign the path encoded once more than it is sent.
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
    credentials: AwsCredentials,
    *,
    service: str,
    region: str,
    host: str,
    path: str = "/",
    query: Mapping[str, str],
    lifetime_s: int,
    now: datetime,
) -> str:
    """A signed `host/path?query`: S3 serves it to any client; services without HTTP accept it as a password.

    Args:
        path: percent-encoded once, as sent.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    parameters = {
        **query,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.key_id}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lifetime_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token is not None:
        parameters["X-Amz-Security-Token"] = credentials.token
    encoded = encoded_query(parameters)
    body_hash = "UNSIGNED-PAYLOAD" if service == "s3" else hashlib.sha256(b"").hexdigest()
    request = "\n".join(("GET", path, encoded, f"host:{host}", "", "host", body_hash))
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = _signing_key(credentials.secret, stamp[:8], region, service)
    return f"{host}{path}?{encoded}&X-Amz-Signature={hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"


def sign_policy(
    credentials: AwsCredentials, *, region: str, conditions: Sequence[object], until: datetime, now: datetime
) -> dict[str, str]:
    """The fields of a form that S3 accepts on these conditions: the policy, its signature, and what signed it.

    Source: "POST Policy" in the API reference of S3.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    fields = {
        "x-amz-algorithm": _ALGORITHM,
        "x-amz-credential": f"{credentials.key_id}/{stamp[:8]}/{region}/s3/aws4_request",
        "x-amz-date": stamp,
    }
    if credentials.token is not None:
        fields["x-amz-security-token"] = credentials.token
    rules = [*conditions, *({name: value} for name, value in fields.items())]
    policy = {"expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": rules}
    encoded = base64.b64encode(json.dumps(policy, separators=(",", ":")).encode()).decode()
    key = _signing_key(credentials.secret, stamp[:8], region, "s3")
    signature = hmac.new(key, encoded.encode(), hashlib.sha256).hexdigest()
    return {**fields, "policy": encoded, "x-amz-signature": signature}


def encoded_path(path: str) -> str:
    """A percent-encoded path; slashes stay."""
    return quote(path, safe="/" + _UNRESERVED)


def encoded_query(query: Mapping[str, str]) -> str:
    """A query string in canonical order and encoding."""
    pairs = ((quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED)) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of one day, cached because it costs as much as the rest of a signature."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
