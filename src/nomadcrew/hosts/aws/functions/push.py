"""The Lambda function `push`."""

from nomadcrew.api.notifications.push_consumer import PORTS, consume_push
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(consume_push, lambda_ports, PORTS)
