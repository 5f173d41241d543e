"""Location history in `LocationHistory`: an item has a hundred seconds of a member's points, about ten.

`track` is the trip and the member, `bucket` the start of the hundred seconds. Each point is an attribute named
after its time, so a repeated point is the same attribute, and points may arrive in any order. `ttl` deletes the
item one month later.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import MAX_READ, Privacy, StoredPoint
from nomadcrew.core.retention import POSITION_RETENTION

log = logging.getLogger("nomadcrew.history")

# The shipped app reports every ten seconds.
BUCKET_S = 100
# An update expression may have four kilobytes.
POINTS_A_CALL = 40
AT_ONCE = 10

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class DynamoLocationHistory:
    """`LocationHistory` in a table."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def store(self, points: Sequence[tuple[TripId, UserId, StoredPoint]]) -> None:
        buckets: dict[tuple[str, int], dict[str, StoredPoint]] = {}
        for trip_id, user_id, point in points:
            bucket = _micros(point.recorded_at) // (BUCKET_S * 1_000_000) * BUCKET_S
            named = buckets.setdefault((_track(trip_id, user_id), bucket), {})
            named.setdefault(_name(point.recorded_at), point)
        limit = asyncio.Semaphore(AT_ONCE)

        async def add(track: str, bucket: int, batch: Sequence[tuple[str, StoredPoint]]) -> None:
            async with limit:
                await self._add(track, bucket, batch)

        await asyncio.gather(
            *(
                add(track, bucket, list(named.items())[first : first + POINTS_A_CALL])
                for (track, bucket), named in buckets.items()
                for first in range(0, len(named), POINTS_A_CALL)
            )
        )

    async def track(
        self, trip_id: TripId, user_id: UserId, *, start: datetime, end: datetime
    ) -> Sequence[StoredPoint]:
        points: list[StoredPoint] = []
        more: dict[str, Any] = {}
        while True:
            page = await self._call(
                "Query",
                KeyConditionExpression="track = :track AND #bucket BETWEEN :first AND :last",
                ExpressionAttributeNames={"#bucket": "bucket"},
                ExpressionAttributeValues={
                    ":track": {"S": _track(trip_id, user_id)},
                    ":first": {"S": _bucket_text(_micros(start) // 1_000_000 - BUCKET_S)},
                    ":last": {"S": _bucket_text(_micros(end) // 1_000_000)},
                },
                **more,
            )
            points += [
                point
                for item in page["Items"]
                for point in _points(item)
                if not point.is_jump and start <= point.recorded_at < end
            ]
            if "LastEvaluatedKey" not in page:
                break
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        points.sort(key=lambda point: point.recorded_at)
        return evenly(points, MAX_READ)

    async def _add(self, track: str, bucket: int, points: Sequence[tuple[str, StoredPoint]]) -> None:
        sets = [f"{name} = if_not_exists({name}, :p{index})" for index, (name, _) in enumerate(points)]
        values = {f":p{index}": {"S": _text(point)} for index, (_, point) in enumerate(points)}
        expires = bucket + BUCKET_S + int(POSITION_RETENTION.total_seconds())
        try:
            await self._call(
                "UpdateItem",
                Key={"track": {"S": track}, "bucket": {"S": _bucket_text(bucket)}},
                UpdateExpression=f"SET #ttl = :ttl, {', '.join(sets)}",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={":ttl": {"N": str(expires)}, **values},
            )
        except AwsError as error:
            if error.code != "ValidationException" or "size" not in error.message:
                raise
            # The item is full: thousands of points in a few seconds, which no retry can write.
            log.warning("points not stored", extra={"fields": {"count": len(points)}})

    async def _call(self, operation: str, **body: Any) -> dict[str, Any]:
        return await self._dynamodb.call(operation, {"TableName": self._table, **body})


def evenly(points: Sequence[StoredPoint], limit: int) -> Sequence[StoredPoint]:
    """At most `limit` points: every n-th, and the last."""
    total = len(points)
    step = max(1, (total + limit - 2) // (limit - 1))
    return [point for index, point in enumerate(points) if index % step == 0 or index == total - 1]


def _track(trip_id: TripId, user_id: UserId) -> str:
    return f"{trip_id}#{user_id}"


def _bucket_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=max(seconds, 0))).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _name(moment: datetime) -> str:
    return f"p{_micros(moment)}"


def _text(point: StoredPoint) -> str:
    return json.dumps(
        [
            point.latitude,
            point.longitude,
            _micros(point.received_at),
            point.privacy,
            point.accuracy_m,
            point.speed_mps,
            point.heading_deg,
            point.is_jump,
        ]
    )


def _points(item: Mapping[str, Any]) -> list[StoredPoint]:
    return [
        _point(int(name[1:]), *json.loads(value["S"]))
        for name, value in item.items()
        if name[0] == "p" and name[1:].isdecimal()
    ]


def _point(
    recorded: int, latitude: float, longitude: float, received: int, privacy: str, *rest: Any
) -> StoredPoint:
    moments = (_EPOCH + recorded * _MICROSECOND, _EPOCH + received * _MICROSECOND)
    return StoredPoint(latitude, longitude, *moments, Privacy(privacy), *rest)
