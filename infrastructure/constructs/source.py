"""What a function consumes: a queue, of which only failed messages come back, or a stream, in its order."""

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from infrastructure.acknowledge import acknowledge
from infrastructure.constructs.service_function import ServiceFunction

# Attempts in an outage count as well, and it is not over after a few.
# What a bug strikes holds its shard up for as many.
STREAM_RETRIES = 20
STREAM_AGE_HOURS = 6


def consume(function: ServiceFunction, queue: sqs.Queue) -> None:
    """Have `queue` worked off by the alias."""
    source = function.spec.source
    assert source is not None
    # Above ten messages AWS wants to be told how long it may wait for a batch to fill.
    window = 5 if source.batch > 10 else None
    mapping = lambda_.CfnEventSourceMapping(
        function,
        "Source",
        event_source_arn=queue.queue_arn,
        function_name=function.alias.function_arn,
        batch_size=source.batch,
        maximum_batching_window_in_seconds=window,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=source.most),
    )
    acknowledge(
        mapping,
        {"Serverless-LambdaEventSourceMappingDestination": "A queue keeps its failures, and buries them."},
    )


def follow(function: ServiceFunction, stream_arn: str, dead: sqs.Queue, *, batch: int, window_s: int = 0) -> None:
    """Have the alias told what happens in a stream, from the deployment on.

    A batch that keeps failing is halved until it is one record, which goes to the dead letters.
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
