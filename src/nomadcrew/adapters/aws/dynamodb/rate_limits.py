"""Rate limits shared by capacity functions, in `RateLimits`.

An item is a caller's bucket; `fullAt` is the time at which its tokens are full again, as in `ProcessRateLimits`.
Spending moves `fullAt` forward if enough tokens are left: one conditional update, and a second one only if the
bucket was full. `ttl` deletes full buckets.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.rate_limits import LIMITS, Allowance, Limit, RateLimits

log = logging.getLogger("nomadcrew.limits")

# A rate limit may delay a request by at most this.
TIMEOUT_S = 0.5
TRIES = 4  # for concurrent updates of the same bucket
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY = "fullAt > :now AND fullAt <= :latest"
_IDLE = "(attribute_not_exists(fullAt) OR fullAt <= :now)"
# Never true: returns the item without a change.
_LOOK = "attribute_exists(fullAt) AND attribute_not_exists(fullAt)"


class DynamoRateLimits:
    """`RateLimits` in a table."""

    def __init__(
        self, dynamodb: AwsClient, table: str, clock: Clock, limits: Mapping[str, Limit] | None = None
    ) -> None:
        """`limits` overrides the defaults by bucket."""
        self._dynamodb = dynamodb
        self._table = table
        self._clock = clock
        self._limits = {**LIMITS, **(limits or {})}

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """See the port; a cost of 0 tests whether a cost of 1 would be allowed.

        Raises:
            KeyError: the bucket does not exist, which is a bug and not an outage.
        """
        limit = self._limits[bucket]
        now = (self._clock() - _EPOCH) // _MICROSECOND * limit.count
        try:
            return await self._take(_Bucket(limit, f"{bucket}#{key}"), cost, now)
        except (Unavailable, AwsError) as error:
            log.warning("rate limit not checked", extra={"fields": {"bucket": bucket}}, exc_info=error)
            return Allowance(True, limit.count, limit.count, 0, 0)

    async def _take(self, bucket: "_Bucket", cost: int, now: int) -> Allowance:
        spend = cost * bucket.token
        condition, values = (_BUSY, bucket.busy(now, spend)) if cost else (_LOOK, {})
        full_at: int | None = None
        for _ in range(TRIES):
            done, full_at = await self._update(bucket, condition, values, now)
            if done:
                return bucket.allowance(True, bucket.spent(full_at, now))
            spent = bucket.spent(full_at, now)
            if not cost or bucket.short(spent, spend) > 0:
                return bucket.allowance_for(spent, spend or bucket.token)
            if full_at is None or full_at <= now:
                condition, values = _IDLE, bucket.idle(now, spend)
            else:
                condition, values = _BUSY, bucket.busy(now, spend)
        raise Unavailable(details="limits: too many concurrent updates")

    async def _update(
        self, bucket: "_Bucket", condition: str, values: Mapping[str, Any], now: int
    ) -> tuple[bool, int | None]:
        """True if the condition held, and the item's `fullAt` afterwards."""
        full_at = ":fresh" if condition is _IDLE else "fullAt + :spend"
        body: dict[str, Any] = {
            "TableName": self._table,
            "Key": {"bucket": {"S": bucket.key}},
            "ConditionExpression": condition,
            "ReturnValues": "UPDATED_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if condition is not _LOOK:
            ttl = {":ttl": {"N": str(now // bucket.second + 2 * bucket.limit.per_s)}}
            body |= {
                "UpdateExpression": f"SET fullAt = {full_at}, #ttl = :ttl",
                "ExpressionAttributeNames": {"#ttl": "ttl"},
                "ExpressionAttributeValues": {**values, **ttl},
            }
        try:
            # A retry after a lost response may spend twice, which is better than not at capacity.
            reply = await self._dynamodb.call("UpdateItem", body, timeout_s=TIMEOUT_S)
        except AwsError as error:
            if error.code != "ConditionalCheckFailedException":
                raise
            item = error.body.get("Item") or {}
            return False, int(item["fullAt"]["N"]) if "fullAt" in item else None
        return True, int(reply["Attributes"]["fullAt"]["N"])


class _Bucket:
    """A caller's bucket. Spans are in microseconds times the limit's count, so that a token is a whole number."""

    def __init__(self, limit: Limit, key: str) -> None:
        self.limit = limit
        self.key = key
        self.token = limit.per_s * 1_000_000
        self.capacity = self.token * limit.count
        self.second = 1_000_000 * limit.count

    def busy(self, now: int, spend: int) -> dict[str, Any]:
        return {":now": _number(now), ":spend": _number(spend), ":latest": _number(now + self.capacity - spend)}

    def idle(self, now: int, spend: int) -> dict[str, Any]:
        return {":now": _number(now), ":fresh": _number(now + spend)}

    def spent(self, full_at: int | None, now: int) -> int:
        # The upper bound matters only if clocks differ: no caller waits longer than a whole window.
        return 0 if full_at is None else min(max(0, full_at - now), self.capacity)

    def short(self, spent: int, spend: int) -> int:
        return spent + spend - self.capacity

    def allowance_for(self, spent: int, spend: int) -> Allowance:
        """The allowance if nothing is spent now."""
        short = self.short(spent, spend)
        return self.allowance(short <= 0, spent, max(0, short))

    def allowance(self, allowed: bool, spent: int, short: int = 0) -> Allowance:
        left = (self.capacity - spent) // self.token
        return Allowance(allowed, self.limit.count, left, self._seconds(spent), self._seconds(short))

    def _seconds(self, span: int) -> int:
        return -(-span // self.second)


class LayeredRateLimits:
    """`RateLimits` that shares capacity buckets but `own_buckets`, which each process counts itself."""

    def __init__(
        self, own: RateLimits, shared: RateLimits, *, own_buckets: frozenset[str] = frozenset({"default"})
    ) -> None:
        self._own = own
        self._shared = shared
        self._own_buckets = own_buckets

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        limits = self._own if bucket in self._own_buckets else self._shared
        return await limits.spend(bucket, key, cost=cost)


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
