"""The Lambda function of `GET /v1/sync` and of a trip's screen."""

from nomadcrew.api.sync.routes import routes
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.ports import lambda_ports

handler = lambda_entry(routes, lambda_ports)
