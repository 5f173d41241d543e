"""The functions of AWS in this process: what Lambda and its event sources do around them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsError
from nomadcrew.core.ports import Ports, Site
from nomadcrew.hosts.aws.entry import Entry
from tests.contract.cloud import Cloud, arn_of
from tests.fakes import Untouchable, fake_ports

SITE = Site("https://api.test", mail_leaves=True, push_leaves=True)
SQS_ATTRIBUTES = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"]


@dataclass
class Call:
    """What Lambda says about a call."""

    left_ms: int = 30_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


class Lambdas:
    """Runs functions with the ports they declare, and no others."""

    def __init__(self, cloud: Cloud, ports: dict[str, Any]) -> None:
        self.cloud = cloud
        self._given = ports

    def ports(self, declared: tuple[str, ...]) -> Ports:
        """The declared ports of an environment that has them all."""
        hidden = {name: Untouchable(name) for name in ("limits", "idempotency", "outbox", "verifier")}
        return fake_ports(
            site=SITE, clock=self._given["clock"], **{**hidden, **{name: self._given[name] for name in declared}}
        )

    async def run(self, entry: Callable[[Callable[[tuple[str, ...]], Ports]], Entry], event: dict[str, Any]) -> Any:
        """One call of what `entry` makes, in a thread as it has a loop of its own."""
        handler = entry(self.ports)
        return await asyncio.to_thread(handler, event, Call())

    async def work_off(self, entry: Callable[[Callable[[tuple[str, ...]], Ports]], Entry], url: str) -> int:
        """Feed a function what waits in its queue, as an event source does; returns how many messages were done."""
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
                    with suppress(AwsError):  # it was buried, and is gone
                        await sqs.call(
                            "DeleteMessage", {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
                        )
                    done += 1
            if failed:
                break
        return done


def record_of(message: dict[str, Any], url: str) -> dict[str, Any]:
    """A message as an event source passes it on."""
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
