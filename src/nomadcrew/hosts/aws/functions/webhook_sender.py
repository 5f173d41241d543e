"""The Lambda function that sends webhooks."""

from nomadcrew.api.webhooks.consumer import PORTS, consume_webhook
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(consume_webhook, lambda_ports, PORTS)
