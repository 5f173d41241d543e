"""Authorizes MQTT clients to subscribe to their trips' topics."""

from typing import Final

from nomadcrew.hosts.aws.mqtt_event import mqtt_authorizer_entry
from nomadcrew.hosts.aws.ports import lambda_ports

PORTS: Final = ("members", "open_sessions", "topic_of", "verifier")

handler = mqtt_authorizer_entry(lambda_ports, PORTS)
