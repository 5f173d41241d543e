"""The Lambda function of large exports."""

from nomadcrew.api.archives.consumer import PORTS, consume_export
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(consume_export, lambda_ports, PORTS)
