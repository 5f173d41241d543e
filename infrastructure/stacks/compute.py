"""The functions of the API and the workers. The schema is brought up to date before any new code answers."""

from aws_cdk import CfnOutput, CustomResource, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infrastructure.constructs.schedule import Scheduled
from infrastructure.constructs.service_function import ServiceFunction, Workshop
from infrastructure.constructs.source import consume
from infrastructure.functions import FUNCTIONS, FunctionSpec
from infrastructure.grants import by_kinesis
from infrastructure.schema import schema_digest
from infrastructure.stacks.messaging import MessagingStack

MIGRATION_MINUTES = 15
STREAM_RETRIES = 5
STREAM_AGE_HOURS = 6
STREAM_BATCH = 500


class ComputeStack(Stack):
    """Everything Python that is not a trigger of the pool or of the sockets."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workshop: Workshop,
        messaging: MessagingStack,
        profiles: dynamodb.Table,
        **stack: object,
    ) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.workshop, self.messaging = workshop, messaging
        self.functions: dict[str, ServiceFunction] = {}
        migration = self._migration()
        for spec in FUNCTIONS:
            if spec.stack == "compute" and spec.name != "migrator":
                made = self.functions[spec.name] = self._function(spec)
                made.alias.node.add_dependency(migration)
        self._stream(profiles)

    def _migration(self) -> CustomResource:
        """Runs `migrations/` once for every change of them; a second run finds nothing to do."""
        migrator = ServiceFunction(self, "migrator", self.workshop)
        migration = CustomResource(
            self,
            "Schema",
            resource_type="Custom::Schema",
            service_token=migrator.alias.function_arn,
            service_timeout=Duration.minutes(MIGRATION_MINUTES),
            properties={"Digest": schema_digest()},
        )
        CfnOutput(self, "MigratorName", value=migrator.function.function_name)
        return migration

    def _function(self, spec: FunctionSpec) -> ServiceFunction:
        made = ServiceFunction(self, spec.name, self.workshop)
        if by_kinesis(spec, self.workshop.stage):
            self._consume_stream(made)
        elif spec.source is not None:
            consume(made, self.messaging.queues[spec.source.queue])
        if spec.schedule is not None:
            Scheduled(made, "Schedule", made, self.messaging)
        return made

    def _stream(self, profiles: dynamodb.Table) -> None:
        function = self.functions.get("profiles")
        if function is not None and profiles.table_stream_arn is not None:
            self._map_stream(function, profiles.table_stream_arn, dead="profiles", batch_size=100)

    def _consume_stream(self, function: ServiceFunction) -> None:
        """Whatever of a member comes within a second is told once."""
        stream, source = self.messaging.location_stream, function.spec.source
        assert stream is not None
        assert source is not None
        self._map_stream(function, stream.stream_arn, dead=source.queue, batch_size=STREAM_BATCH, window_s=1)

    def _map_stream(
        self, function: ServiceFunction, arn: str, *, dead: str, batch_size: int, window_s: int | None = None
    ) -> None:
        """What a batch keeps failing with goes to the dead letters, halved until it is small."""
        lambda_.CfnEventSourceMapping(
            function,
            "Stream",
            event_source_arn=arn,
            function_name=function.alias.function_arn,
            starting_position="TRIM_HORIZON",
            bisect_batch_on_function_error=True,
            function_response_types=["ReportBatchItemFailures"],
            maximum_retry_attempts=STREAM_RETRIES,
            maximum_record_age_in_seconds=STREAM_AGE_HOURS * 3_600,
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(
                    destination=self.messaging.dead[dead].queue_arn
                )
            ),
            batch_size=batch_size,
            maximum_batching_window_in_seconds=window_s,
        )
