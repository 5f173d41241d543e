"""Promises of the templates, above all those that the emulator does not enforce."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infrastructure.config import stage_of
from infrastructure.functions import API_FUNCTIONS, FUNCTIONS
from nomadcrew.adapters.aws.sdk.config import AwsConfig, variable
from nomadcrew.api.table import ALL_ROUTES
from nomadcrew.core.events import MIRRORED
from nomadcrew.core.queues import MAX_ATTEMPTS, retry_policy
from nomadcrew.settings import Settings
from nomadcrew.web.routes import Auth
from nomadcrew.wire.events import detail_type
from tests.infrastructure.stage_templates import Templates, short, synthesise

DAY_S = 86_400
# Variables that the platform and the logs read, beside settings and AwsConfig.
PLATFORM_VARIABLES = {"POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME", "SSL_CERT_FILE"}


def statements(templates: Templates, type_: str, key: str) -> dict[str, list[dict[str, Any]]]:
    """The statements of resource policies, by resource."""
    found: dict[str, list[dict[str, Any]]] = {}
    for policy in templates.properties(type_):
        resources = policy[key] if isinstance(policy[key], list) else [policy[key]]
        for resource in resources:
            found.setdefault(short_of(templates, resource), []).extend(policy["PolicyDocument"]["Statement"])
    return found


def short_of(templates: Templates, value: Any) -> str:
    return templates.text_of(value).strip("<>")


def functions(templates: Templates) -> dict[str, dict[str, Any]]:
    return {one["FunctionName"].split("-", 2)[2]: one for one in templates.properties("AWS::Lambda::Function")}


@pytest.mark.parametrize(
    ("type_", "policy", "key"),
    [
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
    ],
)
def test_requests_without_tls_are_denied(templates: Templates, type_: str, policy: str, key: str) -> None:
    policies = statements(templates, policy, key)
    assert {short(id_) for id_ in templates.all(type_)} == policies.keys()
    for allowed in policies.values():
        assert any(
            one["Effect"] == "Deny" and one.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
            for one in allowed
        )


def test_a_queue_accepts_events_of_its_rule_only(dev: Templates) -> None:
    policies = statements(dev, "AWS::SQS::QueuePolicy", "Queues")
    senders = {
        queue: {
            (one["Principal"]["Service"], dev.text_of(one["Condition"]["ArnEquals"]["aws:SourceArn"]).strip("<>"))
            for one in allowed
            if one["Effect"] == "Allow"
        }
        for queue, allowed in policies.items()
    }
    rules = [
        "NotificationsRule",
        "PicturesRule",
        "WebhooksRule",
        "RealtimeRule",
        "UpdatesRule",
        "AuditRule",
        "TopicRule",
        "FeedbackRule",
    ]
    assert senders == {
        **{queue: set() for queue in senders},
        "NotificationsQueue": {("events.amazonaws.com", "NotificationsRule")},
        "PicturesQueue": {("events.amazonaws.com", "PicturesRule")},
        "WebhooksQueue": {("events.amazonaws.com", "WebhooksRule")},
        "RealtimeQueue": {("events.amazonaws.com", "RealtimeRule")},
        "UpdatesQueue": {("events.amazonaws.com", "UpdatesRule")},
        "AuditQueue": {("events.amazonaws.com", "AuditRule")},
        "FeedbackQueue": {("events.amazonaws.com", "FeedbackRule")},
        "RulesDead": {("events.amazonaws.com", rule) for rule in rules},
    }


def test_data_goes_to_expo_and_supabase_only_if_the_stage_configures_it(
    dev: Templates, tmp_path_factory: pytest.TempPathFactory
) -> None:
    push, copy = "https://exp.host/--/api/v2/push", "https://project.supabase.co"
    photos = "https://api.pexels.com/v1/search"
    configured_stage = synthesise(
        tmp_path_factory.mktemp("configured"), "dev", "lean", expo_url=push, supabase_url=copy, pexels_url=photos
    )
    for templates, pushes, copies, searches in (
        (dev, set(), set(), set()),
        (configured_stage, {push}, {copy}, {photos}),
    ):
        known = {name: one["Environment"]["Variables"] for name, one in functions(templates).items()}
        assert {one.get("NOMADCREW_EXPO_URL") for one in known.values()} - {None} == pushes
        assert {one.get("NOMADCREW_SUPABASE_URL") for one in known.values()} - {None, ""} == copies
        assert {one.get("NOMADCREW_PEXELS_URL") for one in known.values()} - {None} == searches
        # Their certificates do not descend from Amazon's roots.
        assert {name for name, one in known.items() if "amazon-roots" not in one["SSL_CERT_FILE"]} == {
            "backgrounds",
            "eraser",
            "erasure",
            "identities",
            "mirror",
            "push",
            "weather",
            "weather_updates",
            "webhook_sender",
        }
    rules = {short(id_) for id_ in configured_stage.all("AWS::Events::Rule")} - {
        short(id_) for id_ in dev.all("AWS::Events::Rule")
    }
    assert rules == {"BackgroundsRule", "MirrorRule"}
    [rule] = [one for one in configured_stage.properties("AWS::Events::Rule") if one["Name"].endswith("-mirror")]
    assert rule["EventPattern"]["detail-type"] == sorted(detail_type(type_) for type_ in MIRRORED)


def test_each_service_may_call_its_own_functions_only(dev: Templates) -> None:
    calls = {
        (
            one["Principal"],
            dev.text_of(one["FunctionName"]).strip("<>").removesuffix("FunctionLive"),
            dev.text_of(one["SourceArn"]).removeprefix("arn:aws:execute-api:eu-west-1:111111111111:"),
        )
        for one in dev.properties("AWS::Lambda::Permission")
    }
    assert calls == {
        *(("apigateway.amazonaws.com", name.capitalize(), "<Http>/*") for name in API_FUNCTIONS),
        ("apigateway.amazonaws.com", "HttpAuthorizer", "<Http>/authorizers/<Authorizer>"),
        ("apigateway.amazonaws.com", "Websocket", "<Socket>/v1/*"),
        ("apigateway.amazonaws.com", "Authorizer", "<Socket>/authorizers/<Authorizer>"),
        ("iot.amazonaws.com", "IotAuthorizer", "<MqttAuthorizer>"),
        ("cognito-idp.amazonaws.com", "CognitoTriggers", "<Pool>"),
        ("cognito-idp.amazonaws.com", "CognitoConfirmed", "<Pool>"),
    }


def test_each_row_has_a_route_and_unknown_paths_have_one(templates: Templates) -> None:
    routes = {route["RouteKey"]: route for route in templates.templates_of("api", "AWS::ApiGatewayV2::Route")}
    rows = {row.key: row for row in ALL_ROUTES}
    rows |= {f"HEAD {row.path}": row for row in ALL_ROUTES if row.method == "GET"}
    assert routes.keys() == rows.keys() | {"$default"}
    assert len(routes) <= 300  # the quota of an API
    for key, row in rows.items():
        route = routes[key]
        if row.auth == Auth.PUBLIC:
            assert route["AuthorizationType"] == "NONE"
        else:
            assert route["AuthorizationType"] == "CUSTOM"
            assert templates.text_of(route["AuthorizerId"]) == "<Authorizer>"
    assert routes["$default"]["AuthorizationType"] == "NONE"
    integrations = templates.all("AWS::ApiGatewayV2::Integration")
    for key, row in rows.items():
        target = templates.text_of(routes[key]["Target"])
        assert target == f"integrations/<{row.function.capitalize()}Integration>"
    assert len(integrations) == len(API_FUNCTIONS) + 1


def test_the_socket_api_has_its_routes_and_an_authorizer_without_cache(
    templates: Templates,
) -> None:
    routes = {route["RouteKey"]: route for route in templates.templates_of("realtime", "AWS::ApiGatewayV2::Route")}
    assert routes.keys() == {
        "$connect",
        "$disconnect",
        "$default",
        "ping",
        "subscribe",
        "unsubscribe",
        "sendMessage",
        "updateLocation",
    }
    assert {key for key, route in routes.items() if route["AuthorizationType"] == "CUSTOM"} == {"$connect"}
    [authorizer] = templates.templates_of("realtime", "AWS::ApiGatewayV2::Authorizer")
    assert authorizer["IdentitySource"] == []
    assert "AuthorizerResultTtlInSeconds" not in authorizer


def test_the_authorizer_of_the_api_is_remembered_for_a_minute_by_the_header(templates: Templates) -> None:
    [authorizer] = templates.templates_of("api", "AWS::ApiGatewayV2::Authorizer")
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["AuthorizerResultTtlInSeconds"] == 60
    assert (authorizer["AuthorizerPayloadFormatVersion"], authorizer["EnableSimpleResponses"]) == ("2.0", True)


def test_access_logs_hold_neither_path_nor_query(templates: Templates) -> None:
    [stage] = templates.templates_of("api", "AWS::ApiGatewayV2::Stage")
    logged = json.loads(stage["AccessLogSettings"]["Format"])
    assert "$context.routeKey" in logged.values()
    assert not any("path" in value.lower() or "query" in value.lower() for value in logged.values())
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] > 0


def test_strangers_cannot_use_up_the_rate_of_users(templates: Templates) -> None:
    [stage] = templates.templates_of("api", "AWS::ApiGatewayV2::Stage")
    usual, settings = stage["DefaultRouteSettings"], stage["RouteSettings"]
    routes = templates.templates_of("api", "AWS::ApiGatewayV2::Route")
    assert settings.keys() == {route["RouteKey"] for route in routes if route["AuthorizationType"] == "NONE"}
    for limits in settings.values():
        assert 0 < limits["ThrottlingRateLimit"] <= usual["ThrottlingRateLimit"] / 10
        assert 0 < limits["ThrottlingBurstLimit"] <= usual["ThrottlingBurstLimit"] / 10


@pytest.mark.parametrize("kind", [("dev", "rec"), ("production", "document")], ids="-".join)
def test_strangers_cannot_use_up_the_account_through_mqtt(
    stages: Mapping[tuple[str, str], Templates], kind: tuple[str, str]
) -> None:
    assert functions(stages[kind])["iot_authorizer"]["ReservedConcurrentExecutions"] == 5


def test_every_function_has_the_common_configuration(templates: Templates) -> None:
    by_name = functions(templates)
    assert by_name.keys() == {spec.name for spec in FUNCTIONS}
    for spec in FUNCTIONS:
        one = by_name[spec.name]
        assert (one["Runtime"], one["Architectures"]) == ("python3.13", ["arm64"])
        assert (one["MemorySize"], one["Timeout"]) == (spec.memory, spec.timeout_s)
        assert one["Handler"] == f"nomadcrew.hosts.aws.functions.{spec.name}.handler"
        assert one["TracingConfig"] == {"Mode": "Active"}
        assert one["LoggingConfig"]["LogFormat"] == "JSON"
        assert one["Environment"]["Variables"].keys() >= PLATFORM_VARIABLES | {"LOG_LEVEL"}
    assert len(templates.all("AWS::Lambda::Alias")) == len(FUNCTIONS)
    assert {alias["Name"] for alias in templates.properties("AWS::Lambda::Alias")} == {"live"}
    log_groups = templates.properties("AWS::Logs::LogGroup")
    assert len(log_groups) == len(FUNCTIONS) + 1
    assert all(group["RetentionInDays"] <= 90 for group in log_groups)


def test_functions_get_known_variables_only(templates: Templates) -> None:
    known = {field.metadata["variable"] for field in Settings.__dataclass_fields__.values()}
    known |= {variable(name) for name in AwsConfig.__struct_fields__}
    for one in functions(templates).values():
        assert set(one["Environment"]["Variables"]) - known == PLATFORM_VARIABLES


def test_every_asynchronous_target_has_dead_letters(templates: Templates) -> None:
    for rule in templates.properties("AWS::Events::Rule"):
        for target in rule["Targets"]:
            assert target["DeadLetterConfig"]["Arn"]
            assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == DAY_S
    for schedule in templates.properties("AWS::Scheduler::Schedule"):
        assert schedule["Target"]["DeadLetterConfig"]["Arn"]
    configured = {
        short_of(templates, one["FunctionName"]) for one in templates.properties("AWS::Lambda::EventInvokeConfig")
    }
    assert configured == {
        f"{spec.name.title().replace('_', '')}Function" for spec in FUNCTIONS if spec.asynchronous
    }
    for queue in templates.properties("AWS::SQS::Queue"):
        if "-dead" not in queue["QueueName"]:
            max_attempts = retry_policy(queue["QueueName"]).attempts
            assert queue["RedrivePolicy"]["maxReceiveCount"] == max_attempts
            own = {"notifications": 5, "push": 5, "backgrounds": 4, "webhooks": 11}
            assert max_attempts == own.get(queue["QueueName"].rpartition("-")[2], MAX_ATTEMPTS)
        assert queue["MessageRetentionPeriod"] == 14 * DAY_S


def test_the_visibility_timeout_is_six_times_the_function_timeout(templates: Templates) -> None:
    queues = {queue["QueueName"]: queue for queue in templates.properties("AWS::SQS::Queue")}
    for spec in FUNCTIONS:
        if spec.source is not None and not (spec.name == "location_stream" and location_streams(templates)):
            [queue] = [
                queue for name, queue in queues.items()
                if name.split("-", 2)[2].removesuffix(".fifo") == spec.source.queue
            ]  # fmt: skip
            assert queue["VisibilityTimeout"] == 6 * spec.timeout_s


def test_event_sources_report_partial_failures(templates: Templates) -> None:
    sources = templates.properties("AWS::Lambda::EventSourceMapping")
    consumed = [spec for spec in FUNCTIONS if spec.source is not None or spec.stream is not None]
    assert len(sources) == len(consumed)
    assert all(one["FunctionResponseTypes"] == ["ReportBatchItemFailures"] for one in sources)


def test_stream_sources_bisect_failed_batches_and_have_dead_letters(templates: Templates) -> None:
    streams = {}
    for mapping in templates.properties("AWS::Lambda::EventSourceMapping"):
        if "StartingPosition" not in mapping:
            continue
        assert mapping["BisectBatchOnFunctionError"]
        assert mapping["MaximumRetryAttempts"] == 20
        destination = json.dumps(mapping["DestinationConfig"]["OnFailure"]["Destination"])
        dead = next(name for name in ("ChatFanoutDead", "LocationDead") if name in destination)
        streams[dead] = (mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"])
    location_dead = {"LocationDead": (500, 1)} if location_streams(templates) else {}
    assert streams == {"ChatFanoutDead": (100, 0)} | location_dead


def test_the_location_stream_has_one_encrypted_shard(templates: Templates) -> None:
    for stream in location_streams(templates):
        assert stream["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
        assert (stream["ShardCount"], stream["StreamEncryption"]["EncryptionType"]) == (1, "KMS")


def location_streams(templates: Templates) -> list[dict[str, Any]]:
    return list(templates.properties("AWS::Kinesis::Stream"))


def test_tables_are_protected_and_expire_items(templates: Templates) -> None:
    tables = {one["TableName"].split("-", 2)[2]: one for one in templates.properties("AWS::DynamoDB::Table")}
    time_to_live = {
        name: one.get("TimeToLiveSpecification", {}).get("AttributeName") for name, one in tables.items()
    }
    assert time_to_live == {
        "UserSessions": "expiresAt",
        "UserProfiles": "ttl",
        "ChatMessages": "ttl",
        "WebSocketConnections": "ttl",
        "LastPositions": "ttl",
        "LocationHistory": "ttl",
        "RateLimits": "ttl",
        "Weather": "ttl",
        "Presence": "ttl",
        "MailSuppression": None,
    }
    for one in tables.values():
        assert one["BillingMode"] == "PAY_PER_REQUEST"
        assert one["DeletionProtectionEnabled"]
        assert one["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        assert one["SSESpecification"]["SSEEnabled"]
    [by_token] = tables["UserSessions"]["GlobalSecondaryIndexes"]
    assert (by_token["IndexName"], by_token["Projection"]) == ("SessionByToken", {"ProjectionType": "KEYS_ONLY"})
    assert tables["ChatMessages"]["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
    assert tables["UserProfiles"]["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}


def test_user_data_survives_the_deletion_of_a_stack(templates: Templates) -> None:
    keeps = {
        "AWS::DynamoDB::Table": "Retain",
        "AWS::S3::Bucket": "Retain",
        "AWS::Cognito::UserPool": "Retain",
        "AWS::RDS::DBCluster": "Snapshot",
    }
    for type_, policy in keeps.items():
        assert {resource["DeletionPolicy"] for resource in templates.all(type_).values()} == {policy}
    [cluster] = templates.properties("AWS::RDS::DBCluster")
    assert cluster["DeletionProtection"]
    assert cluster["StorageEncrypted"]
    [pool] = templates.properties("AWS::Cognito::UserPool")
    assert pool["DeletionProtection"] == "ACTIVE"


def test_lifecycle_rules_never_delete_a_users_photo(templates: Templates) -> None:
    buckets = {short(id_): one["Properties"] for id_, one in templates.all("AWS::S3::Bucket").items()}
    rules = buckets["MediaBucket"]["LifecycleConfiguration"]["Rules"]
    assert [rule.get("Prefix") for rule in rules if "ExpirationInDays" in rule] == ["exports/", "tmp/"]
    [cold] = [rule["Transitions"] for rule in rules if "Transitions" in rule]
    assert cold == [{"StorageClass": "INTELLIGENT_TIERING", "TransitionInDays": 0}]
    brief = {rule["Prefix"] for rule in rules if rule.get("NoncurrentVersionExpiration") == {"NoncurrentDays": 1}}
    assert brief == {"attachments/", "documents/", "exports/", "pictures/"}
    for bucket in buckets.values():
        last = bucket["LifecycleConfiguration"]["Rules"][-1]
        assert last["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
        assert bucket["BucketEncryption"]
        assert all(bucket["PublicAccessBlockConfiguration"].values())


def test_a_web_page_may_upload_to_the_store_from_our_origins_only(templates: Templates) -> None:
    buckets = {short(id_): one["Properties"] for id_, one in templates.all("AWS::S3::Bucket").items()}
    upload, download = buckets["MediaBucket"]["CorsConfiguration"]["CorsRules"]
    [api] = [one for one in templates.properties("AWS::ApiGatewayV2::Api") if one["ProtocolType"] == "HTTP"]
    assert (upload["AllowedMethods"], upload["AllowedOrigins"]) == (
        ["POST"],
        api["CorsConfiguration"]["AllowOrigins"],
    )
    assert (download["AllowedMethods"], download["AllowedOrigins"]) == (["GET", "HEAD"], ["*"])
    assert [name for name, bucket in buckets.items() if "CorsConfiguration" in bucket] == ["MediaBucket"]


def test_the_user_pool_has_the_specified_settings(templates: Templates) -> None:
    [pool] = templates.properties("AWS::Cognito::UserPool")
    assert pool["AliasAttributes"] == ["email", "preferred_username"]
    assert pool.get("AutoVerifiedAttributes", []) == []
    required = {one["Name"]: one["Mutable"] for one in pool["Schema"] if one.get("Required")}
    assert required == {"email": True, "given_name": True, "family_name": True}
    assert {one["Name"] for one in pool["Schema"] if not one["Name"].islower()} == {"profilePicture"}
    assert pool["Policies"]["PasswordPolicy"] == {
        "MinimumLength": 8, "RequireLowercase": True, "RequireNumbers": True, "RequireSymbols": True,
        "RequireUppercase": True,
    }  # fmt: skip
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("OPTIONAL", ["SOFTWARE_TOKEN_MFA"])
    assert pool["LambdaConfig"].keys() == {
        "PreSignUp", "PostConfirmation", "PreTokenGenerationConfig",
        "DefineAuthChallenge", "CreateAuthChallenge", "VerifyAuthChallengeResponse",
    }  # fmt: skip
    assert pool["LambdaConfig"]["PreTokenGenerationConfig"]["LambdaVersion"] == "V2_0"
    [client] = templates.properties("AWS::Cognito::UserPoolClient")
    assert client["GenerateSecret"]
    flows = {"ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"}
    assert set(client["ExplicitAuthFlows"]) == flows
    assert (client["AccessTokenValidity"], client["TokenValidityUnits"]["AccessToken"]) == (15, "minutes")
    assert client["PreventUserExistenceErrors"] == "ENABLED"


def test_the_bus_archives_a_month_and_rules_accept_replayed_events(templates: Templates) -> None:
    [archive] = templates.properties("AWS::Events::Archive")
    assert archive["RetentionDays"] == 30
    for rule in templates.properties("AWS::Events::Rule"):
        assert "replay-name" not in rule["EventPattern"]


def test_aliases_move_after_the_schema_migration(templates: Templates) -> None:
    template = templates.templates["compute"]["Resources"]
    [schema] = [id_ for id_, one in template.items() if one["Type"] == "Custom::Schema"]
    for id_, one in template.items():
        if one["Type"] == "AWS::Lambda::Alias" and not id_.startswith("Migrator"):
            assert schema in one["DependsOn"]


def test_presets_select_the_expensive_resources(stages: dict[tuple[str, str], Templates]) -> None:
    lean, document = stages["dev", "lean"], stages["production", "document"]
    assert not lean.all("AWS::RDS::DBProxy")
    assert len(lean.all("AWS::RDS::DBInstance")) == 1
    [cluster] = lean.properties("AWS::RDS::DBCluster")
    assert cluster["ServerlessV2ScalingConfiguration"]["MinCapacity"] == 0
    assert len(document.all("AWS::RDS::DBInstance")) == 2
    assert (len(location_streams(lean)), len(location_streams(document))) == (0, 1)
    [proxy] = document.properties("AWS::RDS::DBProxy")
    assert proxy["RequireTLS"]
    assert {auth["IAMAuth"] for auth in proxy["Auth"]} == {"REQUIRED"}
    inside = {name for name, one in functions(document).items() if "VpcConfig" in one}
    assert {"trips", "retention"} <= inside
    assert inside.isdisjoint({"cognito_triggers", "keepalive", "migrator", "realtime", "websocket"})
    provisioned = [
        one for one in document.properties("AWS::Lambda::Alias") if "ProvisionedConcurrencyConfig" in one
    ]
    assert len(provisioned) == 1
    assert not any("NatGateway" in type_ for templates in stages.values() for _, _, one in templates.resources
                   for type_ in [one["Type"]])  # fmt: skip


def test_only_the_rehearsal_pins_api_ids(stages: dict[tuple[str, str], Templates]) -> None:
    pinned = {
        one["Tags"].get("ms-custom-id") for one in stages["rehearsal", "lean"].properties("AWS::ApiGatewayV2::Api")
    }
    assert pinned == {"0000a001", "0000a002"}
    for one in stages["dev", "lean"].properties("AWS::ApiGatewayV2::Api"):
        assert "ms-custom-id" not in one["Tags"]


def test_an_invalid_stage_is_refused() -> None:
    with pytest.raises(KeyError):
        stage_of("production", environment={})
    with pytest.raises(KeyError):
        stage_of("dev", "cheap", environment={"CDK_DEFAULT_ACCOUNT": "1"})
