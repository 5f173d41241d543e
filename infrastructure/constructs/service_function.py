"""A function: its role with the rights of its ports only, its log group, a version per change, an alias."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.config import Stage
from infrastructure.functions import BY_NAME, FunctionSpec, module_of, services_of
from infrastructure.grants import OTHERS, ResourceRefs, environment_of, grants_of, merged, sql_access

RUNTIME = lambda_.Runtime.PYTHON_3_13
ROOTS_FILE = "/var/task/amazon-roots.pem"
# All roots of the system, which take longer to load; only for functions that call services outside AWS.
SYSTEM_ROOTS_FILE = "/etc/pki/tls/certs/ca-bundle.crt"
_RETENTION = {
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
}
# Lambda manages network interfaces in our subnets with the function's role; AWS supports no narrower resource.
_NETWORK = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


@dataclass(slots=True)
class Workshop:
    """Shared inputs of all functions: addresses and ARNs, and the path of each package."""

    places: ResourceRefs
    package: Callable[[str], str]
    # Set if SQL goes through the proxy: functions that use it run in the database's VPC.
    vpc: ec2.IVpc | None = None
    security_group: ec2.ISecurityGroup | None = None

    @property
    def stage(self) -> Stage:
        return self.places.stage


def log_group(scope: Construct, id_: str, name: str, stage: Stage) -> logs.LogGroup:
    return logs.LogGroup(
        scope,
        id_,
        log_group_name=name,
        retention=_RETENTION[stage.log_days],
        removal_policy=RemovalPolicy.DESTROY,
    )


def statement(
    actions: tuple[str, ...], resources: list[str], conditions: Mapping[str, Mapping[str, str]] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=resources, conditions=conditions)


class ServiceFunction(Construct):
    """A row of `FUNCTIONS`, as deployed."""

    def __init__(self, scope: Construct, name: str, workshop: Workshop) -> None:
        super().__init__(scope, f"{name.title().replace('_', '')}Function")
        stage, spec, services = workshop.stage, BY_NAME[name], services_of(name)
        in_vpc = "sql" in services and sql_access(services, stage) == "proxy"
        full_name = stage.named(name)
        logs_ = log_group(self, "Logs", f"/aws/lambda/{full_name}", stage)
        self.spec: FunctionSpec = spec
        self.grants = grants_of(spec, services, stage)
        self.role = self._role(workshop, logs_, in_vpc=in_vpc)
        network: dict[str, Any] = {}
        if in_vpc:
            network = {
                "vpc": workshop.vpc,
                "vpc_subnets": ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
                "security_groups": [workshop.security_group],
            }
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=full_name,
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{module_of(name)}.handler",
            code=lambda_.Code.from_asset(workshop.package(name)),
            memory_size=spec.memory,
            timeout=Duration.seconds(spec.timeout_s),
            role=self.role.without_policy_updates(),
            environment=_environment(spec, services, workshop.places),
            log_group=logs_,
            logging_format=lambda_.LoggingFormat.JSON,
            # Our lines are JSON and are stored unchanged. Lines below this level would be dropped, whatever
            # LOG_LEVEL is; metrics have no level and count as INFO.
            application_log_level_v2=_log_level(stage.log_level),
            # The platform's lines about each invocation are in the metrics, and our lines have more detail.
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            tracing=lambda_.Tracing.ACTIVE,
            reserved_concurrent_executions=stage.reserved.get(name),
            **network,
        )
        self.alias = lambda_.Alias(
            self,
            "Live",
            alias_name="live",
            version=self.function.current_version,
            provisioned_concurrent_executions=stage.provisioned.get(name),
        )

        self._acknowledge(workshop.places.wild)

    def _acknowledge(self, wildcards: Mapping[str, tuple[str, str]]) -> None:
        why = "Python 3.13 is the newest that the code supports everywhere; AWS supports it as long as 3.14."
        dead = (
            "Failures go to a destination, which has more details than a dead letter."
            if self.spec.asynchronous
            else "It is never invoked asynchronously: callers see failures, queues and streams have dead letters."
        )
        acknowledge(self.function, {"L1": why, "Serverless-LambdaLatestVersion": why, "Serverless-LambdaDLQ": dead})
        star = "X-Ray has no resources."
        reasons = {"IAM5[Resource::*]": star, "Serverless-LambdaStarPermissions": star}
        for thing in {thing for grant in self.grants for thing in grant.things} & wildcards.keys():
            finding, why = wildcards[thing]
            reasons[f"IAM5[Resource::{finding}]"] = why
        acknowledge(self.role, reasons)

    def invoked_by(self, id_: str, service: str, source_arn: str) -> lambda_.CfnPermission:
        """Allow a service to invoke the alias, for one resource only."""
        return lambda_.CfnPermission(
            self,
            id_,
            action="lambda:InvokeFunction",
            function_name=self.alias.function_arn,
            principal=f"{service}.amazonaws.com",
            source_arn=source_arn,
        )

    def _role(self, workshop: Workshop, logs_: logs.LogGroup, *, in_vpc: bool) -> iam.Role:
        arns = workshop.places.arns
        statements = [
            statement(("logs:CreateLogStream", "logs:PutLogEvents"), [logs_.log_group_arn]),
            statement(("xray:PutTelemetryRecords", "xray:PutTraceSegments"), ["*"]),
        ]
        if in_vpc:
            statements.append(statement(_NETWORK, ["*"]))
        conditions = {"": None, **workshop.places.conditions}
        for grant in merged(self.grants):
            resources = [arns[thing] for thing in grant.things]
            statements.append(statement(grant.actions, resources, conditions[grant.only_if]))
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"ports": iam.PolicyDocument(statements=statements)},
        )


def _log_level(name: str) -> lambda_.ApplicationLogLevel:
    return lambda_.ApplicationLogLevel.DEBUG if name == "debug" else lambda_.ApplicationLogLevel.INFO


def _environment(spec: FunctionSpec, services: tuple[str, ...], places: ResourceRefs) -> Mapping[str, str]:
    stage = places.stage
    return {
        "LOG_LEVEL": stage.log_level,
        "POWERTOOLS_METRICS_NAMESPACE": "NomadCrew",
        "POWERTOOLS_SERVICE_NAME": "nomadcrew",
        "SSL_CERT_FILE": ROOTS_FILE if OTHERS.isdisjoint(services) else SYSTEM_ROOTS_FILE,
        "NOMADCREW_MAIL_FROM": stage.mail_from,
        "NOMADCREW_PUBLIC_URL": places.values["NOMADCREW_PUBLIC_URL"],
        "NOMADCREW_RATE_LIMITS": stage.rate_limits,
        "NOMADCREW_REGISTRATION": stage.registration,
        "NOMADCREW_TRIP_STATUS": stage.trip_status,
        **({"NOMADCREW_APP_URL": stage.app_url} if stage.app_url else {}),
        **({"NOMADCREW_EXPO_URL": stage.expo_url} if stage.expo_url else {}),
        **({"NOMADCREW_WEATHER_URL": stage.weather_url} if stage.weather_url else {}),
        **({"NOMADCREW_WEBHOOK_NETWORKS": stage.webhook_networks} if stage.webhook_networks else {}),
        **({"NOMADCREW_PEXELS_URL": stage.pexels_url} if stage.pexels_url else {}),
        **({"NOMADCREW_PASSKEY_ORIGINS": stage.passkey_origins} if stage.passkey_origins else {}),
        **_clients(stage),
        **({"NOMADCREW_SUPABASE_URL": stage.supabase_url} if stage.supabase_url else {}),
        **environment_of(spec, services, places),
    }


def _clients(stage: Stage) -> Mapping[str, str]:
    """The site's clients at other services, and the URLs of the services' keys."""
    clients = {
        "GOOGLE": (stage.google_client_ids, stage.google_keys_url),
        "APPLE": (stage.apple_client_ids, stage.apple_keys_url),
    }
    return {
        f"NOMADCREW_{name}_{variable}": value
        for name, (ids, keys_url) in clients.items()
        if ids
        for variable, value in (("CLIENT_IDS", ids), ("KEYS_URL", keys_url))
    }


def execute_api_arn(scope: Construct, api_id: str, rest: str) -> str:
    """The ARN of a part of an API, such as `<stage>/<route key>`."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:execute-api:{stack.region}:{stack.account}:{api_id}/{rest}"


def integration_uri(scope: Construct, alias: lambda_.Alias) -> str:
    """The URI with which API Gateway invokes an alias."""
    stack = Stack.of(scope)
    return Fn.join(
        "",
        [
            f"arn:{stack.partition}:apigateway:{stack.region}:lambda:path/2015-03-31/functions/",
            alias.function_arn,
            "/invocations",
        ],
    )
