"""Erasure of users from DynamoDB, S3, Cognito, and SQL over the Data API."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest_asyncio
from msgspec import structs

from nomadcrew.adapters.aws.dataapi import Cluster, DataApi
from nomadcrew.adapters.aws.dynamodb.chat import DynamoChat
from nomadcrew.adapters.aws.dynamodb.chat_items import ChatTable
from nomadcrew.adapters.aws.dynamodb.connections import DynamoConnections
from nomadcrew.adapters.aws.dynamodb.last_positions import DynamoLastPositions
from nomadcrew.adapters.aws.dynamodb.location_history import DynamoLocationHistory
from nomadcrew.adapters.aws.dynamodb.presence import DynamoPresence
from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression, digest
from nomadcrew.adapters.aws.erasure import AwsPersonalCopies, UserTables
from nomadcrew.adapters.aws.files import S3Files
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, RDS_DATA, S3
from nomadcrew.adapters.postgres.attachments import PostgresAttachments
from nomadcrew.adapters.postgres.erasures import PostgresErasures
from nomadcrew.adapters.postgres.members import PostgresMembers
from nomadcrew.adapters.postgres.sync_points import PostgresSyncPoints
from nomadcrew.core.erasure.service import Eraser, erase
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event
from nomadcrew.core.ids import SessionId, TripId, uuid7
from nomadcrew.core.locations.model import Privacy, StoredPoint
from nomadcrew.core.ports import Ports
from nomadcrew.core.realtime import Connection
from nomadcrew.wire.events import unpack
from tests.contract.auth_ports import cheap_passwords
from tests.contract.aws_auth import AwsAuth
from tests.contract.cloud import Cloud
from tests.erasure import CONTACT, Crew, crew_of, deliver, rows_with
from tests.postgres import Postgres
from tests.world import world


@dataclass
class Deployment:
    """A crew whose data is on an emulated account."""

    crew: Crew
    cloud: Cloud
    tables: UserTables
    bucket: str
    auth: AwsAuth

    async def items(self) -> list[str]:
        """All items of all tables, as text."""
        found = []
        for table in structs.astuple(self.tables):
            page = await self.cloud.client(DYNAMODB).call("Scan", {"TableName": table})
            assert "LastEvaluatedKey" not in page
            found += [f"{table}: {json.dumps(item)}" for item in page["Items"]]
        return found

    async def left(self) -> list[str]:
        """The texts of the account and rows of the database that still have the user."""
        s3 = self.cloud.aws.boto("s3")
        objects = s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        texts = [
            *await self.items(),
            *(
                one["Key"] + str(s3.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read())
                for one in objects
            ),
            *(json.dumps(user, default=str) for user in self.users()),
        ]
        words = [*self.crew.words, digest(self.crew.zed.email), digest(CONTACT)]
        return [text for text in texts if any(word in text.lower() for word in words)] + await rows_with(
            self.crew.world, self.crew.words
        )

    def users(self) -> list[dict[str, Any]]:
        pages = (
            self.cloud.aws.boto("cognito-idp").get_paginator("list_users").paginate(UserPoolId=self.auth.pool_id)
        )
        return [user for page in pages for user in page["Users"]]

    def copies(self, dynamodb: AwsClient) -> AwsPersonalCopies:
        return AwsPersonalCopies(dynamodb, self.tables, self.auth.pool(), clock=self.crew.world.clock)


@pytest_asyncio.fixture(loop_scope="session")
async def deployment(
    aws_auth: AwsAuth, cloud: Cloud, cluster: Cluster, postgres: Postgres, template: str, tmp_path: Path
) -> AsyncIterator[Deployment]:
    tables = UserTables(
        chat=await cloud.chat_table(),
        connections=await cloud.connections_table(),
        history=await cloud.history_table(),
        positions=await cloud.positions_table(),
        presence=await cloud.table("userId"),
        profiles=await cloud.table("userId"),
        sessions=await cloud.sessions_table(),
        suppression=await cloud.table("address"),
    )
    auth = replace(aws_auth, sessions_table=tables.sessions, profiles_table=tables.profiles)
    bucket = f"media-{uuid7()}"
    where = {"LocationConstraint": cloud.aws.environment["AWS_REGION"]}
    cloud.aws.boto("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    dynamodb, files = cloud.client(DYNAMODB), S3Files(cloud.client(S3), bucket)

    def adapt(ports: Ports, database: str) -> Ports:
        sql = DataApi(cloud.client(RDS_DATA), structs.replace(cluster, database=database))
        return structs.replace(
            ports,
            new_id=uuid7,
            accounts=auth.accounts(sql, cheap_passwords()),
            sessions=auth.sessions(sql, cheap_passwords()),
            profiles=auth.profiles(sql),
            chat=DynamoChat(
                ChatTable(dynamodb, tables.chat),
                PostgresMembers(sql),
                PostgresAttachments(sql),
                PostgresSyncPoints(sql).note_messages,
            ),
            presence=DynamoPresence(sql, dynamodb, tables.presence),
            erasures=PostgresErasures(sql),
            personal_copies=AwsPersonalCopies(dynamodb, tables, auth.pool(), clock=ports.clock),
            files=files,
            document_files=files,
            picture_files=files,
            export_files=files,
        )

    def streamed() -> Sequence[Event]:
        return [unpack(text) for text in cloud.streamed(tables.chat, "event")]

    async with world(
        postgres, tmp_path, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}, adapt=adapt
    ) as made:
        deployment = Deployment(await crew_of(made, streamed), cloud, tables, bucket, auth)
        deployment.crew.streamed = lambda: ()  # reported already
        await _beside_the_routes(deployment)
        yield deployment


async def _beside_the_routes(deployment: Deployment) -> None:
    """Data that other functions store: sockets, positions, suppressed addresses."""
    crew, tables = deployment.crew, deployment.tables
    dynamodb, now, zed = deployment.cloud.client(DYNAMODB), crew.world.clock(), crew.zed.id
    socket = Connection("a socket", zed, SessionId(uuid7()), now, now)
    await DynamoConnections(dynamodb, tables.connections).add(socket)
    point = StoredPoint(41.15, -8.61, now, now, Privacy.PRECISE)
    assert tables.history is not None
    for trip in (crew.trip, crew.alone, crew.bens, crew.left):
        trip_id = TripId(trip)
        await DynamoLastPositions(dynamodb, tables.positions).store_if_newer(trip_id, zed, point)
        await DynamoLocationHistory(dynamodb, tables.history).store([(trip_id, zed, point)])
        await DynamoLastPositions(dynamodb, tables.positions).store_if_newer(trip_id, crew.ben.id, point)
    for address in (crew.zed.email, CONTACT):
        await DynamoSuppression(dynamodb, tables.suppression).suppress(address, "bounce", now=now)


async def test_no_item_object_user_or_row_has_an_id_a_name_or_an_address_of_an_erased_user(
    deployment: Deployment,
) -> None:
    crew = deployment.crew
    of_tables = {text.partition(":")[0] for text in await deployment.left()}
    assert of_tables >= set(structs.astuple(deployment.tables))
    assert any(user["Username"] == str(crew.zed.id) for user in deployment.users())
    reply = await crew.delete(immediate=True)
    assert (reply.status, reply.json["state"]) == (200, "erased"), reply.body
    await deliver(crew)
    assert await deployment.left() == []
    # Those of other members remain.
    positions = [text for text in await deployment.items() if text.startswith(deployment.tables.positions)]
    assert len(positions) == 4
    assert (await crew.sign_in()).code == "invalid_credentials"


async def test_a_former_member_is_the_author_in_the_chat(deployment: Deployment) -> None:
    crew = deployment.crew
    changes = len(deployment.cloud.streamed(deployment.tables.chat, "event"))
    await crew.delete(immediate=True)
    page = await crew.send("GET", f"/v1/trips/{crew.trip}/chat/messages?limit=50", crew.ben)
    assert {message["sender"]["name"] for message in page["messages"]} == {"Former member", "Ben"}
    assert {message["content"] for message in page["messages"]} == {
        "at ten", "see", "Message deleted", "Hey @former-member!",
    }  # fmt: skip
    # An erasure is no event of the chat.
    assert len(deployment.cloud.streamed(deployment.tables.chat, "event")) == changes
    chat = [text for text in await deployment.items() if text.startswith(deployment.tables.chat)]
    assert not [text for text in chat if str(crew.alone) in text]


async def test_an_interrupted_erasure_of_items_continues(deployment: Deployment) -> None:
    crew, ports = deployment.crew, deployment.crew.world.ports
    now = crew.world.clock()
    await ports.erasures.request(crew.zed.id, None, due_at=now, now=now)
    eraser = Eraser.of(ports)
    for last in range(1, 10_000, 3):
        copies = deployment.copies(LostReplies(deployment.cloud.client(DYNAMODB), last))  # type: ignore[arg-type]
        with suppress(Unavailable):
            assert await erase(crew.zed.id, structs.replace(eraser, personal_copies=copies)) is not None
            break
    assert last > 20
    await deliver(crew)
    assert await deployment.left() == []


class LostReplies:
    """A client of DynamoDB whose call number `last` takes effect, but its reply is lost."""

    def __init__(self, dynamodb: AwsClient, last: int) -> None:
        self._dynamodb = dynamodb
        self._left = last

    async def call(self, operation: str, body: Any, **how: Any) -> dict[str, Any]:
        reply = await self._dynamodb.call(operation, body, **how)
        self._left -= 1
        if self._left == 0:
            raise Unavailable
        return reply
