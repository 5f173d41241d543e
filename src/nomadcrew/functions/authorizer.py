"""Authorizes sockets before they open."""

from typing import Final

from nomadcrew.bootstrap.aws import lambda_ports
from nomadcrew.wire.socket_entry import authorizer_entry

PORTS: Final = ("verifier",)

handler = authorizer_entry(lambda_ports, PORTS)
