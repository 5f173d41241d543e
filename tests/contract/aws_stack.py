"""A deployment on the emulated account: a database, a bus, queues, a gateway and the functions."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest_asyncio

from nomadcrew.adapters.aws.audit import S3AuditLog
from nomadcrew.adapters.aws.broadcaster import QueuedBroadcaster
from nomadcrew.adapters.aws.dynamodb.chat import DynamoChat
from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable
from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections
from nomadcrew.adapters.aws.dynamodb.last_positions import DynamoLastPositions
from nomadcrew.adapters.aws.dynamodb.location_history import DynamoLocationHistory
from nomadcrew.adapters.aws.dynamodb.presence import DynamoPresence
from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
from nomadcrew.adapters.aws.files import S3Files
from nomadcrew.adapters.aws.location_stream import QueuedLocationStream
from nomadcrew.adapters.aws.outbox import EventBridgeOutbox
from nomadcrew.adapters.aws.positions import DynamoPositions, DynamoStreamedPositions
from nomadcrew.adapters.aws.queue import SqsQueue
from nomadcrew.adapters.aws.realtime import GatewaySockets
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, EVENTS, S3, SQS
from nomadcrew.adapters.machine.invitation_links import SignedInvitationLinks
from nomadcrew.adapters.noop import NoAwakeSockets
from nomadcrew.adapters.pictures.local_renderer import LocalRenderer
from nomadcrew.adapters.postgres.attachments import PostgresAttachments
from nomadcrew.adapters.postgres.backgrounds import PostgresBackgrounds
from nomadcrew.adapters.postgres.documents import PostgresDocuments
from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.locations import PostgresLocationSharing, PostgresPositionViews
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.notifications import PostgresNotifications
from nomadcrew.adapters.postgres.outbox import PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.pictures import PostgresPictures
from nomadcrew.adapters.postgres.profiles import PostgresProfiles
from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints
from nomadcrew.api import socket_frames as websocket
from nomadcrew.api.backgrounds import consumer as backgrounds
from nomadcrew.api.notifications import consumer
from nomadcrew.api.notifications import push_consumer as push
from nomadcrew.api.pictures import consumer as pictures
from nomadcrew.core.backgrounds.model import FoundPhoto
from nomadcrew.core.events import CONSUMERS
from nomadcrew.core.ids import UserId, uuid7
from nomadcrew.core.mail import MailMessage
from nomadcrew.core.notifications.push import PushError, PushMessage, Ticket
from nomadcrew.hosts.aws.entry import MakePorts, event_entry
from nomadcrew.hosts.aws.functions import (
    audit,
    authorizer,
    chat_fanout,
    email,
    keepalive,
    location_stream,
    notifier,
    outbox_sweep,
    realtime,
    ses_feedback,
)
from nomadcrew.hosts.aws.sqs_event import batch_entry, queue_entry
from nomadcrew.hosts.aws.stream_event import stream_entry
from nomadcrew.hosts.aws.websocket_event import authorizer_entry, socket_entry
from nomadcrew.wire.events import detail_type
from tests.contract.cloud import Cloud
from tests.contract.fake_gateway import FakeGateway, gateway
from tests.contract.lambda_runtime import LambdaRuntime
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, FakeOpenSessions, FakeTokens, OpenLimits, SetClock

# The entry of each function, which is called with ports.
PUBLISHER = partial(batch_entry, outbox_sweep.sweep, declared=outbox_sweep.PORTS)
NOTIFIER = partial(queue_entry, notifier.forward, declared=consumer.PORTS)
PUSH = partial(queue_entry, push.consume_push, declared=push.PORTS)
EMAIL = partial(queue_entry, email.send, declared=email.PORTS)
REALTIME = partial(queue_entry, realtime.consume_task, declared=realtime.PORTS)
FEEDBACK = partial(queue_entry, ses_feedback.consume_feedback, declared=ses_feedback.PORTS)
AUDIT = partial(batch_entry, audit.save_events, declared=audit.PORTS)
RENDERER = partial(queue_entry, pictures.consume_picture, declared=pictures.PORTS)
BACKGROUNDS = partial(queue_entry, backgrounds.consume_background, declared=backgrounds.PORTS)
LOCATION_STREAM = partial(stream_entry, location_stream.consume_records, declared=location_stream.PORTS)
KEEPALIVE = partial(event_entry, keepalive.keep_alive, declared=keepalive.PORTS)
FANOUT = partial(stream_entry, chat_fanout.fan_out, declared=chat_fanout.PORTS)
WEBSOCKET = partial(socket_entry, websocket.frames, declared=websocket.PORTS)


def AUTHORIZER(ports: MakePorts) -> Any:
    return authorizer_entry(ports, authorizer.PORTS)


class RecordingMailer:
    """`Mailer` that records mails."""

    def __init__(self) -> None:
        self.mails: list[MailMessage] = []

    async def send(self, message: MailMessage) -> None:
        self.mails.append(message)


class RecordingPush:
    """`Push` that records messages and delivers them all."""

    def __init__(self) -> None:
        self.shown: list[PushMessage] = []
        self.requested: list[str] = []

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        self.shown += messages
        return [Ticket(f"ticket of {message.to}") for message in messages]

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:
        self.requested += tickets
        return dict.fromkeys(tickets)


class OnePhoto:
    """`PhotoSearch` that finds one photo."""

    async def find(self, query: str) -> FoundPhoto | None:
        return FoundPhoto(f"https://images.pexels.com/{query}.jpeg", "Nuno", "https://www.pexels.com/photo/1/")


class Stack:
    """The services behind the API: a database, a bus, queues and a gateway."""

    def __init__(
        self,
        db: TripDb,
        lambdas: LambdaRuntime,
        urls: dict[str, str],
        gateway: FakeGateway,
        ports: dict[str, Any],
    ):
        self.db, self.lambdas, self.urls, self.gateway, self.ports = db, lambdas, urls, gateway, ports
        self.mails: list[MailMessage] = ports["mailer"].mails

    async def publish(self) -> None:
        """Publish events as a request does."""
        self.ports["outbox"].before_write()
        await self.ports["outbox"].after_commit()

    async def connect(self, user_id: UserId, connection_id: str, **context_values: str) -> Any:
        return await self.frame(connection_id, user_id, "CONNECT", **context_values)

    async def frame(
        self,
        connection_id: str,
        user_id: UserId,
        kind: str = "MESSAGE",
        body: str | None = None,
        **context_values: str,
    ) -> Any:
        """An event of the WebSocket API."""
        context = {
            "userId": str(user_id),
            "sessionId": "",
            "expiresAt": str(int(NOON.timestamp()) + 900),
            **context_values,
        }
        event: dict[str, Any] = {
            "requestContext": {
                "routeKey": {"CONNECT": "$connect", "DISCONNECT": "$disconnect"}.get(kind, "$default"),
                "eventType": kind,
                "connectionId": connection_id,
                "authorizer": context,
            },
            "isBase64Encoded": False,
        }
        if kind == "CONNECT":
            event["headers"] = {"Sec-WebSocket-Protocol": "nomadcrew.v1, the.token"}
        if body is not None:
            event["body"] = body
        return await self.lambdas.run(WEBSOCKET, event)

    async def consume(self, name: str, entry: Any) -> int:
        return await self.lambdas.consume(entry, self.urls[name])

    def changes(self) -> list[dict[str, Any]]:
        """The stream records of the chat table so far, as Lambda receives them."""
        return self.lambdas.cloud.stream(self.ports["chat_table"])

    async def fan_out(self, changes: list[dict[str, Any]]) -> Any:
        return await self.lambdas.run(FANOUT, {"Records": changes})

    def received(self, connection_id: str) -> list[str]:
        """The types of a socket's frames since the last call: of the event for event frames."""
        frames = self.frames(connection_id)
        return [frame["payload"]["type"] if frame["type"] == "event" else frame["type"] for frame in frames]

    def frames(self, connection_id: str) -> list[dict[str, Any]]:
        """The frames of a socket since the last call, without presence."""
        frames = [json.loads(text) for text in self.gateway.sent.pop(connection_id, [])]
        return [frame for frame in frames if (frame.get("payload") or {}).get("type") != "PRESENCE_CHANGED"]


@pytest_asyncio.fixture(loop_scope="session")
async def stack(cloud: Cloud, data_api_db: TripDb) -> AsyncIterator[Stack]:
    db, clock = data_api_db, SetClock()
    queues = {
        name: await cloud.work_queue()
        for name in (
            "probe",
            "notifications",
            "push",
            "realtime",
            "audit",
            "feedback",
            "location",
            "pictures",
            "backgrounds",
            "webhooks",
        )
    }
    queues["email"] = await cloud.work_queue(fifo=True)
    consumed = [detail_type(type_) for type_ in CONSUMERS]
    bus = await cloud.bus_to(
        {
            queues["notifications"]: {"detail-type": consumed},
            queues["realtime"]: {"detail": {"audience": [{"anything-but": ["internal"]}]}},
            queues["pictures"]: {"detail-type": ["Trip Image Added", "Avatar Uploaded"]},
            queues["backgrounds"]: {"detail-type": ["Trip Created"]},
            queues["audit"]: {"source": [{"prefix": "nomadcrew."}]},
        }
    )
    bucket = f"audit-{uuid7()}"
    cloud.aws.boto("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": cloud.aws.environment["AWS_REGION"]}
    )
    connections = DynamoConnections(cloud.client(DYNAMODB), await cloud.connections_table())
    chat_table = await cloud.chat_table()
    dynamodb, sql = cloud.client(DYNAMODB), db.pool
    last = DynamoLastPositions(dynamodb, await cloud.positions_table())
    history = DynamoLocationHistory(dynamodb, await cloud.history_table())
    async with gateway() as (made, client):
        work = SqsQueue(
            cloud.client(SQS),
            {name: queues[name] for name in ("email", "location", "notifications", "push", "realtime", "webhooks")},
            new_id=uuid7,
        )
        ports: dict[str, Any] = {
            "limits": OpenLimits(),
            "positions": DynamoPositions(sql, last, history),
            "streamed_positions": DynamoStreamedPositions(sql, last, history),
            "location_stream": QueuedLocationStream(work),
            "location_sharing": PostgresLocationSharing(sql),
            "position_views": PostgresPositionViews(sql),
            "broadcaster": QueuedBroadcaster(work),
            "clock": clock,
            "outbox": EventBridgeOutbox(
                PostgresOutbox(db.pool), cloud.client(EVENTS), cloud.client(SQS),
                bus=bus, probe_url=queues["probe"], clock=clock,
            ),
            "queue": work,
            "awake_sockets": NoAwakeSockets(),
            "profiles": PostgresProfiles(db.pool),
            "chat": DynamoChat(
                ChatTable(cloud.client(DYNAMODB), chat_table),
                PostgresMembers(db.pool),
                PostgresAttachments(db.pool),
                PostgresSyncPoints(db.pool).note_messages,
            ),
            "chat_table": chat_table,
            "push": RecordingPush(),
            "push_tokens": PostgresPushTokens(db.pool),
            "events": PostgresEventLog(db.pool),
            "members": PostgresMembers(db.pool),
            "sync_points": PostgresSyncPoints(db.pool),
            "notifications": PostgresNotifications(db.pool),
            "invitations": PostgresInvitations(db.pool),
            "documents": PostgresDocuments(db.pool),
            "pictures": PostgresPictures(db.pool),
            "picture_files": S3Files(cloud.client(S3), bucket),
            "renderer": LocalRenderer(),
            "backgrounds": PostgresBackgrounds(db.pool),
            "photo_search": OnePhoto(),
            "invitation_links": SignedInvitationLinks(("k" * 64,)),
            "registrations": None,
            "verifier": FakeTokens(),
            "codes": None,
            "mailer": RecordingMailer(),
            "connections": connections,
            "presence": DynamoPresence(db.pool, cloud.client(DYNAMODB), await cloud.table("userId")),
            **dict.fromkeys(("sockets", "socket_delivery", "all_sockets"), GatewaySockets(connections, client)),
            "open_sessions": FakeOpenSessions(),
            "audit": S3AuditLog(cloud.client(S3), bucket),
            "suppression": DynamoSuppression(cloud.client(DYNAMODB), await cloud.table("address")),
            "bucket": bucket,
        }  # fmt: skip
        yield Stack(db, LambdaRuntime(cloud, ports), queues, made, ports)
