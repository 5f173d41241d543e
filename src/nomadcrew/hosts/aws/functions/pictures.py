"""The Lambda function of photos and avatars: `/v1/trips/{id}/images`, `/v1/users/me/avatar` and `/v1/avatars`."""

from nomadcrew.api.pictures.routes import routes
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.ports import lambda_ports

handler = lambda_entry(routes, lambda_ports)
