"""Connections through RDS Proxy: IAM token and TLS."""

import ssl

from botocore.credentials import Credentials
from botocore.hooks import HierarchicalEmitter
from botocore.model import ServiceId
from botocore.signers import RequestSigner

from nomadcrew.adapters.aws.proxy import proxy_connection

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}


def test_the_password_is_the_token_of_botocore() -> None:
    arguments = proxy_connection("proxy.example", "app", "nomadcrew", environment=KEYS)
    own_url = arguments["password"]()
    events = HierarchicalEmitter()  # the signer holds only a weak reference
    signer = RequestSigner(ServiceId("RDS"), "eu-west-1", "rds-db", "v4", Credentials("AKID", "secret"), events)
    boto_url = signer.generate_presigned_url(
        {
            "url_path": "/", "query_string": "", "headers": {}, "body": {}, "method": "GET", "context": {},
            "url": "https://proxy.example:5432/?Action=connect&DBUser=app",
        },
        operation_name="connect", expires_in=900, region_name="eu-west-1", signing_name="rds-db",
    )  # fmt: skip
    parts = [
        dict(part.partition("=")[::2] for part in url.partition("?")[2].split("&")) for url in (own_url, boto_url)
    ]
    assert parts[0].keys() == parts[1].keys()
    # Dates may differ by a second, and signatures with them.
    differing = {"X-Amz-Date", "X-Amz-Signature"}
    assert {name: parts[0][name] for name in parts[0].keys() - differing} == {
        name: parts[1][name] for name in parts[1].keys() - differing
    }
    assert own_url.startswith("proxy.example:5432/?Action=connect&DBUser=app&")


def test_the_certificate_is_verified_and_no_statement_is_prepared() -> None:
    arguments = proxy_connection("proxy.example", "app", "nomadcrew", environment=KEYS)
    assert arguments["ssl"].verify_mode is ssl.CERT_REQUIRED
    assert arguments["ssl"].check_hostname
    assert arguments["statement_cache_size"] == 0
