"""The AWS services in use, and their protocols."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct


class Service(Struct, frozen=True):
    """One service.

    `host` is its name in host names, `signed_as` its name in signatures, `variable` the suffix of
    `AWS_ENDPOINT_URL_…`. `target` is the prefix of operations in JSON protocols (1.0 or 1.1); None for REST.
    """

    host: str
    signed_as: str
    variable: str
    target: str | None = None
    json_version: str = "1.1"


DYNAMODB = Service("dynamodb", "dynamodb", "DYNAMODB", "DynamoDB_20120810", "1.0")
SQS = Service("sqs", "sqs", "SQS", "AmazonSQS", "1.0")
EVENTS = Service("events", "events", "EVENTBRIDGE", "AWSEvents")
COGNITO = Service("cognito-idp", "cognito-idp", "COGNITO_IDENTITY_PROVIDER", "AWSCognitoIdentityProviderService")
SECRETS = Service("secretsmanager", "secretsmanager", "SECRETS_MANAGER", "secretsmanager")
RDS_DATA = Service("rds-data", "rds-data", "RDS_DATA")
KINESIS = Service("kinesis", "kinesis", "KINESIS", "Kinesis_20131202")
TIMESTREAM_WRITE = Service("ingest.timestream", "timestream", "TIMESTREAM_WRITE", "Timestream_20181101", "1.0")
TIMESTREAM_QUERY = Service("query.timestream", "timestream", "TIMESTREAM_QUERY", "Timestream_20181101", "1.0")
SES = Service("email", "ses", "SESV2")
SOCKETS = Service("execute-api", "execute-api", "APIGATEWAYMANAGEMENTAPI")
APPCONFIG = Service("appconfigdata", "appconfig", "APPCONFIGDATA")
IOT = Service("data-ats.iot", "iotdata", "IOT_DATA_PLANE")
PLACES = Service("places.geo", "geo-places", "GEO_PLACES")
S3 = Service("s3", "s3", "S3")


class Endpoint(Struct, frozen=True):
    """The endpoint of a service; `path` is the prefix of every request's path."""

    host: str
    port: int
    tls: bool
    path: str

    @property
    def host_header(self) -> str:
        """The Host header: with the port unless it is the default."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


def endpoint_of(service: Service, environment: Mapping[str, str], *, url: str | None = None) -> Endpoint:
    """The endpoint of `service`: from the environment, as in every AWS SDK, else `url`, else AWS's own_url.

    Args:
        url: the address of a service that has a different one per deployment; only its own_url variable overrides
        it.
    """
    own_url = environment.get(f"AWS_ENDPOINT_URL_{service.variable}")
    shared_url = None if url is not None else environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION", "us-east-1")
    parts = urlsplit(own_url or url or shared_url or f"https://{service.host}.{region}.amazonaws.com")
    tls = parts.scheme == "https"
    return Endpoint(parts.hostname or "", parts.port or (443 if tls else 80), tls, parts.path.rstrip("/"))
