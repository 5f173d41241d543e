"""Items of one table that are erased."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError

AT_ONCE = 10
PAGE = 200

Item = dict[str, Any]


class ErasedItems:
    """Reads, changes and deletes items. Every change is safe to repeat."""

    def __init__(self, dynamodb: AwsClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def of(self, key: str, value: str, *, index: str | None = None) -> AsyncIterator[Item]:
        """The items of a partition, page by page."""
        more: dict[str, Any] = {"ConsistentRead": True} if index is None else {"IndexName": index}
        while True:
            page = await self._call(
                "Query",
                KeyConditionExpression="#key = :value",
                ExpressionAttributeNames={"#key": key},
                ExpressionAttributeValues={":value": {"S": value}},
                Limit=PAGE,
                **more,
            )
            for item in page["Items"]:
                yield item
            if "LastEvaluatedKey" not in page:
                return
            more["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def with_value(self, attribute: str, value: str) -> AsyncIterator[Item]:
        """The items that have a value in an attribute without an index: reads the whole table."""
        more: dict[str, Any] = {}
        while True:
            page = await self._call(
                "Scan",
                FilterExpression="#attribute = :value",
                ExpressionAttributeNames={"#attribute": attribute},
                ExpressionAttributeValues={":value": {"S": value}},
                **more,
            )
            for item in page["Items"]:
                yield item
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def change(
        self, key: Item, update: str, values: Mapping[str, Any], names: Mapping[str, str] | None = None
    ) -> None:
        """Change an item, unless it is gone."""
        optional = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
        try:
            await self._call(
                "UpdateItem",
                Key=key,
                UpdateExpression=update,
                ConditionExpression=f"attribute_exists({next(iter(key))})",
                **{name: value for name, value in optional.items() if value},
            )
        except AwsError as refused:
            if refused.code != "ConditionalCheckFailedException":
                raise

    async def delete(self, key: Item) -> int:
        """Delete an item. Returns 1, or 0 if there was none."""
        reply = await self._call("DeleteItem", Key=key, ReturnValues="ALL_OLD")
        return int("Attributes" in reply)

    async def delete_all(self, keys: Iterable[Item]) -> int:
        """Delete items; returns the number of those that were there."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def delete(key: Item) -> int:
            async with limit:
                return await self.delete(key)

        return sum(await asyncio.gather(*(delete(key) for key in keys)))

    async def _call(self, operation: str, **body: Any) -> dict[str, Any]:
        return await self._dynamodb.call(operation, {"TableName": self._table, **body})
