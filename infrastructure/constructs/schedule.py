"""A scheduled function. Invocations that could not start, or failed three times, go to a dead-letter queue."""

from aws_cdk import Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infrastructure.constructs.service_function import ServiceFunction, statement
from infrastructure.stacks.messaging import MessagingStack

RETRIES = 2
MAX_AGE_S = 300


class Scheduled(Construct):
    """A schedule of EventBridge Scheduler that invokes the alias."""

    def __init__(self, scope: Construct, id_: str, function: ServiceFunction, messaging: MessagingStack) -> None:
        super().__init__(scope, id_)
        spec, stage = function.spec, messaging.stage
        assert spec.schedule is not None
        unstarted = messaging.dead["schedules"]
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            ),
            inline_policies={
                "start": iam.PolicyDocument(
                    statements=[
                        statement(("lambda:InvokeFunction",), [function.alias.function_arn]),
                        statement(("sqs:SendMessage",), [unstarted.queue_arn]),
                    ]
                )
            },
        )
        scheduler.CfnSchedule(
            self,
            "Schedule",
            name=stage.named(spec.name),
            schedule_expression=spec.schedule,
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=function.alias.function_arn,
                role_arn=role.role_arn,
                input="{}",
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=unstarted.queue_arn),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=MAX_AGE_S, maximum_retry_attempts=RETRIES
                ),
            ),
        )
        lambda_.CfnEventInvokeConfig(
            self,
            "Failures",
            function_name=function.function.function_name,
            # The alias's name from its ARN, so that the alias is created first.
            qualifier=Fn.select(7, Fn.split(":", function.alias.function_arn)),
            maximum_retry_attempts=RETRIES,
            maximum_event_age_in_seconds=MAX_AGE_S,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(
                    destination=messaging.dead[spec.name].queue_arn
                )
            ),
        )
