"""Token buckets in the process, in DynamoDB and in Valkey, with a test clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from valkey.asyncio import Valkey

from nomadcrew.adapters.aws.dynamodb.rate_limits import DynamoRateLimits, LayeredRateLimits
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.aws.valkey import IamPassword, ValkeyRateLimits, valkey_cache
from nomadcrew.adapters.machine.rate_limits import ProcessRateLimits
from nomadcrew.core.ids import uuid7
from nomadcrew.core.rate_limits import Allowance, Limit, RateLimits
from tests.contract.cache_server import cache
from tests.contract.cloud import Cloud
from tests.fakes import OpenLimits, SetClock

__all__ = ["cache"]

TEN_PER_MINUTE = Limit(10, 60)
Make = Callable[[SetClock, dict[str, Limit]], RateLimits]


class Caller:
    """A caller of the bucket `sign_in`, which allows ten per minute."""

    def __init__(self, make: Make, limit: Limit = TEN_PER_MINUTE) -> None:
        self.clock = SetClock()
        self.limits = make(self.clock, {"sign_in": limit})
        self._names: dict[str, str] = {}

    def _key(self, name: str) -> str:
        """A key that no other test uses."""
        return self._names.setdefault(name, f"{name}-{uuid7()}")

    async def take(self, key: str = "ana", *, cost: int = 1, bucket: str = "sign_in") -> Allowance:
        return await self.limits.spend(bucket, self._key(key), cost=cost)

    async def spend(self, count: int, key: str = "ana") -> list[bool]:
        return [(await self.take(key)).allowed for _ in range(count)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def limits_table(cloud: Cloud) -> str:
    return await cloud.table("bucket")


@pytest_asyncio.fixture(params=["process", "dynamodb", "valkey"], loop_scope="session")
async def make(request: pytest.FixtureRequest, cloud: Cloud, limits_table: str) -> AsyncIterator[Make]:
    if request.param == "process":
        yield ProcessRateLimits
    elif request.param == "dynamodb":
        client = cloud.client(DYNAMODB)
        yield lambda clock, limits: DynamoRateLimits(client, limits_table, clock, limits)
    else:
        # The test server supports neither TLS nor IAM.
        host, port = request.getfixturevalue("cache").split(":")
        async with Valkey(host=host, port=int(port)) as cached:
            yield lambda clock, limits: ValkeyRateLimits(cached, clock, limits)


@pytest.fixture
def caller(make: Make) -> Caller:
    return Caller(make)


async def test_a_full_bucket_allows_a_burst_of_its_size(caller: Caller) -> None:
    assert await caller.spend(11) == [True] * 10 + [False]


@pytest.mark.parametrize("limit", [Limit(7, 60), Limit(60, 60), Limit(1, 3600), Limit(100, 1), Limit(3, 900)])
async def test_the_burst_is_exact_for_any_limit_and_uptime(make: Make, limit: Limit) -> None:
    caller = Caller(make, limit)
    caller.clock.advance(86_400 * 400 + 0.123457)
    assert sum(await caller.spend(limit.count + 5)) == limit.count


async def test_tokens_are_refilled_evenly(caller: Caller) -> None:
    await caller.spend(10)
    caller.clock.advance(5.9)
    assert await caller.spend(1) == [False]
    caller.clock.advance(0.1)
    assert await caller.spend(2) == [True, False]
    caller.clock.advance(3600)
    assert sum(await caller.spend(20)) == 10


async def test_the_allowance_predicts_the_next_requests(caller: Caller) -> None:
    assert await caller.take() == Allowance(True, limit=10, remaining=9, reset_s=6, retry_after_s=0)
    await caller.spend(9)
    refused = await caller.take()
    assert refused == Allowance(False, limit=10, remaining=0, reset_s=60, retry_after_s=6)
    caller.clock.advance(refused.retry_after_s)
    assert (await caller.take()).allowed


async def test_refused_requests_do_not_delay_the_refill(caller: Caller) -> None:
    await caller.spend(10)
    for _ in range(12):
        caller.clock.advance(0.5)
        last = await caller.take()
    assert last.allowed


async def test_callers_and_buckets_are_independent(caller: Caller) -> None:
    await caller.spend(10)
    assert await caller.spend(1, "ben") == [True]
    assert (await caller.take(bucket="register")).allowed


async def test_a_cost_of_zero_only_reads_the_bucket(caller: Caller) -> None:
    assert (await caller.take(cost=0)).remaining == 10
    await caller.spend(10)
    peek = await caller.take(cost=0)
    assert (peek.allowed, peek.retry_after_s) == (False, 6)


async def test_a_higher_cost_takes_more_tokens_or_none(caller: Caller) -> None:
    assert (await caller.take(cost=8)).remaining == 2
    refused = await caller.take(cost=3)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 2, 6)
    assert (await caller.take(cost=2)).allowed


async def test_a_negative_cost_gives_tokens_back_but_no_more_than_were_spent(caller: Caller) -> None:
    await caller.spend(10)
    assert (await caller.take(cost=-2)).allowed
    assert await caller.spend(3) == [True, True, False]
    assert (await caller.take("ben", cost=-5)).remaining == 10
    assert sum(await caller.spend(12, "ben")) == 10


async def test_concurrent_requests_that_give_back_leave_nothing_spent(caller: Caller) -> None:
    async def attempt() -> None:
        assert (await caller.take()).allowed
        await caller.take(cost=-1)

    for _ in range(3):
        await asyncio.gather(*(attempt() for _ in range(5)))
    assert await caller.spend(11) == [True] * 10 + [False]


async def test_a_clock_set_back_blocks_for_at_most_one_window(caller: Caller) -> None:
    await caller.spend(10)
    caller.clock.advance(-86_400)
    refused = await caller.take()
    assert (refused.allowed, refused.reset_s) == (False, 60)


async def test_an_unknown_bucket_is_an_error(caller: Caller) -> None:
    with pytest.raises(KeyError):
        await caller.take(bucket="nope")


async def test_concurrent_requests_share_the_bucket(caller: Caller) -> None:
    taken = await asyncio.gather(*(caller.take() for _ in range(14)))
    # A request that meets conflicts again and again is allowed instead of delayed.
    assert 10 <= sum(allowance.allowed for allowance in taken) <= 12
    assert not (await caller.take(cost=0)).allowed


async def test_idle_buckets_expire(cloud: Cloud, limits_table: str) -> None:
    clock, key = SetClock(), str(uuid7())
    limits = DynamoRateLimits(cloud.client(DYNAMODB), limits_table, clock, {"sign_in": TEN_PER_MINUTE})
    await limits.spend("sign_in", key)
    table = cloud.aws.boto("dynamodb")
    item = table.get_item(TableName=limits_table, Key={"bucket": {"S": f"sign_in#{key}"}})["Item"]
    assert int(item["ttl"]["N"]) == clock.now.timestamp() + 120


async def test_an_outage_of_the_table_limits_no_request(cloud: Cloud) -> None:
    unreachable = AwsClient(
        DYNAMODB, environment={**cloud.aws.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    )
    for client, table in ((unreachable, "limits"), (cloud.client(DYNAMODB), "missing")):
        limits = DynamoRateLimits(client, table, SetClock(), {"sign_in": Limit(1, 60)})
        assert [(await limits.spend("sign_in", "ana")).allowed for _ in range(3)] == [True] * 3


async def test_frequent_buckets_are_counted_in_the_process() -> None:
    own, shared = OpenLimits(), OpenLimits()
    limits = LayeredRateLimits(own, shared)
    await limits.spend("default", "ana")
    await limits.spend("sign_in", "ana", cost=0)
    assert (own.asked, shared.asked) == ([("default", "ana", 1)], [("sign_in", "ana", 0)])


async def test_an_outage_of_the_cache_limits_no_request(cloud: Cloud) -> None:
    async with valkey_cache("127.0.0.1:9", "", environment=cloud.aws.environment) as unreachable:
        limits = ValkeyRateLimits(unreachable, SetClock(), {"sign_in": Limit(1, 60)})
        assert [(await limits.spend("sign_in", "ana")).allowed for _ in range(3)] == [True] * 3


def test_the_cache_password_is_a_signed_request_for_its_user() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_REGION": "eu-west-1",
    }
    user, password = IamPassword("trips", "functions", environment, SetClock()).get_credentials()
    resource, _, query = password.partition("?")
    parameters = dict(parse_qsl(query))
    assert (user, resource) == ("functions", "trips/")
    assert parameters.pop("X-Amz-Signature")
    assert parameters == {
        "Action": "connect",
        "ResourceType": "ServerlessCache",
        "User": "functions",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIDEXAMPLE/20260701/eu-west-1/elasticache/aws4_request",
        "X-Amz-Date": "20260701T120000Z",
        "X-Amz-Expires": "900",
        "X-Amz-Security-Token": "token",
        "X-Amz-SignedHeaders": "host",
    }


async def test_the_cache_is_reached_with_tls_and_iam() -> None:
    endpoint = "trips-abc123.serverless.euw1.cache.amazonaws.com:6379"
    async with valkey_cache(endpoint, "functions", environment={"AWS_REGION": "eu-west-1"}) as cache:
        options = cache.connection_pool.connection_kwargs
        assert (options["host"], options["port"]) == (endpoint.partition(":")[0], 6379)
        assert isinstance(options["credential_provider"], IamPassword)
        assert cache.connection_pool.connection_class.__name__ == "SSLConnection"
        assert options["ssl_check_hostname"]
