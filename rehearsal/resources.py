"""CloudFormation types that the emulator lacks, and properties that it ignores.

A type that is neither here nor in the emulator stops its stack, so new types are noticed.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from ministack.core.responses import get_region
from ministack.services import apigateway
from ministack.services.cloudformation import provisioners, stacks

Properties = Mapping[str, Any]
Attributes = dict[str, Any]
Create = Callable[[str, Properties, str], tuple[str, Attributes]]


# Types that are deployed but have no effect in the emulator, and the missing effect; the templates' tests assert
# these resources.
PLACEHELD: Mapping[str, str] = {
    "AWS::ApiGatewayV2::Stage": "throttles and access logs; routes and deployments are real",
    "AWS::IoT::Authorizer": "MQTT clients are not authorised; a component test evaluates the policies",
    "AWS::EC2::RouteTable": "there is no network",
    "AWS::EC2::SecurityGroup": "no packet is filtered",
    "AWS::EC2::Subnet": "there is no network",
    "AWS::EC2::SubnetRouteTableAssociation": "there is no network",
    "AWS::EC2::VPC": "there is no network",
    "AWS::Lambda::Alias": "shifting traffic by weights; calls through it are real",
    "AWS::Lambda::Permission": "who may call a function is not enforced",
    "AWS::Logs::LogGroup": "retention",
    "AWS::RDS::DBCluster": "scaling, sleeping, failing over; the Data API is in front of a local PostgreSQL",
    "AWS::RDS::DBInstance": "the same",
    "AWS::RDS::DBSubnetGroup": "there is no network",
    "AWS::SES::ConfigurationSetEventDestination": "bounces and complaints of SES itself",
    "AWS::SES::EmailIdentity": "DKIM and verification by DNS",
    "AWS::SNS::TopicPolicy": "who may publish is not enforced",
    "AWS::SQS::QueuePolicy": "who may send is not enforced",
}

# Types that work in the emulator, and the part of them that does not; asserted like those above.
PARTLY: Mapping[str, str] = {
    "AWS::Lambda::Function": "limits of memory; one machine refuses pictures that take too much, by the same code",
    "AWS::S3::Bucket": "lifecycle rules: storage classes, and the ends of old versions and unfinished uploads",
}

_handlers: dict[str, dict[str, Any]] = provisioners._RESOURCE_HANDLERS
# Their handlers call the emulator over HTTP, so they must not run on its event loop.
_ours: set[str] = set()


def register_all() -> None:
    """Register all types and properties. Types that a newer emulator supports are left to it."""
    on_worker_thread = stacks._runs_on_worker_thread
    stacks._runs_on_worker_thread = lambda type_: type_ in _ours or on_worker_thread(type_)
    _register("AWS::Events::Archive", _archive)
    _register("AWS::IoT::Authorizer", _authorizer)
    _after("AWS::DynamoDB::Table", _table_times)
    _after("AWS::ApiGatewayV2::Api", _cors)
    _name_by_arn("AWS::SecretsManager::Secret")
    if "EMULATOR_POSTGRES" in os.environ:
        _after("AWS::RDS::DBCluster", _cluster_endpoint)


def _client(service: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
        region_name=get_region(),
        aws_access_key_id=os.environ.get("AWS_ACCESS_KEY_ID", "test"),
        aws_secret_access_key=os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
    )


def _register(type_: str, create: Create) -> None:
    if type_ in _handlers:
        return
    _ours.add(type_)
    _handlers[type_] = {
        "create": create,
        "update": lambda id_, _old, _new, _stack: (id_, {}),
        "delete": lambda _id, _properties: None,
    }


def _archive(logical_id: str, properties: Properties, stack: str) -> tuple[str, Attributes]:
    name = str(properties.get("ArchiveName") or f"{stack}-{logical_id}"[:48])
    pattern = properties.get("EventPattern")
    archive = _client("events").create_archive(
        ArchiveName=name,
        EventSourceArn=properties["SourceArn"],
        RetentionDays=int(properties.get("RetentionDays", 0)),
        **({"EventPattern": json.dumps(pattern)} if pattern else {}),
    )
    return name, {"Arn": archive["ArchiveArn"], "ArchiveName": name}


def _authorizer(logical_id: str, properties: Properties, stack: str) -> tuple[str, Attributes]:
    name = str(properties.get("AuthorizerName") or f"{stack}-{logical_id}")
    return name, {"Arn": f"arn:aws:iot:{get_region()}:000000000000:authorizer/{name}"}


def _after(type_: str, finish: Callable[[str, Properties], Attributes | None]) -> None:
    """Call `finish` after each creation and update, for the properties that the type's handler ignores."""
    handler = _handlers[type_]
    create: Create = handler["create"]
    update: Callable[..., tuple[str, Attributes]] | None = handler.get("update")
    _ours.add(type_)

    def created(logical_id: str, properties: Properties, stack: str) -> tuple[str, Attributes]:
        id_, attributes = create(logical_id, properties, stack)
        return id_, {**attributes, **(finish(id_, properties) or {})}

    def updated(id_: str, old: Properties, new: Properties, *rest: Any) -> tuple[str, Attributes]:
        assert update is not None
        new_id, attributes = update(id_, old, new, *rest)
        return new_id, {**attributes, **(finish(new_id, new) or {})}

    handler["create"] = created
    if update is not None:
        handler["update"] = updated


def _name_by_arn(type_: str) -> None:
    """Make `Ref` return the ARN, as on AWS, because policies use it."""
    handler = _handlers[type_]
    create: Create = handler["create"]

    def created(logical_id: str, properties: Properties, stack: str) -> tuple[str, Attributes]:
        id_, attributes = create(logical_id, properties, stack)
        return str(attributes.get("Id", id_)), attributes

    handler["create"] = created


def _table_times(name: str, properties: Properties) -> None:
    ttl = properties.get("TimeToLiveSpecification") or {}
    dynamodb = _client("dynamodb")
    if _true(ttl.get("Enabled")):
        dynamodb.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl["AttributeName"]}
        )
    if _true((properties.get("PointInTimeRecoverySpecification") or {}).get("PointInTimeRecoveryEnabled")):
        dynamodb.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


def _cors(api_id: str, properties: Properties) -> None:
    cors = properties.get("CorsConfiguration")
    if cors:
        apigateway._apis[api_id]["corsConfiguration"] = {
            name[0].lower() + name[1:]: _plain(value) for name, value in cors.items()
        }


def _cluster_endpoint(id_: str, _properties: Properties) -> Attributes:
    from ministack.services import rds

    server = json.loads(os.environ["EMULATOR_POSTGRES"])
    rds._clusters[id_].update(Endpoint="localhost", ReaderEndpoint="localhost", Port=int(server["port"]))
    return {"Endpoint.Address": "localhost", "Endpoint.Port": str(server["port"])}


def _true(value: Any) -> bool:
    return str(value).lower() == "true"


def _plain(value: Any) -> Any:
    """A number or boolean that CloudFormation passed as text."""
    text = str(value).lower()
    if text in ("true", "false"):
        return text == "true"
    return int(value) if isinstance(value, str) and value.isdigit() else value
