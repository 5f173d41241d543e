"""Adapters call exactly the operations that the infrastructure grants."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from aws_cdk import App
from aws_cdk.assertions import Template

from infrastructure.config import stage_of
from infrastructure.functions import FUNCTIONS, services_of
from infrastructure.grants import OUTSIDE_SECRETS, OWN_SECRETS, ResourceRefs, grants_of, service_named
from infrastructure.stacks.database import DatabaseStack
from nomadcrew.adapters import aws

FOLDER = Path(aws.__file__).parent
# The parts of a transaction are granted by their own actions.
PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
# The modules behind the services of a port, and the service they call. S3, SES and API Gateway are called by path,
# so their modules name no operation.
CALLS = {
    "limits": ("dynamodb", ["dynamodb/rate_limits.py"]),
    "sessions": ("dynamodb", ["dynamodb/sessions.py"]),
    "profile_cache": ("dynamodb", ["dynamodb/profile_cache.py"]),
    "open_sessions": ("dynamodb", ["dynamodb/open_sessions.py"]),
    "synced_chat": ("dynamodb", ["dynamodb/synced_chat.py"]),
    "presence": ("dynamodb", ["dynamodb/presence.py"]),
    "last_positions": ("dynamodb", ["dynamodb/last_positions.py"]),
    "weather_cache": ("dynamodb", ["dynamodb/weather_cache.py"]),
    "secret_links": ("secretsmanager", ["sdk/secrets.py"]),
    "outbox": ("events", ["outbox.py"]),
}
STAGE = stage_of("rehearsal", "lean")
CONTEXT = json.loads(Path("cdk.json").read_text())["context"]


@cache
def operations_of(service: str) -> frozenset[str]:
    """The operations of a service."""
    return frozenset(botocore.session.Session().get_service_model(service).operation_names)


# The functions that sign or check something with each secret. Any other could forge it if it read the secret.
READERS = {
    "links": {"calendars", "email", "invitations", "pages"},
    "codes": {"auth", "email", "eraser", "erasure", "identities", "pages", "passkeys"},
    "addresses": {"invitations", "sync", "users"},
    "documents": {"documents"},
    "webhooks": {"webhook_sender", "webhooks"},
    "proofs": {"auth", "cognito_triggers", "identities", "pages", "passkeys"},
    "push": {"push"},
    "mirror": {"eraser", "erasure", "mirror"},
    "pexels": {"backgrounds"},
}


def test_a_secret_is_read_only_where_it_is_used() -> None:
    readers = {
        name: {
            spec.name
            for spec in FUNCTIONS
            for grant in grants_of(spec, services_of(spec.name), STAGE)
            if "secretsmanager:GetSecretValue" in grant.actions and f"secret_{name}" in grant.things
        }
        for name in (*OWN_SECRETS, *OUTSIDE_SECRETS)
    }
    assert readers == READERS


@pytest.mark.parametrize("name", CALLS)
def test_an_adapters_calls_are_granted_and_nothing_else(name: str) -> None:
    service, files = CALLS[name]
    text = "".join((FOLDER / file).read_text() for file in files)
    named = set(re.findall(r'"([A-Z][A-Za-z]+)"', text))
    called = named & operations_of(service)
    if "TransactWriteItems" in called:
        called = called - {"TransactWriteItems"} | {PARTS[part] for part in named & PARTS.keys()}
    granted = {
        action.partition(":")[2]
        for grant in service_named(name, STAGE).grants
        for action in grant.actions
        if action.partition(":")[0] == service
    }
    assert granted == called


def test_each_use_of_the_connections_has_its_own_rights() -> None:
    text = (FOLDER / "dynamodb" / "connections.py").read_text()
    called = set(re.findall(r'"([A-Z][A-Za-z]+)"', text)) & operations_of("dynamodb")
    granted = {
        name: {action.partition(":")[2] for grant in service_named(name, STAGE).grants for action in grant.actions}
        for name in ("all_connections", "connections_of_users", "muting", "own_connection")
    }
    assert set().union(*granted.values()) == called
    assert sum(map(len, granted.values())) == len(called)


def test_only_functions_that_serve_every_socket_may_list_them() -> None:
    listing = {spec.name for spec in FUNCTIONS if "all_connections" in services_of(spec.name)}
    assert listing == {"keepalive", "realtime", "weather_updates"}


def test_one_function_reads_the_location_history_and_another_writes_it() -> None:
    text = (FOLDER / "dynamodb" / "location_history.py").read_text()
    called = set(re.findall(r'"([A-Z][A-Za-z]+)"', text)) & operations_of("dynamodb")
    granted = [
        {action for grant in service_named(name, STAGE).grants for action in grant.actions}
        for name in ("location_history", "stored_history")
    ]
    assert granted == [{"dynamodb:Query"}, {"dynamodb:UpdateItem"}]
    assert {action.partition(":")[2] for actions in granted for action in actions} == called


def test_a_stage_with_timestream_stores_the_location_history_there() -> None:
    stage = replace(STAGE, location_store="timestream")
    granted = {
        name: {action for grant in service_named(name, stage).grants for action in grant.actions}
        for name in ("location_history", "stored_history")
    }
    assert granted == {
        "location_history": {"timestream:Select", "timestream:DescribeEndpoints"},
        "stored_history": {"timestream:WriteRecords", "timestream:DescribeEndpoints"},
    }
    places = ResourceRefs(stage)
    made = Template.from_stack(DatabaseStack(App(context=CONTEXT), "history", places=places))
    table = {
        "RetentionProperties": {
            "MemoryStoreRetentionPeriodInHours": "24", "MagneticStoreRetentionPeriodInDays": "30"
        },
        "MagneticStoreWriteProperties": {"EnableMagneticStoreWrites": True},
    }  # fmt: skip
    made.has_resource_properties("AWS::Timestream::Table", table)
    for name in granted:
        assert set(service_named(name, stage).environment) <= places.values.keys()


def test_calls_to_cognito_are_granted() -> None:
    text = "".join((FOLDER / "cognito" / file).read_text() for file in ("accounts.py", "tokens.py", "user_pool.py"))
    called = set(re.findall(r'"([A-Z][A-Za-z]+)"', text)) & operations_of("cognito-idp")
    granted = {
        action.partition(":")[2]
        for name in ("accounts", "tokens")
        for grant in service_named(name, STAGE).grants
        for action in grant.actions
    }
    # SignUp is an unsigned call and needs no right.
    assert granted == called - {"SignUp"}


def test_every_action_exists_in_its_service() -> None:
    names = {"rds-data": "rds-data", "execute-api": None, "ses": "sesv2", "logs": "logs", "elasticache": None,
             "rds-db": None, "appconfig": "appconfigdata", "iot": "iot-data"}  # fmt: skip
    for spec in FUNCTIONS:
        for grant in grants_of(spec, services_of(spec.name), STAGE):
            for action in grant.actions:
                prefix, _, operation = action.partition(":")
                service = names.get(prefix, prefix)
                # Actions without an operation of the same name in these models.
                if service is None or operation in (
                    "DescribeStream",
                    "GetRecords",
                    "GetShardIterator",
                    "SendRawEmail",
                ):
                    continue
                assert operation in operations_of(service) | {"ConditionCheckItem"}, action
