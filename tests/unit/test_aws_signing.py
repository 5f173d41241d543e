"""Signatures, compared with AWS's published example and with botocore."""

import base64
import json
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4PostAuth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from nomadcrew.adapters.aws.sdk import signing
from nomadcrew.adapters.aws.sdk.signing import (
    AwsCredentials,
    encoded_path,
    encoded_query,
    presign,
    sign,
    sign_policy,
)

KEYS = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
THEN = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


def test_a_signature_matches_the_published_example() -> None:
    signed = sign(
        KEYS,
        service="service",
        region="us-east-1",
        method="GET",
        host="example.amazonaws.com",
        path="/",
        headers={},
        body=b"",
        now=THEN,
    )
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )


@pytest.mark.parametrize("service", ["dynamodb", "execute-api", "s3"])
@pytest.mark.parametrize("path", ["/", "/prod/@connections/L0SM9c=", "/a b/ü/x~y-z_.json"])
@pytest.mark.parametrize("query", [{}, {"b": "2 &=", "a": "ü"}])
def test_a_signature_matches_that_of_botocore(
    service: str, path: str, query: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body, keys = b'{"a": 1}', AwsCredentials("AKID", "secret", "token")
    request = AWSRequest(
        "POST",
        f"https://host.example:4566{encoded_path(path)}",
        {"content-type": "application/json"},
        body,
        params=query,
    )
    auth = S3SigV4Auth if service == "s3" else SigV4Auth
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: THEN.replace(tzinfo=None))
    request.context["payload_signing_enabled"] = True
    auth(BotoCredentials(keys.key_id, keys.secret, keys.token), service, "eu-west-1").add_auth(request)
    own = sign(
        keys,
        service=service,
        region="eu-west-1",
        method="POST",
        host="host.example:4566",
        path=encoded_path(path),
        query=encoded_query(query),
        headers={"Content-Type": "application/json"},
        body=body,
        now=THEN,
    )
    assert own["authorization"] == request.headers["Authorization"]
    assert own["x-amz-security-token"] == "token"


def test_a_presigned_url_holds_user_and_lifetime() -> None:
    address = presign(
        KEYS,
        service="elasticache",
        region="us-east-1",
        host="cache",
        query={"Action": "connect", "User": "app"},
        lifetime_s=900,
        now=THEN,
    )
    assert address.startswith("cache/?Action=connect&User=app&X-Amz-Algorithm=AWS4-HMAC-SHA256")
    assert "X-Amz-Expires=900" in address
    assert len(address.rpartition("X-Amz-Signature=")[2]) == 64


@pytest.mark.parametrize("path", ["/bucket/key", "/prefix/a b/ü/x~y-z_.jpg"])
def test_a_presigned_s3_url_matches_that_of_botocore(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, query = AwsCredentials("AKID", "secret", "token"), {"response-content-type": "image/jpeg", "b": "2 &=ü"}
    request = AWSRequest("GET", f"https://host.example:4566{encoded_path(path)}?{encoded_query(query)}")
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: THEN.replace(tzinfo=None))
    boto_credentials = BotoCredentials(keys.key_id, keys.secret, keys.token)
    S3SigV4QueryAuth(boto_credentials, "s3", "eu-west-1", expires=900).add_auth(request)
    own = presign(
        keys,
        service="s3",
        region="eu-west-1",
        host="host.example:4566",
        path=encoded_path(path),
        query=query,
        lifetime_s=900,
        now=THEN,
    )
    assert own.rpartition("X-Amz-Signature=")[2] == str(request.url).rpartition("X-Amz-Signature=")[2]


def test_a_signed_policy_matches_that_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: THEN.replace(tzinfo=None))
    request = AWSRequest("POST", "https://s3.eu-west-1.amazonaws.com/bucket")
    expiration = {"expiration": "2026-11-22T12:15:00Z", "conditions": [{"bucket": "bucket"}]}
    request.context |= {"s3-presign-post-fields": {}, "s3-presign-post-policy": expiration}
    S3SigV4PostAuth(BotoCredentials("AKID", "secret", "session"), "s3", "eu-west-1").add_auth(request)
    theirs = request.context["s3-presign-post-fields"]
    until = datetime(2026, 11, 22, 12, 15, tzinfo=UTC)
    ours = sign_policy(
        AwsCredentials("AKID", "secret", "session"), region="eu-west-1", conditions=[{"bucket": "bucket"}],
        until=until, now=THEN,
    )  # fmt: skip
    assert ours.keys() == theirs.keys()
    for name in ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token"):
        assert ours[name] == theirs[name]
    own, other = (json.loads(base64.b64decode(fields["policy"])) for fields in (ours, theirs))
    assert own["expiration"] == other["expiration"]
    assert sorted(map(json.dumps, own["conditions"])) == sorted(map(json.dumps, other["conditions"]))
    # The signature of the same policy is the same.
    key = SigV4Auth(BotoCredentials("AKID", "secret", "session"), "s3", "eu-west-1")
    signed = AWSRequest("POST", "https://s3.eu-west-1.amazonaws.com/bucket")
    signed.context["timestamp"] = THEN.strftime("%Y%m%dT%H%M%SZ")
    assert ours["x-amz-signature"] == key.signature(ours["policy"], signed)


def test_the_signing_key_of_a_day_is_derived_once() -> None:
    signing._signing_key.cache_clear()
    for _ in range(3):
        presign(KEYS, service="s", region="r", host="h", query={}, lifetime_s=1, now=THEN)
    assert signing._signing_key.cache_info().misses == 1
