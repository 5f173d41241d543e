"""Lambda functions and their event sources in this process."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.core.ports import Ports, Site
from nomadcrew.hosts.aws.entry import Entry
from tests.contract.cloud import Cloud, arn_of
from tests.fakes import UnexpectedPort, fake_ports

SITE = Site("https://api.test", mail_leaves=True, push_leaves=True)
SQS_ATTRIBUTES = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"]


@dataclass
class LambdaContext:
    """The context of an invocation."""

    left_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


class LambdaRuntime:
    """Runs functions with exactly the ports that they declare."""

    def __init__(self, cloud: Cloud, ports: dict[str, Any]) -> None:
        self.cloud = cloud
        self._given = ports

    def ports(self, declared: tuple[str, ...]) -> Ports:
        """The declared ports; use of any other fails the test."""
        preset = ("idempotency", "limits", "open_sessions", "outbox", "verifier")
        hidden = {name: UnexpectedPort(name) for name in preset}
        return fake_ports(
            site=SITE, clock=self._given["clock"], **{**hidden, **{name: self._given[name] for name in declared}}
        )

    async def run(self, entry: Callable[[Callable[[tuple[str, ...]], Ports]], Entry], event: dict[str, Any]) -> Any:
        """Invoke a function in a thread, because it has its own event loop."""
        handler = entry(self.ports)
        return await asyncio.to_thread(handler, event, LambdaContext())

    async def consume(self, entry: Callable[[Callable[[tuple[str, ...]], Ports]], Entry], url: str) -> int:
        """Invoke a function with the messages of its queue; return the number of processed messages."""
        sqs, done = self.cloud.client_of_sqs(), 0
        ask = {
            "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 360,
            "MessageSystemAttributeNames": SQS_ATTRIBUTES, "MessageAttributeNames": ["All"],
        }  # fmt: skip
        while messages := (await sqs.call("ReceiveMessage", ask)).get("Messages"):
            answer = await self.run(entry, {"Records": [record_of(message, url) for message in messages]})
            failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
            for message in messages:
                if message["MessageId"] not in failed:
                    with suppress(AwsError):  # moved to the dead letters already
                        await sqs.call(
                            "DeleteMessage", {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
                        )
                    done += 1
            if failed:
                break
        return done


def record_of(message: dict[str, Any], url: str) -> dict[str, Any]:
    """A message as an event source passes it to a function."""
    texts = {
        name: {"stringValue": value["StringValue"], "dataType": "String"}
        for name, value in message.get("MessageAttributes", {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": texts,
        "eventSource": "aws:sqs",
        "eventSourceARN": arn_of(url),
    }
