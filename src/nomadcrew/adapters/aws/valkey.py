"""Rate limits shared by all functions, in Valkey: one round trip of a millisecond.

A key is a caller's bucket; its value is the time at which it is full again, in milliseconds times the limit's
count, so that a token is a whole number. Keys of full buckets expire.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from valkey.asyncio import Valkey
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.credentials import CredentialProvider
from valkey.exceptions import ValkeyError

from nomadcrew.adapters.aws.sdk.signing import AwsCredentials, presign
from nomadcrew.core.clock import Clock, utc_now
from nomadcrew.core.rate_limits import LIMITS, Allowance, Limit

log = logging.getLogger("nomadcrew.limits")

# A rate limit may delay a request by at most this.
TIMEOUT_S = 0.5
PASSWORD_S = 900  # the longest that the cache accepts
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The spent amount is the distance of that time from now; the upper bound matters only if clocks differ.
_TAKE = """
local now, ask, spend, all = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local full_at = tonumber(redis.call('GET', KEYS[1]) or '0')
local spent = math.min(math.max(0, full_at - now), all)
if spent + ask > all then return {0, spent} end
if spend ~= 0 then
    spent = math.max(0, spent + spend)
    redis.call('SET', KEYS[1], string.format('%.0f', now + spent), 'PX', ARGV[5])
end
return {1, spent}
"""


class ValkeyRateLimits:
    """`RateLimits` in a Valkey cache."""

    def __init__(self, cache: Valkey, clock: Clock, limits: Mapping[str, Limit] | None = None) -> None:
        """`limits` overrides the defaults by bucket."""
        self._clock = clock
        self._limits = {**LIMITS, **(limits or {})}
        self._script = cache.register_script(_TAKE)

    async def spend(self, bucket: str, key: str, *, cost: int = 1) -> Allowance:
        """See the port; a cost of 0 tests whether a cost of 1 would be allowed.

        Raises:
            KeyError: the bucket does not exist, which is a bug and not an outage.
        """
        limit = self._limits[bucket]
        token = limit.per_s * 1_000
        ask, capacity = (cost or 1) * token, token * limit.count
        now = (self._clock() - _EPOCH) // _MILLISECOND * limit.count
        arguments = (now, ask, cost * token, capacity, 2_000 * limit.per_s)
        try:
            allowed, spent = await self._script(keys=[f"limit:{bucket}:{key}"], args=arguments)
        except (ValkeyError, OSError, TimeoutError) as error:
            fields = {"bucket": bucket, "reason": type(error).__name__}
            log.warning("rate limit not checked", extra={"fields": fields})
            return Allowance(True, limit.count, limit.count, 0, 0)
        second = 1_000 * limit.count
        short = 0 if allowed else spent + ask - capacity
        left = (capacity - spent) // token
        return Allowance(bool(allowed), limit.count, left, -(-spent // second), -(-short // second))


class IamPassword(CredentialProvider):
    """Credentials of a cache user; the password is a signed request, new for each connection."""

    def __init__(self, cache: str, user: str, environment: Mapping[str, str], clock: Clock) -> None:
        """`cache` is the name of a serverless cache."""
        self._cache = cache
        self._user = user
        self._environment = environment
        self._clock = clock

    def get_credentials(self) -> tuple[str, str]:
        password = presign(
            AwsCredentials.of(self._environment),
            service="elasticache",
            region=self._environment["AWS_REGION"],
            host=self._cache,
            query={"Action": "connect", "ResourceType": "ServerlessCache", "User": self._user},
            lifetime_s=PASSWORD_S,
            now=self._clock(),
        )
        return self._user, password


def valkey_cache(endpoint: str, user: str, *, environment: Mapping[str, str], clock: Clock = utc_now) -> Valkey:
    """A client of a serverless cache at `host:port`, with TLS and IAM authentication."""
    host, _, port = endpoint.rpartition(":")
    # `name-abc123.serverless.euw1.cache.amazonaws.com`
    name = host.partition(".")[0].rpartition("-")[0]
    return Valkey(
        host=host,
        port=int(port),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
        ssl=True,
        ssl_check_hostname=True,
        credential_provider=IamPassword(name, user, environment, clock),
    )
