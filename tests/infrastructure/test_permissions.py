"""All rights of every function: the table beside this file matches the roles in the templates."""

import re
from collections.abc import Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import pytest

from infrastructure.functions import FUNCTIONS, services_of
from infrastructure.grants import OUTSIDE
from tests.infrastructure.stage_templates import Templates

TABLE = Path(__file__).with_name("permissions.txt")
# Every function may write its log and traces; the table omits these rights.
COMMON = {("logs:CreateLogStream", "its log"), ("logs:PutLogEvents", "its log"),
             ("xray:PutTelemetryRecords", "*"), ("xray:PutTraceSegments", "*")}  # fmt: skip
NETWORK = {
    (f"ec2:{action}", "*")
    for action in (
        "AssignPrivateIpAddresses",
        "CreateNetworkInterface",
        "DeleteNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "UnassignPrivateIpAddresses",
    )
}
DATA_API = {
    *((f"rds-data:{action}", "rds cluster:<Cluster>") for action in (
        "BeginTransaction", "CommitTransaction", "ExecuteStatement", "RollbackTransaction")),
    ("secretsmanager:GetSecretValue", "<ApplicationUserAttachment>"),
}  # fmt: skip
VALKEY = {("elasticache:Connect", "<Cache.ARN>"), ("elasticache:Connect", "<CacheUser>")}
Rights = dict[str, set[tuple[str, str]]]


def rights(templates: Templates) -> Rights:
    """Actions and resources of every function's role, without those in COMMON."""
    found: Rights = {}
    roles = templates.all("AWS::IAM::Role")
    for function in templates.properties("AWS::Lambda::Function"):
        role = roles[function["Role"]["Fn::GetAtt"][0]]["Properties"]
        allowed = {
            (action, _resource(templates, resource))
            for policy in role["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if _is_plain(statement)
            for action in _list(statement["Action"])
            for resource in _list(statement["Resource"])
        }
        assert allowed >= COMMON
        found[function["FunctionName"].split("-", 2)[2]] = allowed - COMMON
    return found


def _is_plain(statement: Mapping[str, Any]) -> bool:
    assert statement.keys() - {"Condition"} == {"Action", "Effect", "Resource"}
    assert statement["Effect"] == "Allow"
    return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _resource(templates: Templates, resource: Any) -> str:
    text = templates.text_of(resource)
    if text.endswith("FunctionLogs>"):
        return "its log"
    text = re.sub(r"nomadcrew-[a-z]+-audit-[0-9]{12}-eu-west-1", "<AuditBucket>", text)
    text = re.sub(r"nomadcrew-[a-z]+-media-[0-9]{12}-eu-west-1", "<MediaBucket>", text)
    return re.sub(r"arn:aws:([a-z0-9-]+):[a-z0-9-]*:[0-9]*:", r"\1 ", text)


def table() -> Rights:
    """The rights in the table."""
    found: Rights = {}
    name = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            name = line.strip()
            found[name] = set()
            continue
        actions, _, resource = line.strip().partition("  ")
        service, _, names = actions.partition(":")
        found[name] |= {(f"{service}:{action}", resource.strip()) for action in names.split("+")}
    return found


def written(found: Rights) -> str:
    """The table's text for these rights."""
    lines = []
    for name in (spec.name for spec in FUNCTIONS):
        lines.append(name)
        by_resource: dict[tuple[str, str], list[str]] = {}
        for action, resource in sorted(found[name]):
            service, _, verb = action.partition(":")
            by_resource.setdefault((service, resource), []).append(verb)
        lines += [
            f"    {service}:{'+'.join(verbs)}  {resource}" for (service, resource), verbs in by_resource.items()
        ]
        lines.append("")
    return "\n".join(lines)


PLACES = {(f"geo-places:{action}", "geo-places provider/default") for action in ("ReverseGeocode", "Suggest")}
SHARDS = {
    (f"kinesis:{action}", "<LocationStream>")
    for action in ("DescribeStream", "DescribeStreamSummary", "GetRecords", "GetShardIterator", "ListShards")
}


def test_no_right_covers_all_resources(templates: Templates) -> None:
    starred = {
        (name, action, re.sub(r"/nc/\w+/", "/nc/<stage>/", resource))
        for name, allowed in rights(templates).items()
        for action, resource in allowed - NETWORK
        if "*" in action or "*" in resource
    }
    assert {resource for _, _, resource in starred} == {
        "execute-api <Socket>/v1/POST/@connections/*",
        "iot topic/nc/<stage>/trips/*",
        "s3 <AuditBucket>/*",
        "s3 <MediaBucket>/attachments/*",
        "s3 <MediaBucket>/documents/*",
        "s3 <MediaBucket>/exports/*",
        "s3 <MediaBucket>/pictures/*",
    }
    assert {action for _, action, _ in starred} == {
        "execute-api:ManageConnections",
        "iot:Publish",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:PutObject",
    }


def test_the_table_matches_the_roles(dev: Templates) -> None:
    found = rights(dev)
    assert found == table(), f"if this is intended, write:\n{written(found)}"


def test_a_role_belongs_to_one_function_and_has_no_managed_policy(templates: Templates) -> None:
    used = [function["Role"]["Fn::GetAtt"][0] for function in templates.properties("AWS::Lambda::Function")]
    assert len(used) == len(set(used)) == len(FUNCTIONS)
    assert not any("ManagedPolicyArns" in role for role in templates.properties("AWS::IAM::Role"))
    # The role of RDS Proxy belongs to no function.
    also = {role["Ref"] for policy in templates.properties("AWS::IAM::Policy") for role in policy["Roles"]}
    assert also.isdisjoint(used)


def test_mails_are_sent_from_our_address_only(templates: Templates) -> None:
    sending = [
        statement
        for role in templates.properties("AWS::IAM::Role")
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        if any(action.startswith("ses:") for action in _list(statement["Action"]))
    ]
    [mails] = [
        function["Environment"]["Variables"]["NOMADCREW_MAIL_FROM"]
        for function in templates.properties("AWS::Lambda::Function")
        if function["FunctionName"].endswith("-email")
    ]
    assert sending
    for statement in sending:
        assert statement["Condition"] == {"StringEquals": {"ses:FromAddress": parseaddr(mails)[1]}}


def test_only_the_migrator_acts_as_the_owner_of_the_schema(templates: Templates) -> None:
    """Through the Data API a function can run any SQL that the user in its secret may run."""
    as_owner = {
        name
        for name, allowed in rights(templates).items()
        for _, resource in allowed
        if resource == "<ClusterSecretAttachment>" or resource.endswith("/nomadcrew")
    }
    assert as_owner == {"migrator"}


@pytest.mark.parametrize(("stage", "preset"), [("dev", "rec"), ("production", "document")])
def test_presets_change_rights_for_sql_limits_places_and_the_location_stream_only(
    stages: Mapping[tuple[str, str], Templates], stage: str, preset: str
) -> None:
    lean, other = rights(stages["dev", "lean"]), rights(stages[stage, preset])
    for name, allowed in lean.items():
        expected = set(allowed)
        if ("dynamodb:UpdateItem", "<RateLimits>") in allowed:
            expected -= {("dynamodb:UpdateItem", "<RateLimits>")}
            expected |= VALKEY
        if ("sqs:SendMessage", "<LocationQueue>") in allowed:
            expected -= {("sqs:SendMessage", "<LocationQueue>")}
            expected |= {("kinesis:PutRecord", "<LocationStream>")}
        if name == "places":
            expected |= PLACES
        if name == "location_stream":
            expected = {right for right in expected if right[1] != "<LocationQueue>"} | SHARDS
        # Functions outside the network call the Data API over the internet.
        if preset == "document" and "sql" in services_of(name) and OUTSIDE.isdisjoint(services_of(name)):
            expected -= DATA_API
            expected |= NETWORK
            connect = {right for right in other[name] if right[0] == "rds-db:connect"}
            [(_, user)] = connect
            assert user.endswith("/nomadcrew_app")
            assert "*" not in user
            expected |= connect
        # Each stage has its own topics.
        expected = {(action, on.replace("/nc/dev/", f"/nc/{stage}/")) for action, on in expected}
        assert other[name] == expected
