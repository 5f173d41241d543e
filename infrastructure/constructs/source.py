"""The sources of a function: a queue, which retries failed messages only, or an ordered stream."""

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from infrastructure.acknowledge import acknowledge
from infrastructure.constructs.service_function import ServiceFunction

# Attempts in an outage count too, and an outage lasts longer than a few. A record that a bug affects blocks its
# shard for the same number of attempts.
STREAM_RETRIES = 20
STREAM_AGE_HOURS = 6


def consume(function: ServiceFunction, queue: sqs.Queue) -> None:
    """Let the alias consume `queue`."""
    source = function.spec.source
    assert source is not None
    # For batches over ten messages, AWS requires a maximum waiting time for a batch to fill.
    window = 5 if source.batch > 10 else None
    mapping = lambda_.CfnEventSourceMapping(
        function,
        "Source",
        event_source_arn=queue.queue_arn,
        function_name=function.alias.function_arn,
        batch_size=source.batch,
        maximum_batching_window_in_seconds=window,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(
            maximum_concurrency=source.max_concurrency
        ),
    )
    acknowledge(
        mapping,
        {"Serverless-LambdaEventSourceMappingDestination": "The queue has a dead-letter queue for its failures."},
    )


def follow(function: ServiceFunction, stream_arn: str, dead: sqs.Queue, *, batch: int, window_s: int = 0) -> None:
    """Let the alias consume a stream.

    A batch that keeps failing is halved until the failing record is alone, which goes to the dead letters.
    """
    lambda_.CfnEventSourceMapping(
        function,
        "Stream",
        event_source_arn=stream_arn,
        function_name=function.alias.function_arn,
        starting_position="TRIM_HORIZON",
        batch_size=batch,
        maximum_batching_window_in_seconds=window_s,
        bisect_batch_on_function_error=True,
        function_response_types=["ReportBatchItemFailures"],
        maximum_retry_attempts=STREAM_RETRIES,
        maximum_record_age_in_seconds=STREAM_AGE_HOURS * 3_600,
        destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
            on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=dead.queue_arn)
        ),
    )
