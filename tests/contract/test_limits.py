"""Token buckets in the process, in DynamoDB and in Valkey, on a clock that is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qsl

import pytest
import pytest_asyncio
from valkey.asyncio import Valkey

from nomadcrew.adapters.aws.dynamodb.limits import DynamoRateLimits, LayeredRateLimits
from nomadcrew.adapters.aws.sdk.client import AwsClient
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.aws.valkey import IamPassword, ValkeyRateLimits, valkey_cache
from nomadcrew.adapters.machine.limits import ProcessRateLimits
from nomadcrew.core.ids import uuid7
from nomadcrew.core.limits import Allowance, Limit, RateLimits
from tests.contract.cache import cache
from tests.contract.cloud import Cloud
from tests.fakes import OpenLimits, SetClock

__all__ = ["cache"]

TEN_A_MINUTE = Limit(10, 60)
Make = Callable[[SetClock, dict[str, Limit]], RateLimits]


class Taker:
    """Ten a minute in the bucket `sign_in`."""

    def __init__(self, make: Make, limit: Limit = TEN_A_MINUTE) -> None:
        self.clock = SetClock()
        self.limits = make(self.clock, {"sign_in": limit})
        self._names: dict[str, str] = {}

    def _of(self, name: str) -> str:
        """The key of somebody who is in no other test."""
        return self._names.setdefault(name, f"{name}-{uuid7()}")

    async def take(self, key: str = "ana", *, cost: int = 1, bucket: str = "sign_in") -> Allowance:
        return await self.limits.spend(bucket, self._of(key), cost=cost)

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
        # The server that tests have speaks neither TLS nor IAM.
        host, port = request.getfixturevalue("cache").split(":")
        async with Valkey(host=host, port=int(port)) as cached:
            yield lambda clock, limits: ValkeyRateLimits(cached, clock, limits)


@pytest.fixture
def taker(make: Make) -> Taker:
    return Taker(make)


async def test_a_full_bucket_is_a_burst_as_large_as_the_number(taker: Taker) -> None:
    assert await taker.spend(11) == [True] * 10 + [False]


@pytest.mark.parametrize("limit", [Limit(7, 60), Limit(60, 60), Limit(1, 3600), Limit(100, 1), Limit(3, 900)])
async def test_the_burst_is_exact_whatever_the_numbers_and_the_uptime(make: Make, limit: Limit) -> None:
    taker = Taker(make, limit)
    taker.clock.advance(86_400 * 400 + 0.123457)
    assert sum(await taker.spend(limit.count + 5)) == limit.count


async def test_tokens_come_back_evenly(taker: Taker) -> None:
    await taker.spend(10)
    taker.clock.advance(5.9)
    assert await taker.spend(1) == [False]
    taker.clock.advance(0.1)
    assert await taker.spend(2) == [True, False]
    taker.clock.advance(3600)
    assert sum(await taker.spend(20)) == 10


async def test_what_is_told_is_what_happens(taker: Taker) -> None:
    assert await taker.take() == Allowance(True, limit=10, remaining=9, reset_s=6, retry_after_s=0)
    await taker.spend(9)
    refused = await taker.take()
    assert refused == Allowance(False, limit=10, remaining=0, reset_s=60, retry_after_s=6)
    taker.clock.advance(refused.retry_after_s)
    assert (await taker.take()).allowed


async def test_whoever_keeps_asking_recovers_all_the_same(taker: Taker) -> None:
    await taker.spend(10)
    for _ in range(12):
        taker.clock.advance(0.5)
        last = await taker.take()
    assert last.allowed


async def test_callers_and_buckets_are_apart(taker: Taker) -> None:
    await taker.spend(10)
    assert await taker.spend(1, "ben") == [True]
    assert (await taker.take(bucket="register")).allowed


async def test_a_look_costs_nothing_and_tells_whether_one_would_pass(taker: Taker) -> None:
    assert (await taker.take(cost=0)).remaining == 10
    await taker.spend(10)
    look = await taker.take(cost=0)
    assert (look.allowed, look.retry_after_s) == (False, 6)


async def test_a_dear_request_takes_more_and_one_too_dear_takes_none(taker: Taker) -> None:
    assert (await taker.take(cost=8)).remaining == 2
    refused = await taker.take(cost=3)
    assert (refused.allowed, refused.remaining, refused.retry_after_s) == (False, 2, 6)
    assert (await taker.take(cost=2)).allowed


async def test_a_clock_set_back_shuts_nobody_out_for_longer_than_a_window(taker: Taker) -> None:
    await taker.spend(10)
    taker.clock.advance(-86_400)
    refused = await taker.take()
    assert (refused.allowed, refused.reset_s) == (False, 60)


async def test_an_unknown_bucket_is_a_slip_in_the_code(taker: Taker) -> None:
    with pytest.raises(KeyError):
        await taker.take(bucket="nope")


async def test_many_at_once_get_no_more_than_there_is(taker: Taker) -> None:
    taken = await asyncio.gather(*(taker.take() for _ in range(14)))
    # Whoever finds others at it again and again is let through rather than kept waiting.
    assert 10 <= sum(allowance.allowed for allowance in taken) <= 12
    assert not (await taker.take(cost=0)).allowed


async def test_what_is_idle_is_dropped_in_time(cloud: Cloud, limits_table: str) -> None:
    clock, key = SetClock(), str(uuid7())
    limits = DynamoRateLimits(cloud.client(DYNAMODB), limits_table, clock, {"sign_in": TEN_A_MINUTE})
    await limits.spend("sign_in", key)
    table = cloud.aws.boto("dynamodb")
    item = table.get_item(TableName=limits_table, Key={"bucket": {"S": f"sign_in#{key}"}})["Item"]
    assert int(item["ttl"]["N"]) == clock.now.timestamp() + 120


async def test_a_table_that_is_away_limits_nobody(cloud: Cloud) -> None:
    away = AwsClient(DYNAMODB, environment={**cloud.aws.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    for client, table in ((away, "limits"), (cloud.client(DYNAMODB), "missing")):
        limits = DynamoRateLimits(client, table, SetClock(), {"sign_in": Limit(1, 60)})
        assert [(await limits.spend("sign_in", "ana")).allowed for _ in range(3)] == [True] * 3


async def test_what_is_asked_at_every_request_is_asked_in_the_process() -> None:
    own, shared = OpenLimits(), OpenLimits()
    limits = LayeredRateLimits(own, shared)
    await limits.spend("default", "ana")
    await limits.spend("sign_in", "ana", cost=0)
    assert (own.asked, shared.asked) == ([("default", "ana", 1)], [("sign_in", "ana", 0)])


async def test_a_cache_that_is_away_limits_nobody(cloud: Cloud) -> None:
    async with valkey_cache("127.0.0.1:9", "", environment=cloud.aws.environment) as away:
        limits = ValkeyRateLimits(away, SetClock(), {"sign_in": Limit(1, 60)})
        assert [(await limits.spend("sign_in", "ana")).allowed for _ in range(3)] == [True] * 3


def test_the_password_of_a_cache_is_a_signed_request_for_its_user() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_REGION": "eu-west-1",
    }
    user, password = IamPassword("trips", "functions", environment, SetClock()).get_credentials()
    where, _, query = password.partition("?")
    asked = dict(parse_qsl(query))
    assert (user, where) == ("functions", "trips/")
    assert asked.pop("X-Amz-Signature")
    assert asked == {
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


async def test_a_real_cache_is_reached_with_tls_and_without_a_password_of_ours() -> None:
    endpoint = "trips-abc123.serverless.euw1.cache.amazonaws.com:6379"
    async with valkey_cache(endpoint, "functions", environment={"AWS_REGION": "eu-west-1"}) as cache:
        how = cache.connection_pool.connection_kwargs
        assert (how["host"], how["port"]) == (endpoint.partition(":")[0], 6379)
        assert isinstance(how["credential_provider"], IamPassword)
        assert cache.connection_pool.connection_class.__name__ == "SSLConnection"
        assert how["ssl_check_hostname"]
