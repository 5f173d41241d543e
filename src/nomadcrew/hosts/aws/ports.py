"""The ports of a Lambda function, from its environment.

A function declares the ports it uses, by the names of `Ports`; its role and environment allow these and no others.
Ports are created, and their adapters imported, before the first event, while the function has a full CPU.
"""

from __future__ import annotations

import os
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nomadcrew import logs
from nomadcrew.adapters.postgres.ports import SQL_PORTS
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import Unauthenticated
from nomadcrew.core.ids import uuid7
from nomadcrew.core.ports import Ports, Site
from nomadcrew.hosts.aws.realtime_port_factory import RealtimePortFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from nomadcrew.core.claims import Claims


@cache
def lambda_ports(declared: tuple[str, ...]) -> Ports:
    """The declared ports of this process; sets up its log. Any other port raises RuntimeError when it is used.

    Raises:
        BadSetting: a setting is not valid.
    """
    logs.set_up(os.environ.get("LOG_LEVEL", "info").upper())
    return ports_in(os.environ, declared)


def ports_in(environment: Mapping[str, str], declared: tuple[str, ...]) -> Ports:
    """The declared ports for an environment.

    Raises:
        BadSetting: a setting is not valid.
    """
    parts = RealtimePortFactory(environment)
    config = parts.config
    ports = {name: _port(name, parts, declared) for name in STANDS_ON}
    return Ports(
        site=Site(
            public_url=config.public_url,
            app_url=config.app_url,
            registration_open=config.registration == "open",
            mail_leaves=True,
            push_leaves=bool(config.expo_url),
            advances_trips=config.trip_status == "auto",
            webhook_networks=config.webhook_network_list,
        ),
        clock=utc_now,
        new_id=uuid7,
        **ports,
    )


# The services that each port needs: the infrastructure grants exactly these.
STANDS_ON: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(SQL_PORTS, ("sql",)),
        "profiles": ("sql", "profile_cache"),
        "limits": ("limits",),
        "outbox": ("sql", "outbox"),
        "queue": ("queue",),
        "mailer": ("mailer",),
        "connections": ("muting",),
        "changes": ("sql", "synced_chat"),
        "screens": ("sql", "read_chat"),
        "chat": ("sql", "chat"),
        "finder": ("sql", "chat"),
        "files": ("files",),
        "document_files": ("document_files",),
        "picture_files": ("picture_files",),
        "picture_links": ("picture_links",),
        "renderer": (),  # a library
        "photo_search": ("photo_search", "secret_pexels"),
        "export_files": ("export_files",),
        "file_tokens": ("secret_documents",),
        "broadcaster": ("queue",),
        "awake_sockets": (),
        "connected": ("all_connections",),
        "positions": ("sql", "last_positions", "location_history"),
        "location_stream": ("location_stream",),
        "streamed_positions": ("sql", "streamed_positions", "stored_history"),
        "sockets": ("own_connection", "connections_of_users", "muting", "sockets"),
        "socket_delivery": ("connections_of_users", "sockets"),
        "all_sockets": ("all_connections", "sockets"),
        "open_sessions": ("open_sessions",),
        "topics": ("topics",),
        "topic_of": ("topic_names",),
        "presence": ("sql", "presence"),
        "audit": ("audit",),
        "suppression": ("suppression",),
        "flags": ("flags",),
        "tokens": ("tokens", "secret_codes", "secret_proofs"),
        "verifier": ("verifier",),
        "id_tokens": ("id_tokens",),
        "passkey_proofs": ("passkey_proofs",),
        "key_verifier": ("sql",),
        "codes": ("secret_codes",),
        "accounts": ("sql", "accounts", "sessions", "secret_codes"),
        "sessions": ("sql", "sessions", "secret_codes", "session_sockets"),
        "registrations": ("sql",),
        "unconfirmed_registrations": ("sql", "unconfirmed_registrations"),
        "invitation_links": ("secret_links",),
        "calendar_links": ("secret_links",),
        "private_addresses": ("secret_addresses",),
        "push": ("push", "secret_push"),
        "mirror": ("mirror", "secret_mirror"),
        "webhook_secrets": ("secret_webhooks",),
        "webhook_sender": ("webhook_sender",),
        "retention": ("sql",),
        "personal_copies": ("personal_copies", "erased_history"),
        "erasure_receipts": ("secret_codes",),
        "receipt_mail": ("queue",),
        "time_zones": ("time_zones",),
        "places": ("places",),
        "gazetteer": (),  # one machine only
        "weather_of": ("weather", "weather_cache"),
        "schema": ("sql_owner",),
    }
)


def _port(name: str, parts: RealtimePortFactory, declared: tuple[str, ...]) -> Any:
    if name not in declared:
        return _GatewayAlone() if name in ("verifier", "key_verifier") else _Undeclared(name)
    if name == "invitation_links":
        return _Later(parts.invitation_links)  # it fetches a secret
    if name in SQL_PORTS and name not in ("changes", "profiles", "positions", "screens"):
        return SQL_PORTS[name](parts.sql)
    return getattr(parts, name)()


class _Later:
    """A port that is created on first use."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._made: object | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


class _Undeclared:
    """Replaces a port that the function does not declare; its role could not use it either."""

    def __init__(self, port: str) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"this function does not declare its port {self._port!r}, but uses its {name}")


class _GatewayAlone:
    """`Verifier` and `KeyVerifier` of functions behind the gateway, which has verified the token already.

    Refuses all others.
    """

    async def verify(self, token: str, *, now: datetime) -> Claims:  # noqa: ARG002 — required by the port
        raise Unauthenticated("The access token is not valid.")
