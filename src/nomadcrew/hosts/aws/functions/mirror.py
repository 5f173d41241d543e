"""The Lambda function `mirror`."""

from nomadcrew.api.mirror.consumer import PORTS, consume_mirror
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(consume_mirror, lambda_ports, PORTS)
