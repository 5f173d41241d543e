"""All Lambda functions: source, timeout, memory, ports, and the queues they send to."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nomadcrew.hosts.aws.ports import STANDS_ON


@dataclass(frozen=True, slots=True)
class Source:
    """The queue that a function consumes, the batch size, and the maximum of concurrent executions."""

    queue: str
    batch: int = 10
    max_concurrency: int = 5


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A row of the table. `stack` is the stack of the function; `memory` is in MB."""

    name: str
    stack: str
    memory: int
    timeout_s: int
    source: Source | None = None
    sends: tuple[str, ...] = ()
    asynchronous: bool = False
    schedule: str | None = None
    stream: str | None = None  # the table whose stream it consumes


def module_of(name: str) -> str:
    return f"nomadcrew.hosts.aws.functions.{name}"


def exists(name: str) -> bool:
    """True if the module exists and has a handler."""
    module = find_spec(module_of(name))
    text = Path(module.origin).read_text() if module is not None and module.origin is not None else ""
    return "\nhandler" in text or "\ndef handler(" in text


API_FUNCTIONS = (
    "auth", "identities", "passkeys", "users", "trips", "members", "invitations", "todos", "polls", "chat",
    "documents", "pictures", "locations", "webhooks", "notifications", "sync", "weather", "places", "feedback",
    "pages", "calendars", "archives", "erasure",
)  # fmt: skip


def _api(name: str) -> FunctionSpec:
    return FunctionSpec(name, "compute", 512, 10)


_TABLE: tuple[FunctionSpec, ...] = (
    *(_api(name) for name in API_FUNCTIONS if name not in ("archives", "erasure")),
    # An erasure may take longer than a request: then the schedule continues it.
    FunctionSpec("erasure", "compute", 512, 29, sends=("email", "realtime")),
    FunctionSpec(
        "eraser", "compute", 512, 300, sends=("email", "realtime"), asynchronous=True, schedule="rate(15 minutes)"
    ),
    # Imports and exports take longer than other requests, up to the limit of the gateway.
    FunctionSpec("archives", "compute", 1024, 29, sends=("exports",)),
    FunctionSpec("exporter", "compute", 1024, 300, Source("exports", batch=1, max_concurrency=2)),
    # Before every request with a token that API Gateway does not remember.
    FunctionSpec("http_authorizer", "compute", 512, 5),
    # Cognito's limit for triggers is five seconds.
    FunctionSpec("cognito_triggers", "identity", 256, 5),
    FunctionSpec("cognito_confirmed", "identity", 256, 5),
    FunctionSpec("authorizer", "realtime", 256, 5),
    FunctionSpec("websocket", "realtime", 512, 10, sends=("realtime",)),
    FunctionSpec("realtime", "realtime", 512, 30, Source("realtime", max_concurrency=10), sends=("realtime",)),
    FunctionSpec("chat_fanout", "realtime", 512, 60, sends=("notifications", "webhooks"), stream="chat"),
    FunctionSpec(
        "keepalive", "realtime", 256, 30, sends=("realtime",), asynchronous=True, schedule="rate(1 minute)"
    ),
    FunctionSpec("outbox_sweep", "compute", 256, 30, Source("probe", max_concurrency=2)),
    FunctionSpec("iot_publisher", "realtime", 256, 30, Source("updates", max_concurrency=2)),
    # IoT Core's limit for authorizers is five seconds.
    FunctionSpec("iot_authorizer", "realtime", 256, 5),
    FunctionSpec("notifier", "compute", 512, 60, Source("notifications"), sends=("email", "push", "realtime")),
    FunctionSpec("push", "compute", 256, 60, Source("push"), sends=("push",)),
    FunctionSpec("mirror", "compute", 256, 60, Source("mirror", max_concurrency=2)),
    FunctionSpec("email", "compute", 256, 30, Source("email", max_concurrency=2)),
    # A picture at a time, with a whole CPU; the largest takes a gigabyte. A crash repeats one job only.
    FunctionSpec("renderer", "compute", 1_769, 60, Source("pictures", batch=1, max_concurrency=2)),
    FunctionSpec("backgrounds", "compute", 256, 30, Source("backgrounds", max_concurrency=2)),
    FunctionSpec("webhook_sender", "compute", 256, 60, Source("webhooks", max_concurrency=2), sends=("webhooks",)),
    # In stages with Kinesis the queue is a stream with a larger batch.
    FunctionSpec(
        "location_stream", "compute", 512, 60, Source("location", max_concurrency=2), sends=("mirror", "realtime")
    ),
    FunctionSpec("audit", "compute", 256, 60, Source("audit", batch=100, max_concurrency=2)),
    FunctionSpec("ses_feedback", "compute", 256, 30, Source("feedback", max_concurrency=2)),
    FunctionSpec("retention", "compute", 256, 300, asynchronous=True, schedule="rate(1 hour)"),
    FunctionSpec(
        "weather_updates", "compute", 256, 300, sends=("realtime",), asynchronous=True, schedule="rate(1 hour)"
    ),
    FunctionSpec("migrator", "compute", 512, 900),
)
# Functions without a module are not deployed.
FUNCTIONS = tuple(spec for spec in _TABLE if exists(spec.name))
BY_NAME: Mapping[str, FunctionSpec] = {spec.name: spec for spec in FUNCTIONS}


def ports_of(name: str) -> tuple[str, ...]:
    """The ports that a function declares, in alphabetical order."""
    module = importlib.import_module(module_of(name))
    routes = getattr(module, "routes", None)
    return tuple(sorted(module.PORTS if routes is None else routes.ports))


def services_of(name: str) -> tuple[str, ...]:
    """The services that a function's ports need, in alphabetical order: keys of `grants`."""
    return tuple(sorted({service for port in ports_of(name) for service in stands_on(port)}))


def stands_on(port: str) -> tuple[str, ...]:
    """The services that a port needs; other names are services themselves, as `secret_proofs` for the triggers."""
    return STANDS_ON.get(port, (port,))
