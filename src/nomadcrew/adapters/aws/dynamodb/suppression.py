"""Suppressed mail addresses, in `MailSuppression`, stored as digests: they are only looked up."""

import hashlib
from datetime import datetime

from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.core.text import email_key


class DynamoSuppression:
    """`Suppression` in a table."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def suppress(self, address: str, reason: str, *, now: datetime) -> None:
        item = {"address": {"S": digest(address)}, "reason": {"S": reason}, "since": {"S": now.isoformat()}}
        await self._dynamodb.call("PutItem", {"TableName": self._table, "Item": item})

    async def is_suppressed(self, address: str) -> bool:
        key = {"address": {"S": digest(address)}}
        return "Item" in await self._dynamodb.call("GetItem", {"TableName": self._table, "Key": key})


def digest(address: str) -> str:
    """The digest of an address, the same for any spelling."""
    return hashlib.sha256(email_key(address).encode()).hexdigest()
