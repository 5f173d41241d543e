"""The Lambda function `push`."""

from nomadcrew.api.notifications.push_consumer import PORTS, work
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(work, lambda_ports, PORTS)
