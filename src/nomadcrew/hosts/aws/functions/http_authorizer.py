"""Authorizes requests to the HTTP API."""

from typing import Final

from nomadcrew.hosts.aws.authorizer_event import http_authorizer_entry
from nomadcrew.hosts.aws.ports import lambda_ports

PORTS: Final = ("key_verifier", "verifier")

handler = http_authorizer_entry(lambda_ports, PORTS)
