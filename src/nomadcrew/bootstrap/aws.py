"""The ports of a function, from its environment.

A function declares the ports it uses, by the names of `Ports`; its role and environment hold what those need, and
no more. They are made, and their adapters imported, before its first event, while it has a whole processor.
"""

from __future__ import annotations

import os
from functools import cache, cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nomadcrew import logs
from nomadcrew.bootstrap import sql as sql_ports
from nomadcrew.bootstrap.sql import SQL_PORTS
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import BadSetting, Unauthenticated
from nomadcrew.core.ids import uuid7
from nomadcrew.core.ports import Ports, Site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from nomadcrew.adapters.aws.client import AwsClient
    from nomadcrew.adapters.aws.config import AwsConfig
    from nomadcrew.adapters.aws.connections import DynamoConnections
    from nomadcrew.adapters.aws.dataapi import DataApi
    from nomadcrew.adapters.aws.pool import UserPool
    from nomadcrew.adapters.aws.secrets import Secrets
    from nomadcrew.adapters.aws.services import Service
    from nomadcrew.adapters.aws.sessions import DynamoSessions
    from nomadcrew.adapters.aws.suppression import DynamoSuppression
    from nomadcrew.adapters.aws.timestream import Cells
    from nomadcrew.adapters.postgres.database import Database
    from nomadcrew.core.chat.ports import ChatLog
    from nomadcrew.core.events import AuditLog, Outbox
    from nomadcrew.core.flags import Flags
    from nomadcrew.core.identity.claims import Claims
    from nomadcrew.core.identity.ports import (
        Abandoned,
        Accounts,
        Codes,
        Profiles,
        Registrations,
        Sessions,
        Tokens,
        Verifier,
    )
    from nomadcrew.core.ids import SessionId, UserId
    from nomadcrew.core.invitations.ports import InvitationLinks
    from nomadcrew.core.limits import Limit, RateLimits
    from nomadcrew.core.locations.ports import (
        CarriedPositions,
        LastPositions,
        LocationHistory,
        LocationStream,
        Positions,
    )
    from nomadcrew.core.mail import Mailer
    from nomadcrew.core.mirror.ports import Mirror
    from nomadcrew.core.notifications.push import Push
    from nomadcrew.core.presence.ports import Presence
    from nomadcrew.core.queues import WorkQueue
    from nomadcrew.core.realtime import Connections, Live, Sockets, TopicOf, Topics
    from nomadcrew.core.schema import Schema


@cache
def lambda_ports(declared: tuple[str, ...]) -> Ports:
    """The declared ports of this process, whose log is set up; any other port raises RuntimeError when touched.

    Raises:
        BadSetting: a setting cannot be used.
    """
    logs.set_up(os.environ.get("LOG_LEVEL", "info").upper())
    return ports_in(os.environ, declared)


def ports_in(environment: Mapping[str, str], declared: tuple[str, ...]) -> Ports:
    """The declared ports in an environment.

    Raises:
        BadSetting: a setting cannot be used.
    """
    parts = _Parts(environment)
    config = parts.config
    made = {name: _port(name, parts, declared) for name in STANDS_ON}
    return Ports(
        site=Site(
            public_url=config.public_url,
            app_url=config.app_url,
            registration_open=config.registration == "open",
            mail_leaves=True,
            push_leaves=bool(config.expo_url),
        ),
        clock=utc_now,
        new_id=uuid7,
        **made,
    )


# What each port stands on: the infrastructure grants exactly that.
STANDS_ON: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(SQL_PORTS, ("sql",)),
        "profiles": ("sql", "profile_cache"),
        "limits": ("limits",),
        "outbox": ("sql", "outbox"),
        "queue": ("queue",),
        "mailer": ("mailer",),
        "connections": ("connections",),
        "chat": ("sql", "chat"),
        "live": ("queue",),
        "positions": ("sql", "last_positions", "location_history"),
        "location_stream": ("location_stream",),
        "carried_positions": ("sql", "carried_positions", "kept_history"),
        "sockets": ("connections", "sockets"),
        "topics": ("topics",),
        "topic_of": ("topic_names",),
        "presence": ("sql", "presence"),
        "audit": ("audit",),
        "suppression": ("suppression",),
        "flags": ("flags",),
        "tokens": ("tokens", "secret"),
        "verifier": ("verifier",),
        "codes": ("secret",),
        "accounts": ("sql", "accounts", "sessions", "secret"),
        "sessions": ("sql", "sessions", "secret", "session_sockets"),
        "registrations": ("sql",),
        "abandoned": ("sql", "abandoned"),
        "invitation_links": ("secret",),
        "push": ("push", "secret"),
        "mirror": ("mirror", "secret"),
        "upkeep": ("sql",),
        "schema": ("sql",),
    }
)


def _port(name: str, parts: _Parts, declared: tuple[str, ...]) -> Any:
    if name not in declared:
        return _GatewayAlone() if name == "verifier" else _Undeclared(name)
    if name == "invitation_links":
        return _Later(parts.invitation_links)  # fetches its secret
    if name in SQL_PORTS and name not in ("profiles", "positions"):
        return SQL_PORTS[name](parts.sql)
    return getattr(parts, name)()


class _Later:
    """A port that is made when it is first used."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._made: object | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = self._make()
        return getattr(self._made, name)


class _Undeclared:
    """What stands where a function declared no port: its role could not use it either."""

    def __init__(self, port: str) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"this function does not declare its port {self._port!r}, whose {name} it wants")


class _GatewayAlone:
    """`Verifier` of functions behind the gateway: whom that does not know, nobody knows."""

    async def verify(self, token: str, *, now: datetime) -> Claims:  # noqa: ARG002 — the port's form
        raise Unauthenticated("The access token is not valid.")


class _Parts:
    """What ports are made of; each part is made once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._clients: dict[Service, AwsClient] = {}

    @cached_property
    def config(self) -> AwsConfig:
        from nomadcrew.adapters.aws.config import AwsConfig

        return AwsConfig.read(self._environment)

    def client(self, service: Service) -> AwsClient:
        from nomadcrew.adapters.aws.client import AwsClient

        if service not in self._clients:
            self._clients[service] = AwsClient(service, environment=self._environment)
        return self._clients[service]

    @cached_property
    def sql(self) -> DataApi | Database:
        config = self.config
        if config.sql == "data-api":
            from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
            from nomadcrew.adapters.aws.services import RDS_DATA

            cluster = Cluster(
                config.required("cluster_arn"), config.required("database_secret_arn"), config.required("database")
            )
            return DataApi(self.client(RDS_DATA), cluster)
        from nomadcrew.adapters.postgres.database import Database

        if config.sql == "proxy":
            from nomadcrew.adapters.aws.proxy import proxy_connection

            return Database(
                proxy_connection(
                    config.required("proxy_host"),
                    config.required("proxy_user"),
                    config.required("database"),
                    environment=self._environment,
                ),
                size=1,
            )
        raise BadSetting("NOMADCREW_AWS_SQL is not data-api or proxy.")

    def schema(self) -> Schema:
        from nomadcrew.adapters.postgres.migrations import PostgresSchema

        return PostgresSchema(self.sql.patient())

    @cached_property
    def secrets(self) -> Secrets:
        from nomadcrew.adapters.aws.secrets import Secrets
        from nomadcrew.adapters.aws.services import SECRETS

        return Secrets(self.client(SECRETS), self.config.required("secret_arn"))

    @cached_property
    def user_pool(self) -> UserPool:
        from nomadcrew.adapters.aws.pool import UserPool
        from nomadcrew.adapters.aws.services import COGNITO

        config = self.config
        return UserPool(
            self.client(COGNITO), config.required("user_pool_id"), config.required("user_pool_client_id")
        )

    def accounts(self) -> Accounts:
        from nomadcrew.adapters.aws.cognito import CognitoAccounts
        from nomadcrew.adapters.embedded.passwords import Argon2Passwords

        return CognitoAccounts(self.user_pool, self.sql, self._dynamo_sessions, Argon2Passwords())

    def registrations(self) -> Registrations:
        from nomadcrew.adapters.aws.cognito import SqlRegistrations

        return SqlRegistrations(self.sql)

    def abandoned(self) -> Abandoned:
        from nomadcrew.adapters.aws.abandoned import AbandonedUsers

        return AbandonedUsers(self.user_pool, self.sql)

    def sessions(self) -> Sessions:
        self.config.required("connections_table")
        return self._dynamo_sessions

    @cached_property
    def _dynamo_sessions(self) -> DynamoSessions:
        from nomadcrew.adapters.aws.cognito import find_account
        from nomadcrew.adapters.aws.services import DYNAMODB
        from nomadcrew.adapters.aws.sessions import DynamoSessions

        return DynamoSessions(
            self.client(DYNAMODB),
            self.config.required("sessions_table"),
            self.secrets,
            find_account(self.sql),
            # Told where the function may change sockets, which is where sessions are its port.
            on_end=self._sockets_ender() if self.config.connections_table else None,
        )

    def _sockets_ender(self) -> Callable[[UserId, SessionId, datetime], Awaitable[None]]:
        connections = self._dynamo_connections  # made now, so that its module is packed

        async def end(user_id: UserId, session_id: SessionId, now: datetime) -> None:
            await connections.end_session(user_id, session_id, now=now)

        return end

    def tokens(self) -> Tokens:
        from nomadcrew.adapters.aws.cognito_tokens import CognitoTokens

        return CognitoTokens(self.user_pool, self.secrets, environment=self._environment)

    def verifier(self) -> Verifier:
        from nomadcrew.adapters.aws.cognito_issuer import pool_verifier

        config = self.config
        return pool_verifier(
            config.required("user_pool_id"), config.required("user_pool_client_id"), environment=self._environment
        )

    def codes(self) -> Codes:
        from nomadcrew.adapters.aws.cognito_tokens import DerivedCodes

        return DerivedCodes(self.secrets)

    def profiles(self) -> Profiles:
        from nomadcrew.adapters.aws.profile_cache import CachedProfiles
        from nomadcrew.adapters.aws.services import DYNAMODB

        return CachedProfiles(
            sql_ports.profiles(self.sql),
            self.client(DYNAMODB),
            self.config.required("profiles_table"),
            clock=utc_now,
        )

    def limits(self) -> RateLimits:
        from nomadcrew.adapters.aws.limits import SharedRateLimits
        from nomadcrew.adapters.embedded.limits import ProcessRateLimits, Unlimited, parse_limits

        limits = parse_limits(self.config.rate_limits)
        if not limits:
            return Unlimited()
        return SharedRateLimits(ProcessRateLimits(utc_now, limits), self._shared_limits(limits))

    def _shared_limits(self, limits: Mapping[str, Limit]) -> RateLimits:
        config = self.config
        if config.cache == "valkey":
            from nomadcrew.adapters.aws.valkey import ValkeyRateLimits, valkey_cache

            endpoint, user = config.required("cache_endpoint"), config.required("cache_user")
            return ValkeyRateLimits(valkey_cache(endpoint, user, environment=self._environment), utc_now, limits)
        from nomadcrew.adapters.aws.limits import DynamoRateLimits
        from nomadcrew.adapters.aws.services import DYNAMODB

        return DynamoRateLimits(self.client(DYNAMODB), config.required("limits_table"), utc_now, limits)

    def push(self) -> Push:
        # Both at once: a package holds what was imported for it, and a stage may do without the service.
        from nomadcrew.adapters.embedded.silent_push import SilentPush
        from nomadcrew.adapters.http.expo import ExpoPush

        if not self.config.expo_url:
            return SilentPush()
        return ExpoPush(self.config.expo_url, self.secrets.expo_token)

    def mirror(self) -> Mirror:
        from nomadcrew.adapters.embedded.silent_mirror import SilentMirror
        from nomadcrew.adapters.http.supabase import SupabaseMirror

        if not self.config.supabase_url:
            return SilentMirror()
        return SupabaseMirror(self.config.supabase_url, self.secrets.supabase_service_key)

    def outbox(self) -> Outbox:
        from nomadcrew.adapters.aws.outbox import EventBridgeOutbox
        from nomadcrew.adapters.aws.services import EVENTS, SQS
        from nomadcrew.adapters.postgres.outbox import PostgresOutbox

        config = self.config
        return EventBridgeOutbox(
            PostgresOutbox(self.sql),
            self.client(EVENTS),
            self.client(SQS),
            bus=config.required("event_bus"),
            probe_url=config.required("probe_queue_url"),
            clock=utc_now,
        )

    def queue(self) -> WorkQueue:
        return self._queue

    @cached_property
    def _queue(self) -> WorkQueue:
        from nomadcrew.adapters.aws.queue import SqsQueue
        from nomadcrew.adapters.aws.services import SQS
        from nomadcrew.core.events import EMAIL, LOCATION, MIRROR, NOTIFICATIONS, PUSH, REALTIME

        config = self.config
        urls = {
            NOTIFICATIONS: config.notifications_queue_url,
            EMAIL: config.email_queue_url,
            REALTIME: config.realtime_queue_url,
            PUSH: config.push_queue_url,
            MIRROR: config.mirror_queue_url,
            LOCATION: config.location_queue_url,
        }
        return SqsQueue(self.client(SQS), {name: url for name, url in urls.items() if url}, new_id=uuid7)

    def positions(self) -> Positions:
        from nomadcrew.adapters.aws.positions import TablePositions

        return TablePositions(self.sql, self._last_positions, self._location_history)

    def carried_positions(self) -> CarriedPositions:
        from nomadcrew.adapters.aws.positions import KeptPositions

        return KeptPositions(self.sql, self._last_positions, self._location_history)

    @cached_property
    def _last_positions(self) -> LastPositions:
        from nomadcrew.adapters.aws.last_positions import DynamoLastPositions
        from nomadcrew.adapters.aws.services import DYNAMODB

        return DynamoLastPositions(self.client(DYNAMODB), self.config.required("positions_table"))

    @cached_property
    def _location_history(self) -> LocationHistory:
        config = self.config
        if config.location_store == "aurora":
            from nomadcrew.adapters.postgres.positions import PostgresLocationHistory

            return PostgresLocationHistory(self.sql)
        if config.location_store == "dynamodb":
            from nomadcrew.adapters.aws.location_history import DynamoLocationHistory
            from nomadcrew.adapters.aws.services import DYNAMODB

            return DynamoLocationHistory(self.client(DYNAMODB), config.required("history_table"))
        if config.location_store == "timestream":
            from nomadcrew.adapters.aws.services import TIMESTREAM_QUERY, TIMESTREAM_WRITE
            from nomadcrew.adapters.aws.timestream import TimestreamLocationHistory

            return TimestreamLocationHistory(
                self._cells(TIMESTREAM_WRITE),
                self._cells(TIMESTREAM_QUERY),
                database=config.required("history_database"),
                table=config.required("history_table"),
            )
        raise BadSetting("NOMADCREW_AWS_LOCATION_STORE is not dynamodb, aurora or timestream.")

    def _cells(self, service: Service) -> Cells:
        from nomadcrew.adapters.aws.client import AwsClient
        from nomadcrew.adapters.aws.timestream import Cells

        def at(address: str) -> AwsClient:
            return AwsClient(service, url=f"https://{address}", environment=self._environment)

        return Cells(self.client(service), at, utc_now)

    def location_stream(self) -> LocationStream:
        config = self.config
        if config.stream == "kinesis":
            from nomadcrew.adapters.aws.location_stream import KinesisLocationStream
            from nomadcrew.adapters.aws.services import KINESIS

            return KinesisLocationStream(self.client(KINESIS), config.required("location_stream"))
        if config.stream == "sqs":
            from nomadcrew.adapters.aws.location_stream import QueuedLocationStream

            config.required("location_queue_url")
            return QueuedLocationStream(self._queue)
        raise BadSetting("NOMADCREW_AWS_STREAM is not sqs or kinesis.")

    def flags(self) -> Flags:
        from nomadcrew.adapters.aws.flags import AppConfigFlags
        from nomadcrew.adapters.aws.services import APPCONFIG

        return AppConfigFlags(self.client(APPCONFIG), self.config.required("flags"))

    def mailer(self) -> Mailer:
        from nomadcrew.adapters.aws.mailer import SesMailer
        from nomadcrew.adapters.aws.services import SES
        from nomadcrew.adapters.mime import Sender

        return SesMailer(
            self.client(SES),
            self.suppression(),
            Sender.parse(self.config.mail_from),
            configuration_set=self.config.required("configuration_set"),
            clock=utc_now,
        )

    def suppression(self) -> DynamoSuppression:
        from nomadcrew.adapters.aws.services import DYNAMODB
        from nomadcrew.adapters.aws.suppression import DynamoSuppression

        return DynamoSuppression(self.client(DYNAMODB), self.config.required("suppression_table"))

    def audit(self) -> AuditLog:
        from nomadcrew.adapters.aws.audit import S3AuditLog
        from nomadcrew.adapters.aws.services import S3

        return S3AuditLog(self.client(S3), self.config.required("audit_bucket"))

    def connections(self) -> Connections:
        return self._dynamo_connections

    @cached_property
    def _dynamo_connections(self) -> DynamoConnections:
        from nomadcrew.adapters.aws.connections import DynamoConnections
        from nomadcrew.adapters.aws.services import DYNAMODB

        return DynamoConnections(self.client(DYNAMODB), self.config.required("connections_table"))

    def chat(self) -> ChatLog:
        from nomadcrew.adapters.aws.chat import DynamoChat
        from nomadcrew.adapters.aws.chat_table import ChatTable
        from nomadcrew.adapters.aws.services import DYNAMODB

        table = ChatTable(self.client(DYNAMODB), self.config.required("chat_table"))
        return DynamoChat(table, sql_ports.members(self.sql))

    def live(self) -> Live:
        from nomadcrew.adapters.aws.live import QueuedLive
        from nomadcrew.adapters.mirrored_live import MirroredLive

        live = QueuedLive(self._queue)
        return MirroredLive(live, self._queue) if self.config.supabase_url else live

    def presence(self) -> Presence:
        from nomadcrew.adapters.aws.presence import DynamoPresence
        from nomadcrew.adapters.aws.services import DYNAMODB

        return DynamoPresence(self.sql, self.client(DYNAMODB), self.config.required("presence_table"))

    def sockets(self) -> Sockets:
        from nomadcrew.adapters.aws.client import AwsClient
        from nomadcrew.adapters.aws.realtime import GatewaySockets
        from nomadcrew.adapters.aws.services import SOCKETS

        gateway = AwsClient(SOCKETS, url=self.config.required("sockets_url"), environment=self._environment)
        return GatewaySockets(self._dynamo_connections, gateway, clock=utc_now)

    def topics(self) -> Topics:
        from nomadcrew.adapters.aws.services import IOT
        from nomadcrew.adapters.aws.topics import IotTopics

        return IotTopics(self.client(IOT))

    def topic_of(self) -> TopicOf:
        from nomadcrew.adapters.aws.topics import UpdatesOf

        return UpdatesOf(self.config.required("topics"))

    def invitation_links(self) -> InvitationLinks:
        from nomadcrew.adapters.embedded.invitation_links import SignedInvitationLinks

        return SignedInvitationLinks(self.secrets.texts("invitations"))
