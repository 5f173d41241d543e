"""The rights and environment variables of a function, from the services of its ports and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infrastructure.config import Stage
from infrastructure.functions import FunctionSpec
from nomadcrew.core.events import LOCATION

_PREFIX = "NOMADCREW_AWS_"
# Our secrets, and their purposes.
OWN_SECRETS: Mapping[str, str] = {
    "links": "Links of invitations are signed with it.",
    "codes": "Codes in mails, refresh tokens and tokens of devices are derived from it.",
    "addresses": "Private addresses are signed with it.",
    "documents": "Tokens of documents' files are encrypted with it.",
    "webhooks": "Webhooks are signed with secrets that are derived from it.",
    "proofs": "Sign-ins prove themselves to the triggers of the user pool with it.",
}
# Keys of external services, which an operator stores.
OUTSIDE_SECRETS: Mapping[str, str] = {
    "push": "The access token of the push service: expo_token.",
    "pexels": "The key of the search for photos: pexels_api_key.",
    "mirror": "The key of the Supabase project: supabase_service_key.",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on resources, which are keys of `Places.arns`."""

    actions: tuple[str, ...]
    things: tuple[str, ...]
    only_if: str = ""  # a key of `ResourceRefs.conditions`


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a port: its environment variables and grants."""

    environment: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()


@dataclass(slots=True)
class ResourceRefs:
    """References to resources: values by environment variable, ARNs by name. Stacks add what they create."""

    stage: Stage
    values: dict[str, str] = field(default_factory=dict)
    arns: dict[str, str] = field(default_factory=dict)
    # Conditions of policies, by name.
    conditions: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    # ARNs with a wildcard, as cdk-nag writes them, and the reasons.
    wild: dict[str, tuple[str, str]] = field(default_factory=dict)


def _variables(*names: str) -> tuple[str, ...]:
    return tuple(f"{_PREFIX}{name}" for name in names)


def _table(*actions: str) -> tuple[str, ...]:
    return tuple(f"dynamodb:{action}" for action in actions)


_STATEMENTS = Grant(
    (
        "rds-data:BeginTransaction",
        "rds-data:CommitTransaction",
        "rds-data:ExecuteStatement",
        "rds-data:RollbackTransaction",
    ),
    ("cluster",),
)
# The Data API acts as the user in the secret that the caller can read: one for rows only.
_DATA_API = Service(
    _variables("SQL", "CLUSTER_ARN", "DATABASE_SECRET_ARN", "DATABASE"),
    (_STATEMENTS, Grant(("secretsmanager:GetSecretValue",), ("database-secret",))),
)
# The owner of the schema, always through the Data API. It sets the other user's password.
_OWNER = Service(
    _variables("CLUSTER_ARN", "DATABASE", "DATABASE_SECRET_ARN", "OWNER_SECRET_ARN"),
    (_STATEMENTS, Grant(("secretsmanager:GetSecretValue",), ("database-secret", "owner-secret"))),
)
_PROXY = Service(
    _variables("SQL", "DATABASE", "PROXY_HOST", "PROXY_USER"),
    (Grant(("rds-db:connect",), ("proxy-user",)),),
)
_LIMITS_TABLE = Service(_variables("CACHE", "LIMITS_TABLE"), (Grant(_table("UpdateItem"), ("limits",)),))
_VALKEY = Service(
    _variables("CACHE", "CACHE_ENDPOINT", "CACHE_USER"),
    (Grant(("elasticache:Connect",), ("cache", "cache-user")),),
)
_QUEUED_STREAM = Service(
    _variables("STREAM", "LOCATION_QUEUE_URL"), (Grant(("sqs:SendMessage",), ("queue:location",)),)
)
_KINESIS = Service(_variables("STREAM", "LOCATION_STREAM"), (Grant(("kinesis:PutRecord",), ("location-stream",)),))
# The right to the history, by port: one function reads tracks and another one writes them.
_HISTORY: Mapping[str, tuple[str, ...]] = {
    "location_history": ("Query",),
    "stored_history": ("UpdateItem",),
    "erased_history": ("DeleteItem", "Query"),
}
_TIMESTREAM: Mapping[str, str] = {"location_history": "Select", "stored_history": "WriteRecords"}
_SESSION_ITEMS = _table("ConditionCheckItem", "GetItem", "PutItem", "Query", "UpdateItem")

_FIXED: Mapping[str, Service] = {
    "sql_owner": _OWNER,
    "outbox": Service(
        _variables("EVENT_BUS", "PROBE_QUEUE_URL"),
        (Grant(("events:PutEvents",), ("bus",)), Grant(("sqs:SendMessage",), ("queue:probe",))),
    ),
    # The queues are in `FunctionSpec.sends`.
    "queue": Service(),
    "mailer": Service(
        _variables("SUPPRESSION_TABLE", "CONFIGURATION_SET"),
        (
            # Raw mails need the second action too, whichever operation sends them.
            Grant(
                ("ses:SendEmail", "ses:SendRawEmail"), ("mail-identity", "mail-configuration"), "from our address"
            ),
            Grant(_table("GetItem"), ("suppression",)),
        ),
    ),
    "suppression": Service(_variables("SUPPRESSION_TABLE"), (Grant(_table("PutItem"), ("suppression",)),)),
    "own_connection": Service(
        _variables("CONNECTIONS_TABLE"), (Grant(_table("DeleteItem", "PutItem"), ("connections",)),)
    ),
    "muting": Service(_variables("CONNECTIONS_TABLE"), (Grant(_table("UpdateItem"), ("connections",)),)),
    "connections_of_users": Service(
        _variables("CONNECTIONS_TABLE"), (Grant(_table("Query"), ("connections/ByUser",)),)
    ),
    "all_connections": Service(_variables("CONNECTIONS_TABLE"), (Grant(_table("Scan"), ("connections",)),)),
    "open_sessions": Service(_variables("SESSIONS_TABLE"), (Grant(_table("GetItem"), ("sessions",)),)),
    "presence": Service(
        _variables("PRESENCE_TABLE"), (Grant(_table("BatchGetItem", "UpdateItem"), ("presence",)),)
    ),
    # Marks the sockets of a session that has ended, so that they get no more events.
    "session_sockets": Service(
        _variables("CONNECTIONS_TABLE"),
        (Grant(_table("UpdateItem"), ("connections",)), Grant(_table("Query"), ("connections/ByUser",))),
    ),
    "sockets": Service(_variables("SOCKETS_URL"), (Grant(("execute-api:ManageConnections",), ("sockets",)),)),
    "topics": Service((), (Grant(("iot:Publish",), ("topics/*",)),)),
    "topic_names": Service(_variables("TOPICS")),
    "sessions": Service(
        _variables("SESSIONS_TABLE"),
        # The index on tokens is for support only; no function reads it.
        (Grant(_SESSION_ITEMS, ("sessions",)),),
    ),
    "chat": Service(
        _variables("CHAT_TABLE"),
        (Grant(_table("GetItem", "PutItem", "Query", "UpdateItem"), ("chat",)),),
    ),
    "read_chat": Service(_variables("CHAT_TABLE"), (Grant(_table("GetItem", "Query"), ("chat",)),)),
    "synced_chat": Service(_variables("CHAT_TABLE"), (Grant(_table("BatchGetItem", "Query"), ("chat",)),)),
    "files": Service(
        _variables("MEDIA_BUCKET"),
        # A signed link needs the right to read the object.
        (Grant(("s3:DeleteObject", "s3:GetObject", "s3:PutObject"), ("attachments/*",)),),
    ),
    "document_files": Service(
        _variables("MEDIA_BUCKET"),
        (Grant(("s3:DeleteObject", "s3:GetObject", "s3:PutObject"), ("documents/*",)),),
    ),
    "picture_links": Service(_variables("MEDIA_BUCKET"), (Grant(("s3:GetObject",), ("pictures/*",)),)),
    "picture_files": Service(
        _variables("MEDIA_BUCKET"),
        (Grant(("s3:DeleteObject", "s3:GetObject", "s3:PutObject"), ("pictures/*",)),),
    ),
    "export_files": Service(
        _variables("MEDIA_BUCKET"),
        (Grant(("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"), ("exports/*",)),),
    ),
    "profile_cache": Service(
        _variables("PROFILES_TABLE"),
        (Grant(_table("GetItem", "PutItem", "UpdateItem"), ("profiles",)),),
    ),
    "accounts": Service(
        _variables("USER_POOL_ID", "USER_POOL_CLIENT_ID"),
        (
            Grant(
                (
                    "cognito-idp:AdminConfirmSignUp",
                    "cognito-idp:AdminCreateUser",
                    "cognito-idp:AdminDeleteUser",
                    "cognito-idp:AdminInitiateAuth",
                    "cognito-idp:AdminSetUserPassword",
                    "cognito-idp:AdminUpdateUserAttributes",
                    "cognito-idp:DescribeUserPoolClient",
                ),
                ("pool",),
            ),
        ),
    ),
    "unconfirmed_registrations": Service(
        _variables("USER_POOL_ID", "USER_POOL_CLIENT_ID"),
        (Grant(("cognito-idp:AdminDeleteUser", "cognito-idp:ListUsers"), ("pool",)),),
    ),
    "tokens": Service(
        _variables("USER_POOL_ID", "USER_POOL_CLIENT_ID"),
        (
            Grant(
                (
                    "cognito-idp:AdminInitiateAuth",
                    "cognito-idp:AdminRespondToAuthChallenge",
                    "cognito-idp:DescribeUserPoolClient",
                ),
                ("pool",),
            ),
        ),
    ),
    # The issuer of accepted tokens; verification needs no rights.
    "verifier": Service(_variables("USER_POOL_ID", "USER_POOL_CLIENT_ID")),
    # A function that cannot read a secret cannot forge what is signed with it.
    **{
        f"secret_{name}": Service(
            _variables(f"SECRET_{name.upper()}_ARN"),
            (Grant(("secretsmanager:GetSecretValue",), (f"secret_{name}",)),),
        )
        for name in (*OWN_SECRETS, *OUTSIDE_SECRETS)
    },
    "flags": Service(
        _variables("FLAGS"),
        (Grant(("appconfig:GetLatestConfiguration", "appconfig:StartConfigurationSession"), ("flags",)),),
    ),
    # Libraries, without a service behind them.
    "time_zones": Service(),
    "passkey_proofs": Service(),
    # External services: they need no rights on AWS, and their URLs are in every function's environment.
    "weather": Service(),
    "push": Service(),
    "photo_search": Service(),
    "id_tokens": Service(),
    "webhook_sender": Service(),
    "mirror": Service(),
    "last_positions": Service(
        _variables("POSITIONS_TABLE"), (Grant(_table("GetItem", "PutItem", "Query"), ("positions",)),)
    ),
    "weather_cache": Service(_variables("WEATHER_TABLE"), (Grant(_table("GetItem", "UpdateItem"), ("weather",)),)),
    "streamed_positions": Service(_variables("POSITIONS_TABLE"), (Grant(_table("GetItem"), ("positions",)),)),
    # All that the tables and the pool have of a user, to erase it.
    "personal_copies": Service(
        _variables(
            "CHAT_TABLE",
            "CONNECTIONS_TABLE",
            "POSITIONS_TABLE",
            "PRESENCE_TABLE",
            "PROFILES_TABLE",
            "SESSIONS_TABLE",
            "SUPPRESSION_TABLE",
            "USER_POOL_CLIENT_ID",
            "USER_POOL_ID",
        ),
        (
            Grant(_table("DeleteItem", "Query", "UpdateItem"), ("chat",)),
            Grant(_table("DeleteItem"), ("connections", "positions", "presence", "profiles", "suppression")),
            Grant(_table("Query"), ("connections/ByUser",)),
            # Tokens have no index by user.
            Grant(_table("DeleteItem", "Query", "Scan"), ("sessions",)),
            Grant(("cognito-idp:AdminDeleteUser",), ("pool",)),
        ),
    ),
    "audit": Service(_variables("AUDIT_BUCKET"), (Grant(("s3:PutObject",), ("audit/*",)),)),
}
_CONSUME = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
)
_SHARDS = (
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
)
_STREAM = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")


_GEO_PLACES = Service(
    _variables("PLACES"), (Grant(("geo-places:ReverseGeocode", "geo-places:Suggest"), ("places",)),)
)


def service_named(name: str, stage: Stage) -> Service:
    """A service's needs in a stage.

    Raises:
        KeyError: unknown service.
    """
    if name == "sql":
        return _DATA_API if stage.database.access == "data-api" else _PROXY
    if name == "limits":
        return _LIMITS_TABLE if stage.cache == "dynamodb" else _VALKEY
    if name == "places":
        return _GEO_PLACES if stage.places == "amazon" else Service(_variables("PLACES"))
    if name == "location_stream":
        return _QUEUED_STREAM if stage.stream == "sqs" else _KINESIS
    if name in _HISTORY:
        if stage.location_store == "aurora":
            return Service(_variables("LOCATION_STORE"))
        if stage.location_store == "timestream" and name not in _TIMESTREAM:
            return Service(_variables("LOCATION_STORE"))  # its records cannot be deleted; its retention ends them
        if stage.location_store == "timestream":
            return Service(
                _variables("LOCATION_STORE", "HISTORY_DATABASE", "HISTORY_TABLE"),
                (
                    Grant((f"timestream:{_TIMESTREAM[name]}",), ("history",)),
                    Grant(("timestream:DescribeEndpoints",), ("timestream/*",)),
                ),
            )
        return Service(
            _variables("LOCATION_STORE", "HISTORY_TABLE"), (Grant(_table(*_HISTORY[name]), ("history",)),)
        )
    return _FIXED[name]


# Services on the internet, which the proxy's VPC cannot reach.
OUTSIDE = frozenset(
    {"id_tokens", "mirror", "photo_search", "push", "sockets", "topics", "verifier", "weather", "webhook_sender"}
)
# Services among those with certificates of other authorities than AWS's own.
OTHERS = frozenset({"id_tokens", "mirror", "photo_search", "push", "weather", "webhook_sender"})


def by_kinesis(spec: FunctionSpec, stage: Stage) -> bool:
    """True if a function's queue is a Kinesis stream in this stage."""
    return spec.source is not None and spec.source.queue == LOCATION and stage.stream == "kinesis"


def sql_access(services: Sequence[str], stage: Stage) -> str:
    """How a function with these services accesses SQL."""
    return stage.database.access if OUTSIDE.isdisjoint(services) else "data-api"


def _chosen(services: Sequence[str], stage: Stage) -> list[Service]:
    by_data_api = sql_access(services, stage) == "data-api"
    return [_DATA_API if name == "sql" and by_data_api else service_named(name, stage) for name in services]


def queue_variable(queue: str) -> str:
    return f"{_PREFIX}{queue.upper()}_QUEUE_URL"


def environment_of(spec: FunctionSpec, services: Sequence[str], places: ResourceRefs) -> dict[str, str]:
    """The variables of a function's services and of the queues it sends to."""
    names = {name for service in _chosen(services, places.stage) for name in service.environment}
    names |= {queue_variable(queue) for queue in spec.sends}
    values = places.values | {f"{_PREFIX}SQL": sql_access(services, places.stage)}
    return {name: values[name] for name in sorted(names)}


def grants_of(spec: FunctionSpec, services: Sequence[str], stage: Stage) -> list[Grant]:
    """The rights of a function's role, besides logs and traces."""
    grants = [grant for service in _chosen(services, stage) for grant in service.grants]
    grants += [Grant(("sqs:SendMessage",), (f"queue:{queue}",)) for queue in spec.sends]
    if spec.source is not None and by_kinesis(spec, stage):
        grants.append(Grant(_SHARDS, ("location-stream",)))
        grants.append(Grant(("sqs:SendMessage",), (f"dead:{spec.source.queue}",)))
    elif spec.source is not None:
        grants.append(Grant(_CONSUME, (f"queue:{spec.source.queue}",)))
        # Permanently failed messages are moved there at once.
        grants.append(Grant(("sqs:SendMessage",), (f"dead:{spec.source.queue}",)))
    if spec.stream is not None:
        grants.append(Grant(_STREAM, (f"{spec.stream}/stream",)))
        grants.append(Grant(("sqs:SendMessage",), (f"dead:{spec.name}",)))
    if spec.asynchronous:
        grants.append(Grant(("sqs:SendMessage",), (f"dead:{spec.name}",)))
    return grants


def merged(grants: Sequence[Grant]) -> list[Grant]:
    """The same rights with each resource once per condition."""
    actions: dict[tuple[str, str], set[str]] = {}
    for grant in grants:
        for thing in grant.things:
            actions.setdefault((grant.only_if, thing), set()).update(grant.actions)
    by_actions: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (only_if, thing), allowed in sorted(actions.items()):
        by_actions.setdefault((only_if, tuple(sorted(allowed))), []).append(thing)
    return [Grant(allowed, tuple(things), only_if) for (only_if, allowed), things in by_actions.items()]
