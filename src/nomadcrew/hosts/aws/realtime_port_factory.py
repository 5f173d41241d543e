"""Creates the ports of the live features: chat, positions, presence, sockets, topics, pushes and the mirror."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nomadcrew.adapters.postgres import ports as sql_ports
from nomadcrew.core.clock import utc_now
from nomadcrew.core.errors import BadSetting
from nomadcrew.hosts.aws.port_factory import PortFactory

if TYPE_CHECKING:
    from nomadcrew.adapters.aws.realtime import GatewaySockets
    from nomadcrew.adapters.aws.sdk.client import AwsClient
    from nomadcrew.adapters.aws.sdk.services import Service
    from nomadcrew.adapters.aws.timestream import Cells
    from nomadcrew.core.backgrounds.ports import PhotoSearch
    from nomadcrew.core.chat.ports import ChatLog
    from nomadcrew.core.documents.ports import FileTokens
    from nomadcrew.core.erasure.ports import PersonalCopies
    from nomadcrew.core.files.ports import Files
    from nomadcrew.core.find.ports import Finder
    from nomadcrew.core.locations.ports import (
        LastPositions,
        LocationHistory,
        LocationStream,
        Positions,
        StreamedPositions,
    )
    from nomadcrew.core.mirror.ports import Mirror
    from nomadcrew.core.notifications.push import Push
    from nomadcrew.core.pictures.ports import Renderer
    from nomadcrew.core.presence.ports import Presence
    from nomadcrew.core.realtime import (
        AllSockets,
        Broadcaster,
        ConnectedUsers,
        Connections,
        SocketDelivery,
        Sockets,
        TopicOf,
        Topics,
    )
    from nomadcrew.core.screens.ports import Screens
    from nomadcrew.core.sync.ports import ChangeLog


class RealtimePortFactory(PortFactory):
    """`PortFactory` with the ports of the live features."""

    def push(self) -> Push:
        # Both are imported: a package contains the imported modules, and a stage may have no push service.
        from nomadcrew.adapters.http.expo import ExpoPush
        from nomadcrew.adapters.noop import NoPush

        if not self.config.expo_url:
            return NoPush()
        return ExpoPush(self.config.expo_url, self.secrets("secret_push").expo_token)

    def mirror(self) -> Mirror:
        from nomadcrew.adapters.http.supabase import SupabaseMirror
        from nomadcrew.adapters.noop import NoMirror

        if not self.config.supabase_url:
            return NoMirror()
        return SupabaseMirror(self.config.supabase_url, self.secrets("secret_mirror").supabase_service_key)

    def positions(self) -> Positions:
        from nomadcrew.adapters.aws.positions import DynamoPositions

        return DynamoPositions(self.sql, self._last_positions, self._location_history)

    def streamed_positions(self) -> StreamedPositions:
        from nomadcrew.adapters.aws.positions import DynamoStreamedPositions

        return DynamoStreamedPositions(self.sql, self._last_positions, self._location_history)

    @cached_property
    def _last_positions(self) -> LastPositions:
        from nomadcrew.adapters.aws.dynamodb.last_positions import DynamoLastPositions
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoLastPositions(self.client(DYNAMODB), self.config.required("positions_table"))

    @cached_property
    def _location_history(self) -> LocationHistory:
        config = self.config
        if config.location_store == "aurora":
            from nomadcrew.adapters.postgres.positions import PostgresLocationHistory

            return PostgresLocationHistory(self.sql)
        if config.location_store == "dynamodb":
            from nomadcrew.adapters.aws.dynamodb.location_history import DynamoLocationHistory
            from nomadcrew.adapters.aws.sdk.services import DYNAMODB

            return DynamoLocationHistory(self.client(DYNAMODB), config.required("history_table"))
        if config.location_store == "timestream":
            from nomadcrew.adapters.aws.sdk.services import TIMESTREAM_QUERY, TIMESTREAM_WRITE
            from nomadcrew.adapters.aws.timestream import TimestreamLocationHistory

            return TimestreamLocationHistory(
                self._cells(TIMESTREAM_WRITE),
                self._cells(TIMESTREAM_QUERY),
                database=config.required("history_database"),
                table=config.required("history_table"),
            )
        raise BadSetting("NOMADCREW_AWS_LOCATION_STORE must be dynamodb, aurora or timestream.")

    def _cells(self, service: Service) -> Cells:
        from nomadcrew.adapters.aws.sdk.client import AwsClient
        from nomadcrew.adapters.aws.timestream import Cells

        def at(address: str) -> AwsClient:
            return AwsClient(service, url=f"https://{address}", environment=self._environment)

        return Cells(self.client(service), at, utc_now)

    def personal_copies(self) -> PersonalCopies:
        from nomadcrew.adapters.aws.erasure import AwsPersonalCopies, UserTables
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        config = self.config
        tables = UserTables(
            chat=config.required("chat_table"),
            connections=config.required("connections_table"),
            history=config.required("history_table") if config.location_store == "dynamodb" else None,
            positions=config.required("positions_table"),
            presence=config.required("presence_table"),
            profiles=config.required("profiles_table"),
            sessions=config.required("sessions_table"),
            suppression=config.required("suppression_table"),
        )
        return AwsPersonalCopies(self.client(DYNAMODB), tables, self.user_pool, clock=utc_now)

    def location_stream(self) -> LocationStream:
        config = self.config
        if config.stream == "kinesis":
            from nomadcrew.adapters.aws.location_stream import KinesisLocationStream
            from nomadcrew.adapters.aws.sdk.services import KINESIS

            return KinesisLocationStream(self.client(KINESIS), config.required("location_stream"))
        if config.stream == "sqs":
            from nomadcrew.adapters.aws.location_stream import QueuedLocationStream

            config.required("location_queue_url")
            return QueuedLocationStream(self._queue)
        raise BadSetting("NOMADCREW_AWS_STREAM must be sqs or kinesis.")

    def connected(self) -> ConnectedUsers:
        return self._dynamo_connections

    def connections(self) -> Connections:
        return self._dynamo_connections

    def chat(self) -> ChatLog:
        from nomadcrew.adapters.aws.dynamodb.chat import DynamoChat
        from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB
        from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints

        table = ChatTable(self.client(DYNAMODB), self.config.required("chat_table"))
        return DynamoChat(
            table,
            sql_ports.members(self.sql),
            sql_ports.attachments(self.sql),
            PostgresSyncPoints(self.sql).note_messages,
        )

    def changes(self) -> ChangeLog:
        from nomadcrew.adapters.aws.dynamodb.synced_chat import DynamoSyncedChat
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB
        from nomadcrew.adapters.postgres.sync import PostgresChangeLog

        table = self.config.required("chat_table")
        return PostgresChangeLog(self.sql, DynamoSyncedChat(self.client(DYNAMODB), table))

    def finder(self) -> Finder:
        from nomadcrew.adapters.aws.find import TwoStoreFinder
        from nomadcrew.adapters.postgres.find import PostgresFinder

        return TwoStoreFinder(PostgresFinder(self.sql), self.chat())

    def screens(self) -> Screens:
        from nomadcrew.adapters.aws.screens import TwoStoreScreens
        from nomadcrew.adapters.postgres.screens import PostgresScreens

        return TwoStoreScreens(PostgresScreens(self.sql), self.chat())

    def files(self) -> Files:
        from nomadcrew.adapters.aws.files import S3Files
        from nomadcrew.adapters.aws.sdk.services import S3

        return S3Files(self.client(S3), self.config.required("media_bucket"))

    def document_files(self) -> Files:
        return self.files()

    def picture_files(self) -> Files:
        return self.files()

    def picture_links(self) -> Files:
        return self.files()

    def renderer(self) -> Renderer:
        from nomadcrew.adapters.pictures.local_renderer import LocalRenderer

        return LocalRenderer()

    def photo_search(self) -> PhotoSearch:
        from nomadcrew.adapters.http.pexels import Pexels
        from nomadcrew.adapters.noop import NoPhotoSearch

        if not self.config.pexels_url:
            return NoPhotoSearch()
        return Pexels(self.config.pexels_url, self.secrets("secret_pexels").pexels_api_key)

    def export_files(self) -> Files:
        return self.files()

    def file_tokens(self) -> FileTokens:
        from nomadcrew.adapters.file_tokens import EncryptedFileTokens

        secrets = self.secrets("secret_documents")
        return EncryptedFileTokens(lambda: secrets.keys("file tokens"))

    def broadcaster(self) -> Broadcaster:
        from nomadcrew.adapters.aws.broadcaster import QueuedBroadcaster
        from nomadcrew.adapters.mirrored_broadcaster import MirroredBroadcaster

        live = QueuedBroadcaster(self._queue)
        return MirroredBroadcaster(live, self._queue) if self.config.supabase_url else live

    def presence(self) -> Presence:
        from nomadcrew.adapters.aws.dynamodb.presence import DynamoPresence
        from nomadcrew.adapters.aws.sdk.services import DYNAMODB

        return DynamoPresence(self.sql, self.client(DYNAMODB), self.config.required("presence_table"))

    def sockets(self) -> Sockets:
        return self._gateway_sockets

    def socket_delivery(self) -> SocketDelivery:
        return self._gateway_sockets

    def all_sockets(self) -> AllSockets:
        return self._gateway_sockets

    @cached_property
    def _gateway_sockets(self) -> GatewaySockets:
        from nomadcrew.adapters.aws.realtime import GatewaySockets
        from nomadcrew.adapters.aws.sdk.client import AwsClient
        from nomadcrew.adapters.aws.sdk.services import SOCKETS

        gateway = AwsClient(SOCKETS, url=self.config.required("sockets_url"), environment=self._environment)
        return GatewaySockets(self._dynamo_connections, gateway)

    def topics(self) -> Topics:
        from nomadcrew.adapters.aws.sdk.services import IOT
        from nomadcrew.adapters.aws.topics import IotTopics

        return IotTopics(self.client(IOT))

    def topic_of(self) -> TopicOf:
        from nomadcrew.adapters.aws.topics import UpdatesOf

        return UpdatesOf(self.config.required("topics"))
