"""The Lambda function of the deletion of accounts."""

from nomadcrew.api.erasure.routes import routes
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.ports import lambda_ports

handler = lambda_entry(routes, lambda_ports)
