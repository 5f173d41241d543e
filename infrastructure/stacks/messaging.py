"""Events and their consumers: the bus, queues, a topic, mail and flags."""

import json
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_appconfig as appconfig
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_ses as ses
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infrastructure.acknowledge import acknowledge
from infrastructure.config import ARCHIVE_DAYS, RULE_RETRY_HOURS
from infrastructure.constructs.queue import dead_letters, work_queue
from infrastructure.functions import FUNCTIONS
from infrastructure.grants import ResourceRefs, by_kinesis, queue_variable
from nomadcrew.core.events import (
    CONSUMERS,
    EMAIL,
    HOOKED,
    ILLUSTRATED,
    MIRRORED,
    NOTIFICATIONS,
    PICTURES,
    WEBHOOK_REDELIVERY,
)
from nomadcrew.wire.events import detail_type

OURS = [{"prefix": "nomadcrew."}]
# The five events that the source document publishes to a topic.
ANNOUNCED = ["Trip Created", "Trip Updated", "Trip Deleted", "Member Added", "Member Removed"]
FIFO = ("email",)


class MessagingStack(Stack):
    """Asynchronous messaging; every path ends in a dead-letter queue."""

    def __init__(self, scope: Construct, id_: str, *, places: ResourceRefs, **stack: object) -> None:
        super().__init__(scope, id_, **stack)  # type: ignore[arg-type]
        self.places, self.stage = places, places.stage
        self.queues: dict[str, sqs.Queue] = {}
        self.dead: dict[str, sqs.Queue] = {}
        self._queues()
        self.location_stream = self._location_stream()
        self.bus = self._bus()
        self._rules()
        self._mail()
        self._flags()

    def _queues(self) -> None:
        for spec in FUNCTIONS:
            if spec.source is not None:
                name, fifo = spec.source.queue, spec.source.queue in FIFO
                dead = self._dead(name, fifo=fifo)
                if by_kinesis(spec, self.stage):
                    continue
                queue = work_queue(self, name, self.stage, dead, timeout_s=spec.timeout_s, fifo=fifo)
                self.queues[name] = queue
                self.places.values[queue_variable(name)] = queue.queue_url
                self.places.arns[f"queue:{name}"] = queue.queue_arn
                CfnOutput(self, f"{name.capitalize()}QueueUrl", value=queue.queue_url)
            elif spec.asynchronous or spec.stream is not None:
                self._dead(spec.name)
        self._dead("rules")
        self._dead("schedules")

    def _location_stream(self) -> kinesis.Stream | None:
        """Positions in order per trip; one shard accepts a thousand records per second."""
        self.places.values["NOMADCREW_AWS_STREAM"] = self.stage.stream
        if self.stage.stream != "kinesis":
            return None
        stream = kinesis.Stream(
            self,
            "LocationStream",
            stream_name=self.stage.named("locations"),
            stream_mode=kinesis.StreamMode.PROVISIONED,
            shard_count=1,
            encryption=kinesis.StreamEncryption.MANAGED,
            retention_period=Duration.hours(24),
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.places.values["NOMADCREW_AWS_LOCATION_STREAM"] = stream.stream_name
        self.places.arns["location-stream"] = stream.stream_arn
        CfnOutput(self, "LocationStreamName", value=stream.stream_name)
        return stream

    def _dead(self, name: str, *, fifo: bool = False) -> sqs.Queue:
        queue = self.dead[name] = dead_letters(self, name, self.stage, fifo=fifo)
        self.places.arns[f"dead:{name}"] = queue.queue_arn
        return queue

    def _bus(self) -> events.EventBus:
        bus = events.EventBus(self, "Bus", event_bus_name=self.stage.bus_name)
        bus.archive(
            "Archive",
            archive_name=self.stage.named("events"),
            event_pattern=events.EventPattern(source=events.Match.prefix("nomadcrew.")),
            retention=Duration.days(ARCHIVE_DAYS),
        )
        self.places.values["NOMADCREW_AWS_EVENT_BUS"] = bus.event_bus_name
        self.places.arns["bus"] = bus.event_bus_arn
        CfnOutput(self, "EventBus", value=bus.event_bus_name)
        return bus

    def _rules(self) -> None:
        """Rules match replayed events too: every consumer deduplicates by the event's id."""
        # The notifier forwards mails.
        self._rule("notifications", {"detail-type": _consumed(NOTIFICATIONS, EMAIL)})
        self._rule("pictures", {"detail-type": _consumed(PICTURES)})
        if self.stage.supabase_url is not None:
            self._rule("mirror", {"detail-type": sorted(map(detail_type, MIRRORED))})
        if self.stage.pexels_url is not None:
            self._rule("backgrounds", {"detail-type": sorted(map(detail_type, ILLUSTRATED))})
        self._rule(
            "webhooks", {"detail-type": sorted({detail_type(type_) for type_ in (*HOOKED, WEBHOOK_REDELIVERY)})}
        )
        self._rule("realtime", {"detail": {"audience": [{"anything-but": "internal"}]}})
        self._rule("updates", {"source": ["nomadcrew.trips"], "detail": {"audience": ["trip"]}})
        self._rule("audit", {})
        topic = sns.Topic(self, "Topic", topic_name=self.stage.named("events"), enforce_ssl=True)
        self.places.arns["topic"] = topic.topic_arn
        acknowledge(
            topic,
            {"SNS2": "The topic's messages have ids only; a customer-managed key would cost more than the topic."},
        )
        self._rule("topic", {"detail-type": ANNOUNCED}, targets.SnsTopic(topic, **self._after()))
        CfnOutput(self, "TopicArn", value=topic.topic_arn)

    def _rule(self, name: str, pattern: dict[str, object], target: events.IRuleTarget | None = None) -> None:
        rule = events.CfnRule  # the pattern is written in EventBridge's own format
        chosen = target or targets.SqsQueue(self.queues[name], **self._after())
        new_rule = events.Rule(
            self,
            f"{name.capitalize()}Rule",
            rule_name=self.stage.named(name),
            event_bus=self.bus,
            event_pattern=events.EventPattern(source=events.Match.prefix("nomadcrew.")),
            targets=[chosen],
        )
        default = new_rule.node.default_child
        assert isinstance(default, rule)
        default.event_pattern = {"source": OURS} | pattern

    def _after(self) -> dict[str, Any]:
        return {
            "dead_letter_queue": self.dead["rules"],
            "max_event_age": Duration.hours(RULE_RETRY_HOURS),
            "retry_attempts": 185,
        }

    def _mail(self) -> None:
        configuration = ses.ConfigurationSet(
            self,
            "MailConfiguration",
            configuration_set_name=self.stage.named("mail"),
            tls_policy=ses.ConfigurationSetTlsPolicy.REQUIRE,
            suppression_reasons=ses.SuppressionReasons.BOUNCES_AND_COMPLAINTS,
        )
        identity = ses.EmailIdentity(
            self,
            "MailIdentity",
            identity=ses.Identity.domain(self.stage.mail_domain),
            configuration_set=configuration,
        )
        default_bus = events.EventBus.from_event_bus_name(self, "DefaultBus", "default")
        configuration.add_event_destination(
            "Feedback",
            destination=ses.EventDestination.event_bus(default_bus),
            events=[ses.EmailSendingEvent.BOUNCE, ses.EmailSendingEvent.COMPLAINT],
        )
        feedback = events.Rule(
            self,
            "FeedbackRule",
            rule_name=self.stage.named("feedback"),
            event_pattern=events.EventPattern(
                source=["aws.ses"],
                detail_type=["Email Bounced", "Email Complaint Received"],
                detail={"mail": {"tags": {"ses:configuration-set": [configuration.configuration_set_name]}}},
            ),
            targets=[targets.SqsQueue(self.queues["feedback"], **self._after())],
        )
        feedback.node.add_dependency(identity)
        self.places.values["NOMADCREW_AWS_CONFIGURATION_SET"] = configuration.configuration_set_name
        self.places.arns |= {
            "mail-identity": identity.email_identity_arn,
            "mail-configuration": self.format_arn(
                service="ses", resource="configuration-set", resource_name=configuration.configuration_set_name
            ),
        }
        self.places.conditions["from our address"] = {"StringEquals": {"ses:FromAddress": self.stage.mail_address}}
        CfnOutput(self, "MailIdentityName", value=identity.email_identity_name)

    def _flags(self) -> None:
        application = appconfig.CfnApplication(self, "FlagsApplication", name=self.stage.named("flags"))
        environment = appconfig.CfnEnvironment(
            self, "FlagsEnvironment", application_id=application.ref, name=self.stage.name
        )
        profile = appconfig.CfnConfigurationProfile(
            self,
            "FlagsProfile",
            application_id=application.ref,
            name="flags",
            location_uri="hosted",
            type="AWS.AppConfig.FeatureFlags",
        )
        version = appconfig.CfnHostedConfigurationVersion(
            self,
            "FlagsVersion",
            application_id=application.ref,
            configuration_profile_id=profile.ref,
            content_type="application/json",
            content=json.dumps(
                {
                    "version": "1",
                    "flags": {name: {"name": name} for name in self.stage.flags},
                    "values": {name: {"enabled": on} for name, on in self.stage.flags.items()},
                }
            ),
        )
        strategy = appconfig.CfnDeploymentStrategy(
            self,
            "FlagsStrategy",
            name=self.stage.named("flags-at-once"),
            deployment_duration_in_minutes=0,
            final_bake_time_in_minutes=0,
            growth_factor=100,
            replicate_to="NONE",
        )
        appconfig.CfnDeployment(
            self,
            "FlagsDeployment",
            application_id=application.ref,
            environment_id=environment.ref,
            configuration_profile_id=profile.ref,
            configuration_version=version.ref,
            deployment_strategy_id=strategy.ref,
        )
        self.places.values["NOMADCREW_AWS_FLAGS"] = f"{application.ref}/{environment.ref}/{profile.ref}"
        self.places.arns["flags"] = self.format_arn(
            service="appconfig",
            resource="application",
            resource_name=f"{application.ref}/environment/{environment.ref}/configuration/{profile.ref}",
        )


def _consumed(*queues: str) -> list[str]:
    """The detail types of events with a copy in one of these queues."""
    return sorted(detail_type(type_) for type_, its in CONSUMERS.items() if not set(queues).isdisjoint(its))
