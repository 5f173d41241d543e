"""The Lambda function `backgrounds`."""

from nomadcrew.api.backgrounds.consumer import PORTS, consume_background
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(consume_background, lambda_ports, PORTS)
