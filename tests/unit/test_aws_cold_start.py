"""Modules that a function imports in its cold start; unlike a time, their number is never flaky."""

import subprocess
import sys
from functools import cache

import pytest

from infrastructure.config import stage_of
from infrastructure.functions import FUNCTIONS, services_of
from infrastructure.imports import function_environment

# The most modules that INIT may add to a bare interpreter, with a small reserve for other versions of Python. Raise
# a number together with the import that needs it.
BUDGETS = {
    "archives": 375,
    "audit": 205,
    "auth": 305,
    "authorizer": 353,
    "http_authorizer": 370,
    "chat": 280,
    "cognito_confirmed": 245,
    "email": 304,
    "documents": 295,
    "eraser": 400,
    "erasure": 400,
    "exporter": 340,
    "feedback": 255,
    "chat_fanout": 215,
    "ses_feedback": 205,
    "invitations": 268,
    "keepalive": 210,
    "locations": 283,
    "location_stream": 245,
    "members": 260,
    "migrator": 220,
    "identities": 420,
    "iot_authorizer": 358,
    "notifications": 264,
    "notifier": 245,
    "pages": 327,
    "passkeys": 335,
    "cognito_triggers": 190,
    "outbox_sweep": 215,
    "pictures": 285,
    "polls": 260,
    "renderer": 275,
    "push": 265,
    "mirror": 260,
    "realtime": 245,
    "sync": 350,
    "todos": 252,
    "calendars": 248,
    "backgrounds": 265,
    "trips": 252,
    "iot_publisher": 205,
    "retention": 303,
    "users": 275,
    "weather": 290,
    "weather_updates": 290,
    "places": 255,
    "websocket": 294,
    "webhooks": 252,
    "webhook_sender": 240,
}
EVERYWHERE = {"msgspec", "nomadcrew", "typing_extensions"}
# Further libraries of a function: pages and mails use templates, and the authorizer verifies signatures.
TEMPLATES = {"jinja2", "markupsafe"}
OWN = {
    "pages": TEMPLATES,
    "email": TEMPLATES,
    # Forms, and the encryption of tokens.
    "documents": {"multipart", "cryptography", "_cffi_backend", "_openssl"},
    "pictures": {"multipart"},
    "renderer": {"PIL"},
    "authorizer": {"joserfc", "cryptography", "_cffi_backend", "_openssl"},
    "identities": {"joserfc", "cryptography", "_cffi_backend", "_openssl"},
    "http_authorizer": {"joserfc", "cryptography", "_cffi_backend", "_openssl"},
    "iot_authorizer": {"joserfc", "cryptography", "_cffi_backend", "_openssl"},
}
# Slow libraries; API Gateway or plain requests do their work.
NOWHERE = {"asyncpg", "boto3", "botocore", "pydantic", "argon2", "valkey", "urllib3", "requests"}
# Compiled Cython modules register themselves as modules.
CYTHON = ("cython_runtime", "_cython_")
OWN_EVERYWHERE = (
    "nomadcrew.adapters.aws.sdk.client",
    "nomadcrew.adapters.aws.sdk.config",
    "nomadcrew.adapters.aws.sdk.services",
    "nomadcrew.adapters.aws.sdk.signing",
    "nomadcrew.hosts.aws.ports",
    "nomadcrew.hosts.aws.realtime_port_factory",
    "nomadcrew.hosts.aws.port_factory",
    "nomadcrew.adapters.postgres.ports",
    "nomadcrew.core",
    "nomadcrew.logs",
    "nomadcrew.settings",
    "nomadcrew.adapters.aws.telemetry",
    "nomadcrew.hosts.aws.entry",
    "nomadcrew.web",
    "nomadcrew.wire",
)
PACKAGES = frozenset(
    {
        "nomadcrew",
        "nomadcrew.adapters",
        "nomadcrew.adapters.aws",
        "nomadcrew.adapters.aws.cognito",
        "nomadcrew.adapters.aws.dynamodb",
        "nomadcrew.adapters.aws.sdk",
        "nomadcrew.adapters.http",
        "nomadcrew.adapters.jwt",
        "nomadcrew.adapters.machine",
        "nomadcrew.adapters.postgres",
        "nomadcrew.api",
        "nomadcrew.hosts",
        "nomadcrew.hosts.aws",
        "nomadcrew.hosts.aws.functions",
    }
)
# The adapters behind the services of a function's ports.
ADAPTERS = {
    "sql": ("adapters.aws.dataapi", "adapters.postgres"),
    "sql_owner": ("adapters.aws.dataapi", "adapters.aws.schema", "adapters.aws.sdk.secrets", "adapters.postgres"),
    "limits": ("adapters.aws.dynamodb.rate_limits", "adapters.machine.rate_limits"),
    "outbox": ("adapters.aws.outbox",),
    "queue": (
        "adapters.aws.queue",
        "adapters.aws.broadcaster",
        "adapters.mirrored_broadcaster",
        "adapters.receipt_mail",
    ),
    "personal_copies": (
        "adapters.aws.erasure",
        "adapters.aws.cognito.user_pool",
        "adapters.aws.dynamodb.chat_erasure",
        "adapters.aws.dynamodb.chat_items",
        "adapters.aws.dynamodb.connections",
        "adapters.aws.dynamodb.erased_items",
        "adapters.aws.dynamodb.suppression",
    ),
    "erased_history": (),
    "mailer": ("adapters.aws.mailer", "adapters.aws.dynamodb.suppression", "adapters.mime"),
    "topics": ("adapters.aws.topics",),
    "topic_names": ("adapters.aws.topics",),
    "suppression": ("adapters.aws.dynamodb.suppression",),
    "chat": ("adapters.aws.dynamodb.chat", "adapters.aws.dynamodb.chat_items", "adapters.aws.find"),
    "read_chat": ("adapters.aws.dynamodb.chat", "adapters.aws.dynamodb.chat_items", "adapters.aws.screens"),
    "synced_chat": ("adapters.aws.dynamodb.synced_chat", "adapters.aws.dynamodb.chat_items"),
    "files": ("adapters.aws.files",),
    "document_files": ("adapters.aws.files",),
    "picture_files": ("adapters.aws.files",),
    "picture_links": ("adapters.aws.files",),
    "export_files": ("adapters.aws.files",),
    "presence": ("adapters.aws.dynamodb.connections", "adapters.aws.dynamodb.presence"),
    "own_connection": ("adapters.aws.dynamodb.connections",),
    "muting": ("adapters.aws.dynamodb.connections",),
    "connections_of_users": ("adapters.aws.dynamodb.connections",),
    "all_connections": ("adapters.aws.dynamodb.connections",),
    "open_sessions": ("adapters.aws.dynamodb.open_sessions",),
    "session_sockets": ("adapters.aws.dynamodb.connections",),
    "sockets": ("adapters.aws.realtime",),
    "sessions": (
        "adapters.aws.dynamodb.open_sessions",
        "adapters.aws.dynamodb.sessions",
        "adapters.aws.sdk.secrets",
        "adapters.aws.cognito.accounts",
        "adapters.aws.cognito.user_pool",
    ),
    "profile_cache": ("adapters.aws.dynamodb.profile_cache",),
    "accounts": ("adapters.aws.cognito.accounts", "adapters.aws.cognito.user_pool", "adapters.machine.passwords"),
    "unconfirmed_registrations": ("adapters.aws.cognito.unconfirmed", "adapters.aws.cognito.user_pool"),
    "tokens": (
        "adapters.aws.cognito.tokens",
        "adapters.aws.cognito.user_pool",
        "adapters.aws.cognito.proofs",
        "adapters.jwt.secrets",
    ),
    "verifier": (
        "adapters.aws.cognito.issuer",
        "adapters.aws.cognito.keys",
        "adapters.aws.cognito.proofs",
        "adapters.http.redirects",
        "adapters.jwt",
    ),
    "id_tokens": ("adapters.http.redirects", "adapters.jwt"),
    "passkey_proofs": ("adapters.passkey_proofs",),
    "secret_links": ("adapters.aws.sdk.secrets", "adapters.calendar_links"),
    "secret_codes": ("adapters.aws.sdk.secrets", "adapters.aws.cognito.proofs", "adapters.erasure_receipts"),
    "secret_addresses": ("adapters.aws.sdk.secrets", "adapters.private_addresses"),
    "secret_documents": ("adapters.aws.sdk.secrets", "adapters.file_tokens"),
    "secret_proofs": ("adapters.aws.sdk.secrets", "adapters.aws.cognito.proofs"),
    "secret_push": ("adapters.aws.sdk.secrets",),
    "secret_mirror": ("adapters.aws.sdk.secrets",),
    "secret_pexels": ("adapters.aws.sdk.secrets",),
    "flags": ("adapters.aws.flags",),
    "audit": ("adapters.aws.audit",),
    "push": ("adapters.http", "adapters.noop"),
    "webhook_sender": ("adapters.http",),
    "secret_webhooks": ("adapters.aws.sdk.secrets", "adapters.webhook_secrets"),
    "photo_search": ("adapters.http", "adapters.noop"),
    "time_zones": ("adapters.time_zones",),
    "weather": ("adapters.http", "adapters.noop"),
    "places": ("adapters.aws.places", "adapters.noop"),
    "weather_cache": ("adapters.aws.dynamodb.weather_cache",),
    "mirror": ("adapters.http", "adapters.noop"),
    "last_positions": ("adapters.aws.positions", "adapters.aws.dynamodb.last_positions"),
    "streamed_positions": ("adapters.aws.positions", "adapters.aws.dynamodb.last_positions"),
    "location_history": ("adapters.aws.dynamodb.location_history",),
    "stored_history": ("adapters.aws.dynamodb.location_history",),
    "location_stream": ("adapters.aws.location_stream", "adapters.aws.queue"),
}
EVENTS = (
    *(f"hosts.aws.{name}_event" for name in ("authorizer", "http", "mqtt", "sqs", "stream", "websocket")),
    "hosts.aws.dead_connections",
)
ALSO = {
    "migrator": ("adapters.time_zones",),
    "archives": ("api.calendars", "api.members", "api.trips"),
    "auth": ("api.users",),
    "chat": ("api.find",),
    "exporter": ("api.archives", "api.calendars"),
    "identities": ("api.auth", "api.users"),
    "passkeys": ("api.auth", "api.users"),
    "invitations": ("api.members",),
    "pictures": ("api.users",),
    "renderer": ("adapters.pictures", "api.pictures"),
    "trips": ("api.members",),
    "sync": (
        "api.chat",
        "api.documents",
        "api.invitations",
        "api.locations",
        "api.members",
        "api.notifications",
        "api.pictures",
        "api.polls",
        "api.todos",
        "api.trips",
        "api.users",
    ),
    "websocket": (
        "adapters.aws.broadcaster",
        "adapters.mirrored_broadcaster",
        "api.chat",
        "api.locations",
        "api.socket_frames",
    ),
    "cognito_confirmed": ("adapters.aws.cognito.accounts", "adapters.aws.cognito.user_pool"),
    "push": ("api.notifications",),
    "webhook_sender": ("api.webhooks",),
    "weather_updates": ("adapters.aws.broadcaster", "adapters.mirrored_broadcaster"),
    "mirror": ("api.mirror.consumer",),
    "notifier": (
        "adapters.aws.broadcaster",
        "adapters.mirrored_broadcaster",
        "api.notifications",
    ),
    # Also the adapter for session sockets, although its routes never use it, and the methods of all paths.
    "pages": ("adapters.aws.dynamodb.connections", "api.mail", "api.rendering", "hosts.aws.allowed_methods"),
    "eraser": ("adapters.aws.broadcaster", "adapters.mirrored_broadcaster"),
    "erasure": ("adapters.aws.cognito.tokens", "adapters.jwt.secrets"),
    "email": (
        "adapters.aws.cognito.accounts",
        "adapters.aws.cognito.tokens",
        "adapters.aws.cognito.user_pool",
        "adapters.jwt.secrets",
        "api.mail",
        "api.rendering",
    ),
}
LOAD = """
import sys
before = set(sys.modules)
__import__("nomadcrew.hosts.aws.functions." + sys.argv[1])
print(*sorted(set(sys.modules) - before))
"""


@cache
def loaded_by(function: str, *, in_lambda: bool = True) -> frozenset[str]:
    """The modules that a function's import adds to a fresh interpreter."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", LOAD, function],
        env=function_environment(function, stage_of("rehearsal", "lean")) if in_lambda else {},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return frozenset(run.stdout.split())


def libraries_in(modules: frozenset[str]) -> set[str]:
    """The third-party packages among modules."""
    found = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return {name for name in found if not name.startswith(CYTHON)}


def own_modules_of(function: str) -> tuple[str, ...]:
    """The prefixes of the project's modules that a function may import."""
    adapters = (module for service in services_of(function) for module in ADAPTERS[service])
    names = (*EVENTS, *adapters, *ALSO.get(function, ()), f"api.{function}", f"hosts.aws.functions.{function}")
    return (*OWN_EVERYWHERE, *(f"nomadcrew.{name}" for name in names))


def test_every_function_has_a_budget() -> None:
    assert {spec.name for spec in FUNCTIONS} == BUDGETS.keys()


@pytest.mark.parametrize("function", BUDGETS)
def test_a_function_imports_no_unused_library(function: str) -> None:
    libraries = libraries_in(loaded_by(function))
    assert libraries - EVERYWHERE - OWN.get(function, set()) == set()
    assert libraries & NOWHERE == set()


@pytest.mark.parametrize("function", BUDGETS)
def test_a_function_imports_no_unrelated_module(function: str) -> None:
    allowed = own_modules_of(function)
    unrelated = {
        name
        for name in loaded_by(function) - PACKAGES
        if name.startswith("nomadcrew.")
        and not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
    }
    assert unrelated == set()


@pytest.mark.parametrize("function", BUDGETS)
def test_a_function_stays_within_its_budget(function: str) -> None:
    assert len(loaded_by(function)) <= BUDGETS[function]


def test_adapters_are_imported_at_load_in_lambda_only() -> None:
    assert "nomadcrew.adapters.aws.dataapi" in loaded_by("trips")
    outside = loaded_by("trips", in_lambda=False)
    adapters = {name for name in outside if name.startswith("nomadcrew.adapters.")}
    assert adapters == {
        "nomadcrew.adapters.aws",
        "nomadcrew.adapters.aws.telemetry",
        "nomadcrew.adapters.postgres",
        "nomadcrew.adapters.postgres.ports",
    }


def test_the_collector_rests_in_lambda_only() -> None:
    probe = "import gc, nomadcrew.hosts.aws.functions; print(gc.get_threshold()[0])"
    for environment, threshold in (({"AWS_LAMBDA_FUNCTION_NAME": "trips"}, "50000"), ({}, "700")):
        run = subprocess.run(
            [sys.executable, "-I", "-c", probe], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == threshold
