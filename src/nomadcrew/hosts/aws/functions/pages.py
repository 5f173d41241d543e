"""The Lambda function of `/v1/pages` and what belongs to it."""

from nomadcrew.api.pages.routes import routes
from nomadcrew.api.rendering import environment
from nomadcrew.hosts.aws.allowed_methods import AllowedMethods
from nomadcrew.hosts.aws.http_event import lambda_entry
from nomadcrew.hosts.aws.ports import lambda_ports

environment()  # while INIT has a whole CPU
handler = lambda_entry(routes, lambda_ports, AllowedMethods.load().of)
