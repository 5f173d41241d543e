"""Queues, buses and tables in the emulated account, with unique names."""

import json
from itertools import count
from typing import Any

import pytest

from nomadcrew.adapters.aws.dynamodb.connections import BY_USER
from nomadcrew.adapters.aws.queue import FIFO
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, EVENTS, SOCKETS, SQS, Service
from nomadcrew.core.queues import MAX_ATTEMPTS
from tests.emulator import Aws

_numbers = count(1)


class Cloud:
    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.advance = aws.advance

    def client(self, service: Service) -> AwsClient:
        return self.aws.client(service)

    async def queue(self, *, fifo: bool = False, **attributes: str) -> str:
        """Create a queue; return its URL."""
        name = f"queue-{next(_numbers)}" + (".fifo" if fifo else "")
        given = {**attributes, **({"FifoQueue": "true"} if fifo else {})}
        reply = await self.client(SQS).call("CreateQueue", {"QueueName": name, "Attributes": given})
        return str(reply["QueueUrl"])

    async def work_queue(self, *, fifo: bool = False) -> str:
        """Create a queue with a dead-letter queue, like the infrastructure; return its URL."""
        name, suffix = f"work-{next(_numbers)}", FIFO if fifo else ""
        options = {"FifoQueue": "true"} if fifo else {}
        sqs = self.client(SQS)
        dead_letters = await sqs.call("CreateQueue", {"QueueName": f"{name}-dead{suffix}", "Attributes": options})
        redrive = {"deadLetterTargetArn": arn_of(dead_letters["QueueUrl"]), "maxReceiveCount": MAX_ATTEMPTS}
        attributes = {**options, "RedrivePolicy": json.dumps(redrive)}
        made = await sqs.call("CreateQueue", {"QueueName": f"{name}{suffix}", "Attributes": attributes})
        return str(made["QueueUrl"])

    async def messages(self, url: str) -> list[str]:
        """Receive all messages of a queue, oldest first."""
        bodies: list[str] = []
        ask = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 43_200}
        while found := (await self.client(SQS).call("ReceiveMessage", ask)).get("Messages"):
            bodies += [message["Body"] for message in found]
        return bodies

    async def bus(self) -> tuple[str, str]:
        """Create a bus and a queue that receives all its events; return name and URL."""
        url = await self.queue()
        return await self.bus_to({url: {"source": [{"prefix": "nomadcrew."}]}}), url

    async def bus_to(self, targets: dict[str, object]) -> str:
        """Create a bus whose events go to queues by these patterns; return its name."""
        bus = f"bus-{next(_numbers)}"
        events = self.client(EVENTS)
        await events.call("CreateEventBus", {"Name": bus})
        for url, pattern in targets.items():
            rule = {"EventBusName": bus, "EventPattern": json.dumps(pattern), "Name": f"rule-{next(_numbers)}"}
            await events.call("PutRule", rule)
            target = [{"Id": "queue", "Arn": arn_of(url)}]
            await events.call("PutTargets", {"EventBusName": bus, "Rule": rule["Name"], "Targets": target})
        return bus

    async def put(self, url: str, body: str) -> None:
        await self.client(SQS).call("SendMessage", {"QueueUrl": url, "MessageBody": body})

    def client_of_sqs(self) -> AwsClient:
        return self.client(SQS)

    async def table(self, key: str, *, attributes: tuple[str, ...] = (), **options: Any) -> str:
        """Create a table with the text key `key` and options of CreateTable; return its name."""
        name = f"table-{next(_numbers)}"
        body = {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": text, "AttributeType": "S"} for text in (key, *attributes)],
            **options,
        }
        await self.client(DYNAMODB).call("CreateTable", body)
        return name

    async def connections_table(self) -> str:
        index = {
            "IndexName": BY_USER,
            "KeySchema": [
                {"AttributeName": "userId", "KeyType": "HASH"},
                {"AttributeName": "connectionId", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
        return await self.table("connectionId", attributes=("userId",), GlobalSecondaryIndexes=[index])

    async def chat_table(self) -> str:
        """Create a table like `ChatMessages`; return its name."""
        name = f"table-{next(_numbers)}"
        key = [{"AttributeName": "tripId", "KeyType": "HASH"}, {"AttributeName": "sortKey", "KeyType": "RANGE"}]
        body = {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": key,
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in ("tripId", "sortKey")],
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        }
        await self.client(DYNAMODB).call("CreateTable", body)
        return name

    def stream(self, table: str) -> list[dict[str, Any]]:
        """The records of a table's stream, oldest first, as Lambda receives them."""
        streams = self.aws.boto("dynamodbstreams")
        [stream] = streams.list_streams(TableName=table)["Streams"]
        arn = stream["StreamArn"]
        records: list[dict[str, Any]] = []
        for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
            how = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
            iterator = streams.get_shard_iterator(**how)["ShardIterator"]
            while iterator:
                page = streams.get_records(ShardIterator=iterator)
                records += page["Records"]
                iterator = page.get("NextShardIterator") if page["Records"] else None
        return records

    def streamed(self, table: str, attribute: str) -> list[str]:
        """A text attribute of all images in a table's stream that have it, oldest first."""
        images = [record["dynamodb"].get("NewImage", {}) for record in self.stream(table)]
        return [image[attribute]["S"] for image in images if attribute in image]

    async def positions_table(self) -> str:
        return await self._sorted_table("tripId", "userId")

    async def sessions_table(self) -> str:
        return await self._sorted_table("userId", "sessionId")

    async def history_table(self) -> str:
        return await self._sorted_table("track", "bucket")

    async def _sorted_table(self, key: str, sort: str) -> str:
        keys = [{"AttributeName": key, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
        return await self.table(key, attributes=(sort,), KeySchema=keys)

    def socket_client(self, url: str) -> AwsClient:
        """A client of a WebSocket API's management address, to be closed by the caller."""
        return AwsClient(SOCKETS, url=url, environment=self.aws.environment)


def arn_of(url: str) -> str:
    account, name = url.split("/")[-2:]
    return f"arn:aws:sqs:eu-west-1:{account}:{name}"


@pytest.fixture(scope="session")
def cloud(aws: Aws) -> Cloud:
    return Cloud(aws)
