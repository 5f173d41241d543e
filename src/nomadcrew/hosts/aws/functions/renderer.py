"""The Lambda function `renderer`: it decodes pictures, which may end its process and no other one."""

from nomadcrew.api.pictures.consumer import PORTS, consume_picture
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry

handler = queue_entry(consume_picture, lambda_ports, PORTS)
