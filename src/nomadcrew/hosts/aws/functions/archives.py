"""The Lambda function of archives: export and import of trips."""

from nomadcrew.api.archives.routes import routes
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.ports import lambda_ports

handler = lambda_entry(routes, lambda_ports)
