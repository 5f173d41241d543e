"""A function: its role with what its ports need and no more, its log group, a version per change, an alias."""

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
from infrastructure.grants import OTHERS, Places, environment_of, grants_of, merged, sql_access

RUNTIME = lambda_.Runtime.PYTHON_3_13
ROOTS_FILE = "/var/task/amazon-roots.pem"
# Everybody's roots, as Lambda's system keeps them; reading them takes a while, so only who needs them does.
SYSTEM_ROOTS_FILE = "/etc/pki/tls/certs/ca-bundle.crt"
_RETENTION = {
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
}
# Lambda makes and removes interfaces in our subnets under the function's role; AWS knows no narrower resource.
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
    """What functions are made of and told: places, and where the package of each lies."""

    places: Places
    package: Callable[[str], str]
    # Set where SQL goes through the proxy: functions that use it stand in the database's network.
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


def statement(actions: tuple[str, ...], resources: list[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=resources)


class ServiceFunction(Construct):
    """One row of `FUNCTIONS` as it is deployed."""

    def __init__(self, scope: Construct, name: str, workshop: Workshop) -> None:
        super().__init__(scope, f"{name.title().replace('_', '')}Function")
        stage, spec, services = workshop.stage, BY_NAME[name], services_of(name)
        inside = "sql" in services and sql_access(services, stage) == "proxy"
        full_name = stage.named(name)
        logs_ = log_group(self, "Logs", f"/aws/lambda/{full_name}", stage)
        self.spec: FunctionSpec = spec
        self.grants = grants_of(spec, services, stage)
        self.role = self._role(workshop, logs_, inside=inside)
        network: dict[str, Any] = {}
        if inside:
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
            # Our lines are JSON already and are kept as they are. Those below this level would be dropped, whatever
            # LOG_LEVEL lets through; metrics have no level, and pass as INFO.
            application_log_level_v2=_log_level(stage.log_level),
            # What the platform says of every call is in the metrics; ours says more.
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

    def _acknowledge(self, wild: Mapping[str, tuple[str, str]]) -> None:
        why = "3.13 is the newest that the code runs on everywhere; AWS supports it as long as 3.14."
        dead = (
            "Its failures go to a destination, which says more than a dead letter."
            if self.spec.asynchronous
            else "Nobody calls it asynchronously: callers see a failure, queues and streams have dead letters."
        )
        acknowledge(self.function, {"L1": why, "Serverless-LambdaLatestVersion": why, "Serverless-LambdaDLQ": dead})
        star = "X-Ray knows no resources."
        reasons = {"IAM5[Resource::*]": star, "Serverless-LambdaStarPermissions": star}
        for thing in {thing for grant in self.grants for thing in grant.things} & wild.keys():
            finding, why = wild[thing]
            reasons[f"IAM5[Resource::{finding}]"] = why
        acknowledge(self.role, reasons)

    def invoked_by(self, id_: str, service: str, source_arn: str) -> lambda_.CfnPermission:
        """Let a service call the alias, on behalf of one resource only."""
        return lambda_.CfnPermission(
            self,
            id_,
            action="lambda:InvokeFunction",
            function_name=self.alias.function_arn,
            principal=f"{service}.amazonaws.com",
            source_arn=source_arn,
        )

    def _role(self, workshop: Workshop, logs_: logs.LogGroup, *, inside: bool) -> iam.Role:
        arns = workshop.places.arns
        statements = [
            statement(("logs:CreateLogStream", "logs:PutLogEvents"), [logs_.log_group_arn]),
            statement(("xray:PutTelemetryRecords", "xray:PutTraceSegments"), ["*"]),
        ]
        if inside:
            statements.append(statement(_NETWORK, ["*"]))
        for things, actions in merged(self.grants).items():
            statements.append(statement(actions, [arns[thing] for thing in things]))
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"ports": iam.PolicyDocument(statements=statements)},
        )


def _log_level(name: str) -> lambda_.ApplicationLogLevel:
    return lambda_.ApplicationLogLevel.DEBUG if name == "debug" else lambda_.ApplicationLogLevel.INFO


def _environment(spec: FunctionSpec, services: tuple[str, ...], places: Places) -> Mapping[str, str]:
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
        **({"NOMADCREW_APP_URL": stage.app_url} if stage.app_url else {}),
        **({"NOMADCREW_EXPO_URL": stage.expo_url} if stage.expo_url else {}),
        **({"NOMADCREW_SUPABASE_URL": stage.supabase_url} if stage.supabase_url else {}),
        **environment_of(spec, services, places),
    }


def execute_api_arn(scope: Construct, api_id: str, rest: str) -> str:
    """The ARN of something of an API: `<stage>/<route key>`."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:execute-api:{stack.region}:{stack.account}:{api_id}/{rest}"


def integration_uri(scope: Construct, alias: lambda_.Alias) -> str:
    """How API Gateway is told to call an alias."""
    stack = Stack.of(scope)
    return Fn.join(
        "",
        [
            f"arn:{stack.partition}:apigateway:{stack.region}:lambda:path/2015-03-31/functions/",
            alias.function_arn,
            "/invocations",
        ],
    )
