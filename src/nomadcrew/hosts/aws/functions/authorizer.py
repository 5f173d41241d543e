"""Authorizes sockets before they open."""

from typing import Final

from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.websocket_event import authorizer_entry

PORTS: Final = ("open_sessions", "verifier")

handler = authorizer_entry(lambda_ports, PORTS)
