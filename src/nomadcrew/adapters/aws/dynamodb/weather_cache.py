"""The last answer of the weather service for each area, in `Weather`, for all functions.

An item has `area`, `claimedUntil` and `fetchedAt` in milliseconds, `body` and `ttl`. Stages with Valkey have
it too: a function that calls a service on the internet cannot be in the network of that cache.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.weather.model import FRESH_FOR, SHOWN_FOR, Area, Weather
from nomadcrew.core.weather.ports import Claim

TIMEOUT_S = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class DynamoWeatherCache:
    """`WeatherCache` in a table."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def claim(self, area: Area, *, now: datetime, until: datetime) -> Claim:
        try:
            reply = await self._update(
                area,
                "SET claimedUntil = :until, #ttl = :ttl",
                {
                    ":until": _number(until),
                    ":ttl": _ttl(now),
                    ":now": _number(now),
                    ":stale": _number(now - FRESH_FOR),
                },
                ConditionExpression="attribute_not_exists(area) OR "
                "(claimedUntil <= :now AND (attribute_not_exists(fetchedAt) OR fetchedAt <= :stale))",
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except AwsError as refused:
            if refused.code != "ConditionalCheckFailedException":
                raise
            return _claim(refused.body.get("Item", {}), now)
        return Claim(mine=True, waiting=False, weather=_weather_in(reply.get("Attributes", {})))

    async def get(self, area: Area, *, now: datetime) -> Claim:
        body = {"TableName": self._table, "Key": _key(area), "ConsistentRead": True}
        reply = await self._dynamodb.call("GetItem", body, timeout_s=TIMEOUT_S)
        return _claim(reply.get("Item", {}), now)

    async def store(self, area: Area, weather: Weather) -> None:
        fetched_at = _number(weather.fetched_at)
        await self._update(
            area,
            "SET claimedUntil = :at, fetchedAt = :at, body = :body, #ttl = :ttl",
            {
                ":at": fetched_at,
                ":body": {"S": msgspec.json.encode(weather).decode()},
                ":ttl": _ttl(weather.fetched_at),
            },
        )

    async def postpone(self, area: Area, *, until: datetime) -> None:
        await self._update(
            area, "SET claimedUntil = :until, #ttl = :ttl", {":until": _number(until), ":ttl": _ttl(until)}
        )

    async def _update(self, area: Area, expression: str, values: dict[str, Any], **options: str) -> dict[str, Any]:
        body = {
            "TableName": self._table,
            "Key": _key(area),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {"#ttl": "ttl"},
            "ExpressionAttributeValues": values,
            **options,
        }
        return await self._dynamodb.call("UpdateItem", body, timeout_s=TIMEOUT_S)


def _claim(item: dict[str, Any], now: datetime) -> Claim:
    claimed_until = int(item["claimedUntil"]["N"]) if "claimedUntil" in item else 0
    return Claim(mine=False, waiting=claimed_until > _milliseconds(now), weather=_weather_in(item))


def _weather_in(item: dict[str, Any]) -> Weather | None:
    if "body" not in item:
        return None
    try:
        return msgspec.json.decode(item["body"]["S"], type=Weather)
    except msgspec.MsgspecError:
        return None  # written by another version


def _key(area: Area) -> dict[str, dict[str, str]]:
    return {"area": {"S": area.key}}


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _number(moment: datetime) -> dict[str, str]:
    return {"N": str(_milliseconds(moment))}


def _ttl(moment: datetime) -> dict[str, str]:
    return {"N": str(_milliseconds(moment + SHOWN_FOR) // 1_000)}
