"""A queue with its dead letters, with TLS only."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.config import DEAD_LETTER_DAYS, VISIBILITY_FACTOR, Stage
from nomadcrew.core.queues import retry_policy


def dead_letters(scope: Construct, name: str, stage: Stage, *, fifo: bool = False) -> sqs.Queue:
    """The queue of permanently failed messages, stored for two weeks."""
    queue = sqs.Queue(
        scope,
        f"{name.title().replace('_', '')}Dead",
        queue_name=stage.named(f"{name}-dead") + (".fifo" if fifo else ""),
        fifo=True if fifo else None,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.days(DEAD_LETTER_DAYS),
    )
    end = "This is the dead-letter queue of other queues."
    acknowledge(queue, {"SQS3": end, "Serverless-SQSRedrivePolicy": end})
    return queue


def work_queue(
    scope: Construct, name: str, stage: Stage, dead: sqs.Queue, *, timeout_s: int, fifo: bool = False
) -> sqs.Queue:
    """A queue whose consumer may run `timeout_s` seconds."""
    return sqs.Queue(
        scope,
        f"{name.title().replace('_', '')}Queue",
        queue_name=stage.named(name) + (".fifo" if fifo else ""),
        fifo=True if fifo else None,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=Duration.seconds(timeout_s * VISIBILITY_FACTOR),
        retention_period=Duration.days(DEAD_LETTER_DAYS),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=retry_policy(name).attempts),
    )
