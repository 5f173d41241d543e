"""A function that consumes a queue: only failed messages come back, and few copies run at once."""

from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs

from infrastructure.acknowledge import acknowledge
from infrastructure.constructs.service_function import ServiceFunction


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
