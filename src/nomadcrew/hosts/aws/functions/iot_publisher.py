"""Publishes the events of a trip to its MQTT topic."""

from typing import Final

from nomadcrew.core.events import Audience
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.hosts.aws.ports import lambda_ports
from nomadcrew.hosts.aws.sqs_event import queue_entry
from nomadcrew.wire.events import event_frame, unpack

PORTS: Final = ("queue", "topic_of", "topics")


async def publish(job: Job, ports: Ports) -> None:
    """Publish an event to its trip's topic, unless it is addressed to a single user or internal."""
    event = unpack(job.body)
    if event.audience == Audience.TRIP and event.trip_id is not None:
        await ports.topics.publish(ports.topic_of(event.trip_id), event_frame(event))


handler = queue_entry(publish, lambda_ports, PORTS)
