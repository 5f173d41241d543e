"""Authorizes MQTT clients to subscribe to their trips' topics."""

from typing import Final

from nomadcrew.bootstrap.aws import lambda_ports
from nomadcrew.wire.mqtt_entry import mqtt_authorizer_entry

PORTS: Final = ("members", "topic_of", "verifier")

handler = mqtt_authorizer_entry(lambda_ports, PORTS)
