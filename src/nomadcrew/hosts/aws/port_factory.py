"""Creates clients, SQL, secrets and the most common ports of a Lambda function.

An adapter is imported where its port is created, so a function loads only those it declares.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nomadcrew.adapters.postgres import ports as sql_ports
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import BadSetting
from nomadcrew.core.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from nomadcrew.adapters.aws.cognito.user_pool import UserPool
    from nomadcrew.adapters.aws.dataapi import DataApi
    from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections
    from nomadcrew.adapters.aws.dynamodb.sessions import DynamoSessions
    from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
    from nomadcrew.adapters.aws.sdk.client import AwsClient
    from nomadcrew.adapters.aws.sdk.config import AwsConfig
    from nomadcrew.adapters.aws.sdk.secrets import Secrets
    from nomadcrew.adapters.aws.sdk.services import Service
    from nomadcrew.adapters.postgres.database import Database
    from nomadcrew.core.api_keys.ports import KeyVerifier
    from nomadcrew.core.auth.credential_ports import IdTokens, PasskeyProofs
    from nomadcrew.core.auth.ports import (
        Accounts,
        Codes,
        OpenSessions,
        Registrations,
        Sessions,
        Tokens,
        UnconfirmedRegistrations,
        Verifier,
    )
    from nomadcrew.core.calendars.ports import CalendarLinks
    from nomadcrew.core.erasure.ports import ReceiptMail, Receipts
    from nomadcrew.core.events import AuditLog, Outbox
    from nomadcrew.core.flags import Flags
    from nomadcrew.core.ids import SessionId, UserId
    from nomadcrew.core.invitations.ports import InvitationLinks
    from nomadcrew.core.mail import Mailer
    from nomadcrew.core.places.ports import Places
    from nomadcrew.core.queues import WorkQueue
    from nomadcrew.core.rate_limits import Limit, RateLimits
    from nomadcrew.core.realtime import AwakeSockets
    from nomadcrew.core.schema import Schema
    from nomadcrew.core.timezones import TimeZones
    from nomadcrew.core.users.ports import PrivateAddresses, Profiles
    from nomadcrew.core.weather.ports import WeatherOf
    from nomadcrew.core.webhooks.ports import WebhookSecrets, WebhookSender


class PortFactory:
    """The parts of the ports; each is created once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._clients: dict[Service, AwsClient] = {}
        self._secrets: dict[str, Secrets] = {}

    @cached_property
    def config(self) -> AwsConfig:
        from nomadcrew.adapters.aws.sdk.config import AwsConfig

        return AwsConfig.read(self._environment)

    def client(self, service: Service) -> AwsClient:
        from nomadcrew.adapters.aws.sdk.client import AwsClient

        if service not in self._clients:
            self._clients[service] = AwsClient(service, environment=self._environment)
        return self._clients[service]

    @cached_property
    def sql(self) -> DataApi | Database:
        config = self.config
        if config.sql == "data-api":
            return self._data_api("database_secret_arn")
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
        raise BadSetting("NOMADCREW_AWS_SQL must be data-api or proxy.")

    def _data_api(self, secret: str) -> DataApi:
        from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
        from nomadcrew.adapters.aws.sdk.services import RDS_DATA

        config = self.config
        cluster = Cluster(config.required("cluster_arn"), config.required(secret), config.required("database"))
        return DataApi(self.client(RDS_DATA), cluster)

    def schema(self) -> Schema:
        from nomadcrew.adapters.aws.schema import AwsSchema

        owner = self._data_api("owner_secret_arn").long_timeout()
        return AwsSchema(owner, self.secrets("database_secret"))

    def secrets(self, name: str) -> Secrets:
        """The secret whose ARN is the setting `<name>_arn`, such as `secret_links`."""
        from nomadcrew.adapters.aws.sdk.secrets import Secrets
        from nomadcrew.adapters.aws.sdk.services import SECRETS

        if name not in self._secrets:
            self._secrets[name] = Secrets(self.client(SECRETS), self.config.required(f"{name}_arn"))
        return self._secrets[name]

    @cached_property
    def user_pool(self) -> UserPool:
        from nomadcrew.adapters.aws.cognito.user_pool import UserPool
        from nomadcrew.adapters.aws.sdk.services import COGNITO

        config = self.config
        return UserPool(
            self.client(COGNITO), config.required("user_pool_id"), config.required("user_pool_client_id")
        )

    def accounts(self) -> Accounts:
        from nomadcrew.adapters.aws.cognito.accounts import CognitoAccounts
        from nomadcrew.adapters.machine.passwords import Argon2Passwords

        return CognitoAccounts(self.user_pool, self.sql, self._dynamo_sessions, Argon2Passwords())

    def registrations(self) -> Registrations:
        from nomadcrew.adapters.aws.cognito.accounts import SqlRegistrations

        return SqlRegistrations(self.sql)

    def unconfirmed_registrations(self) -> UnconfirmedRegistrations:
        from nomadcrew.adapters.aws.cognito.unconfirmed import CognitoUnconfirmedRegistrations

        return CognitoUnconfirmedRegistrations(self.user_pool, self.sql)

    def sessions(self) -> Sessions:
        self.config.required("connections_table")
        return self._dynamo_sessions

    @cached_property
    def _dynamo_sessions(self) -> DynamoSessions:
        from nomadcrew.adapters.aws.cognito.accounts import find_account
        from nomadcrew.adapters.aws.dynamodb.sessions import DynamoSessions
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoSessions(
            self.client(DYNAMODB),
            self.config.required("sessions_table"),
            self.secrets("secret_codes"),
            find_account(self.sql),
            # Set only if the function may write connections: functions with the port `sessions` may.
            on_end=self._sockets_ender() if self.config.connections_table else None,
        )

    def _sockets_ender(self) -> Callable[[UserId, SessionId, datetime], Awaitable[None]]:
        connections = self._dynamo_connections  # created now, so that its module is packaged

        async def end(user_id: UserId, session_id: SessionId, now: datetime) -> None:
            await connections.end_session(user_id, session_id, now=now)

        return end

    def open_sessions(self) -> OpenSessions:
        from nomadcrew.adapters.aws.dynamodb.open_sessions import DynamoOpenSessions
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoOpenSessions(self.client(DYNAMODB), self.config.required("sessions_table"))

    def tokens(self) -> Tokens:
        from nomadcrew.adapters.aws.cognito.tokens import CognitoTokens

        return CognitoTokens(
            self.user_pool,
            self.secrets("secret_codes"),
            self.secrets("secret_proofs"),
            environment=self._environment,
        )

    def verifier(self) -> Verifier:
        from nomadcrew.adapters.aws.cognito.issuer import pool_verifier

        config = self.config
        return pool_verifier(
            config.required("user_pool_id"), config.required("user_pool_client_id"), environment=self._environment
        )

    def id_tokens(self) -> IdTokens:
        from nomadcrew.adapters.jwt.id_tokens import Client, ProviderIdTokens
        from nomadcrew.core.auth.model import Provider

        config = self.config
        return ProviderIdTokens(
            {
                Provider.GOOGLE: Client(tuple(config.google_client_ids.split()), config.google_keys_url),
                Provider.APPLE: Client(tuple(config.apple_client_ids.split()), config.apple_keys_url),
            }
        )

    def passkey_proofs(self) -> PasskeyProofs:
        from nomadcrew.adapters.passkey_proofs import WebAuthnProofs

        config = self.config
        return WebAuthnProofs(config.public_url, config.passkey_origins.split())

    def key_verifier(self) -> KeyVerifier:
        from nomadcrew.core.api_keys.verifier import ApiKeyVerifier

        api_keys = sql_ports.api_keys(self.sql)
        # Recorded at once: a function sleeps between its events.
        return ApiKeyVerifier(api_keys, lambda key_id, now: api_keys.record_use(key_id, now=now))

    def codes(self) -> Codes:
        from nomadcrew.adapters.aws.cognito.tokens import DerivedCodes

        return DerivedCodes(self.secrets("secret_codes"))

    def profiles(self) -> Profiles:
        from nomadcrew.adapters.aws.dynamodb.profile_cache import CachedProfiles
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return CachedProfiles(
            sql_ports.profiles(self.sql),
            self.client(DYNAMODB),
            self.config.required("profiles_table"),
            clock=utc_now,
        )

    def limits(self) -> RateLimits:
        from nomadcrew.adapters.aws.dynamodb.rate_limits import LayeredRateLimits
        from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits, Unlimited, parse_limits

        limits = parse_limits(self.config.rate_limits)
        if not limits:
            return Unlimited()
        return LayeredRateLimits(ProcessRateLimits(utc_now, limits), self._shared_limits(limits))

    def _shared_limits(self, limits: Mapping[str, Limit]) -> RateLimits:
        config = self.config
        if config.cache == "valkey":
            from nomadcrew.adapters.aws.valkey import ValkeyRateLimits, valkey_cache

            endpoint, user = config.required("cache_endpoint"), config.required("cache_user")
            return ValkeyRateLimits(valkey_cache(endpoint, user, environment=self._environment), utc_now, limits)
        from nomadcrew.adapters.aws.dynamodb.rate_limits import DynamoRateLimits
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoRateLimits(self.client(DYNAMODB), config.required("limits_table"), utc_now, limits)

    def outbox(self) -> Outbox:
        from nomadcrew.adapters.aws.outbox import EventBridgeOutbox
        from nomadcrew.adapters.aws.sdk.services import EVENTS, SQS
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
        from nomadcrew.adapters.aws.sdk.services import SQS
        from nomadcrew.core.events import EMAIL, EXPORTS, LOCATION, MIRROR, NOTIFICATIONS, PUSH, REALTIME, WEBHOOKS

        config = self.config
        urls = {
            NOTIFICATIONS: config.notifications_queue_url,
            EMAIL: config.email_queue_url,
            REALTIME: config.realtime_queue_url,
            PUSH: config.push_queue_url,
            MIRROR: config.mirror_queue_url,
            EXPORTS: config.exports_queue_url,
            WEBHOOKS: config.webhooks_queue_url,
            LOCATION: config.location_queue_url,
        }
        return SqsQueue(self.client(SQS), {name: url for name, url in urls.items() if url}, new_id=uuid7)

    def flags(self) -> Flags:
        from nomadcrew.adapters.aws.flags import AppConfigFlags
        from nomadcrew.adapters.aws.sdk.services import APPCONFIG

        return AppConfigFlags(self.client(APPCONFIG), self.config.required("flags"))

    def mailer(self) -> Mailer:
        from nomadcrew.adapters.aws.mailer import SesMailer
        from nomadcrew.adapters.aws.sdk.services import SES
        from nomadcrew.adapters.mime import MailSender

        return SesMailer(
            self.client(SES),
            self.suppression(),
            MailSender.parse(self.config.mail_from),
            configuration_set=self.config.required("configuration_set"),
            clock=utc_now,
        )

    def suppression(self) -> DynamoSuppression:
        from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoSuppression(self.client(DYNAMODB), self.config.required("suppression_table"))

    def audit(self) -> AuditLog:
        from nomadcrew.adapters.aws.audit import S3AuditLog
        from nomadcrew.adapters.aws.sdk.services import S3

        return S3AuditLog(self.client(S3), self.config.required("audit_bucket"))

    @cached_property
    def _dynamo_connections(self) -> DynamoConnections:
        from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoConnections(self.client(DYNAMODB), self.config.required("connections_table"))

    def invitation_links(self) -> InvitationLinks:
        from nomadcrew.adapters.machine.invitation_links import SignedInvitationLinks

        return SignedInvitationLinks(self.secrets("secret_links").texts("invitations"))

    def calendar_links(self) -> CalendarLinks:
        from nomadcrew.adapters.calendar_links import KeyedCalendarLinks

        secrets = self.secrets("secret_links")
        return KeyedCalendarLinks(lambda: secrets.keys("calendars"))

    def private_addresses(self) -> PrivateAddresses:
        from nomadcrew.adapters.private_addresses import KeyedPrivateAddresses

        secrets = self.secrets("secret_addresses")
        return KeyedPrivateAddresses(lambda: secrets.keys("private addresses"))

    def webhook_secrets(self) -> WebhookSecrets:
        from nomadcrew.adapters.webhook_secrets import KeyedWebhookSecrets

        secrets = self.secrets("secret_webhooks")
        return KeyedWebhookSecrets(lambda: secrets.keys("webhooks"))

    def webhook_sender(self) -> WebhookSender:
        from nomadcrew.adapters.http.webhooks import HttpWebhookSender
        from nomadcrew.core.webhooks.addresses import parse_networks

        return HttpWebhookSender(parse_networks(self.config.webhook_network_list))

    def erasure_receipts(self) -> Receipts:
        from nomadcrew.adapters.erasure_receipts import KeyedReceipts

        secrets = self.secrets("secret_codes")
        return KeyedReceipts(lambda: secrets.keys("erasure receipts"))

    def receipt_mail(self) -> ReceiptMail:
        from nomadcrew.adapters.receipt_mail import QueuedReceiptMail

        return QueuedReceiptMail(self._queue)

    def time_zones(self) -> TimeZones:
        from nomadcrew.adapters.time_zones import TzfTimeZones

        return TzfTimeZones()

    def places(self) -> Places:
        # Both are imported: a package contains the imported modules.
        from nomadcrew.adapters.aws.places import AmazonPlaces
        from nomadcrew.adapters.aws.sdk.services import PLACES
        from nomadcrew.adapters.noop import NoPlaces

        return AmazonPlaces(self.client(PLACES)) if self.config.places == "amazon" else NoPlaces()

    def weather_of(self) -> WeatherOf:
        # Both are imported: a package contains the imported modules, and a stage may have no weather service.
        from nomadcrew.adapters.aws.dynamodb.weather_cache import DynamoWeatherCache
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB
        from nomadcrew.adapters.http.open_meteo import OpenMeteo
        from nomadcrew.adapters.noop import NoWeather
        from nomadcrew.core.weather.shared import SharedWeather

        if not self.config.weather_url:
            return NoWeather()
        cache = DynamoWeatherCache(self.client(DYNAMODB), self.config.required("weather_table"))
        return SharedWeather(OpenMeteo(self.config.weather_url), cache)

    def awake_sockets(self) -> AwakeSockets:
        from nomadcrew.adapters.noop import NoAwakeSockets

        return NoAwakeSockets()
