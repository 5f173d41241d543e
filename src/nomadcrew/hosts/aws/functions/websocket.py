"""The Lambda function `websocket`."""

from nomadcrew.api.socket_frames import PORTS, frames
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.websocket_event import socket_entry

handler = socket_entry(frames, lambda_ports, PORTS)
