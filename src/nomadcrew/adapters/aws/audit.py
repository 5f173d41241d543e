"""Stores every event in S3, as JSON lines in objects by day.

An object's name is derived from its contents, so a repeated batch overwrites its own object only. An event that is
repeated in another batch is stored twice; readers deduplicate by its id.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import date

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event
from nomadcrew.wire.events import pack


class S3AuditLog:
    """`AuditLog` in a bucket."""

    def __init__(self, s3: AwsClient, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    async def save(self, events: Sequence[Event]) -> None:
        days: dict[date, list[Event]] = {}
        for event in sorted({event.id: event for event in events}.values(), key=lambda event: event.id):
            days.setdefault(event.occurred_at.date(), []).append(event)
        await asyncio.gather(*(self._put(name(day, of_day), of_day) for day, of_day in days.items()))

    async def _put(self, key: str, events: Sequence[Event]) -> None:
        body = "".join(f"{pack(event)}\n" for event in events).encode()
        headers = {"content-type": "application/x-ndjson"}
        try:
            await self._s3.request("PUT", f"/{self._bucket}/{key}", body, headers=headers)
        except AwsError as error:
            raise Unavailable(details=f"s3: {error.code}") from error


def name(day: date, events: Sequence[Event]) -> str:
    """The key of the object for events of a day, which must be in the order of their ids."""
    ids = hashlib.sha256(b"".join(event.id.bytes for event in events)).hexdigest()
    return f"events/{day:%Y/%m/%d}/{events[0].id}-{ids[:16]}.jsonl"
