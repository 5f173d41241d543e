"""The functions of the API and of queues. Migrations run before new code serves requests."""

from aws_cdk import CfnOutput, CustomResource, Duration, Stack
from constructs import Construct

from infrastructure.constructs.schedule import Scheduled
from infrastructure.constructs.service_function import ServiceFunction, Workshop
from infrastructure.constructs.source import consume, follow
from infrastructure.functions import FUNCTIONS, FunctionSpec
from infrastructure.grants import by_kinesis
from infrastructure.schema import schema_digest
from infrastructure.stacks.messaging import MessagingStack

MIGRATION_MINUTES = 15
STREAM_BATCH = 500


class ComputeStack(Stack):
    """All functions but the triggers of the user pool and those of the sockets."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        workshop: Workshop,
        messaging: MessagingStack,
        **stack: object,
    ) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.workshop, self.messaging = workshop, messaging
        self.functions: dict[str, ServiceFunction] = {}
        migration = self._migration()
        for spec in FUNCTIONS:
            if spec.stack == "compute" and spec.name != "migrator":
                function = self.functions[spec.name] = self._function(spec)
                function.alias.node.add_dependency(migration)

    def _migration(self) -> CustomResource:
        """Runs `migrations/` whenever a file changes; running them again has no effect."""
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
        function = ServiceFunction(self, spec.name, self.workshop)
        if by_kinesis(spec, self.workshop.stage):
            self._consume_stream(function)
        elif spec.source is not None:
            consume(function, self.messaging.queues[spec.source.queue])
        if spec.schedule is not None:
            Scheduled(function, "Schedule", function, self.messaging)
        return function

    def _consume_stream(self, function: ServiceFunction) -> None:
        """Consume with a window of 1 s: a member's positions within a second are broadcast once."""
        stream, source = self.messaging.location_stream, function.spec.source
        assert stream is not None
        assert source is not None
        dead = self.messaging.dead[source.queue]
        follow(function, stream.stream_arn, dead, batch=STREAM_BATCH, window_s=1)
