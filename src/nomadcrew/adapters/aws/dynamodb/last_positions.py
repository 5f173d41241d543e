"""Last positions in `LastPositions`: an item per member and trip, `tripId` and `userId`.

`recordedAt` is text of a fixed width in UTC, so that text order is time order; `ttl` is one month later. `rival` is
the position's rival as a JSON array, if it has one.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import Privacy, Rival, StoredPoint
from nomadcrew.core.retention import POSITION_RETENTION

Item = Mapping[str, Any]


class DynamoLastPositions:
    """`LastPositions` in a table, read consistently."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def get(self, trip_id: TripId, user_id: UserId) -> StoredPoint | None:
        key = {"tripId": {"S": str(trip_id)}, "userId": {"S": str(user_id)}}
        reply = await self._call("GetItem", Key=key, ConsistentRead=True)
        return _point(reply["Item"]) if "Item" in reply else None

    async def list_for_trip(self, trip_id: TripId) -> Mapping[UserId, StoredPoint]:
        positions: dict[UserId, StoredPoint] = {}
        start: dict[str, Any] = {}
        while True:
            page = await self._call(
                "Query",
                KeyConditionExpression="tripId = :trip",
                ExpressionAttributeValues={":trip": {"S": str(trip_id)}},
                ConsistentRead=True,
                **start,
            )
            positions |= {UserId(UUID(item["userId"]["S"])): _point(item) for item in page["Items"]}
            if "LastEvaluatedKey" not in page:
                return positions
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def store_if_newer(self, trip_id: TripId, user_id: UserId, point: StoredPoint) -> bool:
        condition = "attribute_not_exists(tripId) OR recordedAt < :at"
        if point.privacy is Privacy.HIDDEN:
            return await self._put(
                trip_id,
                user_id,
                point,
                f"{condition} OR recordedAt = :at AND privacy <> :hidden",
                hidden=Privacy.HIDDEN,
            )
        return await self._put(trip_id, user_id, point, condition)

    async def store_rival(self, trip_id: TripId, user_id: UserId, last: StoredPoint, rival: Rival) -> None:
        await self._put(trip_id, user_id, replace(last, rival=rival), "recordedAt = :at")

    async def _put(
        self, trip_id: TripId, user_id: UserId, point: StoredPoint, condition: str, **values: str
    ) -> bool:
        """Store a point if the condition holds, which compares with its time as `:at` and with `values`."""
        item = _item(trip_id, user_id, point)
        try:
            await self._call(
                "PutItem",
                Item=item,
                ConditionExpression=condition,
                ExpressionAttributeValues={
                    ":at": item["recordedAt"],
                    **{f":{name}": {"S": value} for name, value in values.items()},
                },
            )
        except AwsError as error:
            if error.code == "ConditionalCheckFailedException":
                return False
            raise
        return True

    async def _call(self, operation: str, **body: Any) -> dict[str, Any]:
        return await self._dynamodb.call(operation, {"TableName": self._table, **body})


def _item(trip_id: TripId, user_id: UserId, point: StoredPoint) -> dict[str, Any]:
    item: dict[str, Any] = {
        "tripId": {"S": str(trip_id)},
        "userId": {"S": str(user_id)},
        "latitude": number(point.latitude),
        "longitude": number(point.longitude),
        "recordedAt": {"S": sortable(point.recorded_at)},
        "receivedAt": {"S": sortable(point.received_at)},
        "privacy": {"S": point.privacy},
        "ttl": {"N": str(int((point.received_at + POSITION_RETENTION).timestamp()))},
    }
    measured = {"accuracyM": point.accuracy_m, "speedMps": point.speed_mps, "headingDeg": point.heading_deg}
    item |= {name: number(value) for name, value in measured.items() if value is not None}
    if point.rival is not None:
        at = point.rival
        item["rival"] = {"S": json.dumps([at.latitude, at.longitude, sortable(at.recorded_at), at.count])}
    return item


def number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def sortable(moment: datetime) -> str:
    """A time as text of a fixed width, so that text order is time order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _point(item: Item) -> StoredPoint:
    return StoredPoint(
        float(item["latitude"]["N"]),
        float(item["longitude"]["N"]),
        datetime.fromisoformat(item["recordedAt"]["S"]),
        datetime.fromisoformat(item["receivedAt"]["S"]),
        Privacy(item["privacy"]["S"]),
        _optional(item, "accuracyM"),
        _optional(item, "speedMps"),
        _optional(item, "headingDeg"),
        rival=_rival(item),
    )


def _rival(item: Item) -> Rival | None:
    if "rival" not in item:
        return None
    latitude, longitude, recorded_at, count = json.loads(item["rival"]["S"])
    return Rival(latitude, longitude, datetime.fromisoformat(recorded_at), count)


def _optional(item: Item, name: str) -> float | None:
    return float(item[name]["N"]) if name in item else None
