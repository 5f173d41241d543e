"""Sockets of API Gateway: connections, deliveries and dead connections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.connections import LIFETIME, DynamoConnections
from nomadcrew.adapters.aws.realtime import AT_ONCE, AWAY_AFTER, SETTLING, GatewaySockets
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.core.ids import SessionId, TripId, UserId, uuid7
from nomadcrew.core.realtime import MAX_SOCKETS, Connection
from tests.contract.cloud import Cloud
from tests.contract.fake_gateway import FakeGateway, gateway
from tests.fakes import ANA, BEN, NOON, SetClock

TRIP, OTHER_TRIP = TripId(uuid7()), TripId(uuid7())
PHONE, TABLET = SessionId(uuid7()), SessionId(uuid7())
HOUR = timedelta(hours=1)


class Scenario:
    """A gateway and the table of its connections."""

    def __init__(
        self, gateway: FakeGateway, connections: DynamoConnections, sockets: GatewaySockets, clock: SetClock
    ):
        self.gateway, self.connections, self.sockets, self.clock = gateway, connections, sockets, clock

    async def open(self, id_: str, user_id: UserId = ANA, **changes: Any) -> None:
        values: dict[str, Any] = {"session_id": PHONE, "expires_at": NOON + HOUR, "connected_at": self.clock.now}
        await self.sockets.add(Connection(id_, user_id, **(values | changes)))

    async def open_ids(self, *user_ids: UserId) -> set[str]:
        return {connection.id for connection in await self.connections.of(user_ids, now=self.clock.now)}

    async def deliver(self, frame: str = "{}", trip_id: TripId | None = None) -> int:
        return len(await self.receivers(frame, trip_id))

    async def receivers(self, frame: str = "{}", trip_id: TripId | None = None) -> Sequence[UserId]:
        return await self.sockets.deliver(frame, [ANA, BEN], trip_id, now=self.clock.now)

    async def dead(self) -> Sequence[str]:
        return [connection.id for connection in await self.sockets.deliver_to_all("{}", now=self.clock.now)]


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(cloud: Cloud) -> AsyncIterator[Scenario]:
    table = await cloud.connections_table()
    clock = SetClock()
    connections = DynamoConnections(cloud.client(DYNAMODB), table)
    async with gateway() as (made, client):
        yield Scenario(made, connections, GatewaySockets(connections, client), clock)


async def test_a_connection_is_found_by_its_user(scenario: Scenario) -> None:
    await scenario.open("ana's", session_id=None)
    await scenario.open("ben's", BEN)
    [found] = await scenario.connections.of([ANA], now=NOON)
    assert found == Connection("ana's", ANA, None, NOON + HOUR, NOON)
    assert {connection.id for connection in await scenario.connections.noted(now=NOON)} == {"ana's", "ben's"}
    assert sorted(await scenario.connections.connected_users(now=NOON)) == sorted([ANA, BEN])
    assert await scenario.connections.connected_users(now=NOON + timedelta(days=1)) == []
    await scenario.sockets.forget("ana's")
    assert await scenario.open_ids(ANA, BEN) == {"ben's"}


async def test_a_frame_reaches_every_socket_of_a_user_and_no_other(scenario: Scenario) -> None:
    await scenario.open("phone")
    await scenario.open("tablet")
    await scenario.open("eve's", UserId(uuid7()))
    assert await scenario.deliver('{"type":"événement"}') == 2
    assert scenario.gateway.sent == {"phone": ['{"type":"événement"}'], "tablet": ['{"type":"événement"}']}


async def test_a_trip_is_muted_and_unmuted_on_one_socket(scenario: Scenario) -> None:
    await scenario.open("phone")
    await scenario.open("tablet")
    assert await scenario.connections.mute("phone", TRIP)
    assert not await scenario.connections.mute("phone", TRIP)
    assert not await scenario.connections.mute("nobody's", TRIP)
    assert await scenario.connections.mute("phone", OTHER_TRIP)
    assert await scenario.deliver(trip_id=TRIP) == 1
    assert await scenario.deliver(trip_id=None) == 2
    await scenario.connections.unmute("phone", TRIP)
    await scenario.connections.unmute("nobody's", TRIP)
    assert await scenario.deliver(trip_id=TRIP) == 2
    assert await scenario.open_ids(ANA) == {"phone", "tablet"}


async def test_delivery_returns_users_who_received_the_frame(scenario: Scenario) -> None:
    for id_, user_id in (("phone", ANA), ("tablet", ANA), ("ben's", BEN), ("ben's other", BEN)):
        await scenario.open(id_, user_id)
    await scenario.connections.mute("tablet", TRIP)
    await scenario.connections.mute("ben's", TRIP)
    scenario.gateway.statuses["ben's other"] = 410
    assert list(await scenario.receivers(trip_id=TRIP)) == [ANA]
    scenario.gateway.statuses.clear()
    assert sorted(await scenario.receivers(trip_id=TRIP)) == sorted([ANA, BEN])


async def test_an_expired_socket_receives_nothing(scenario: Scenario) -> None:
    await scenario.open("short", expires_at=NOON + timedelta(minutes=1))
    await scenario.open("long", expires_at=NOON + 10 * LIFETIME)
    scenario.clock.now = NOON + timedelta(minutes=1)
    assert await scenario.open_ids(ANA) == {"long"}
    scenario.clock.now = NOON + LIFETIME
    assert await scenario.deliver() == 0
    assert await scenario.connections.noted(now=scenario.clock.now) == []


async def test_sockets_of_an_ended_session_receive_nothing(scenario: Scenario) -> None:
    await scenario.open("phone")
    await scenario.open("tablet", session_id=TABLET)
    await scenario.connections.end_session(ANA, PHONE, now=NOON)
    assert await scenario.open_ids(ANA) == {"tablet"}
    assert await scenario.deliver() == 1


async def test_the_oldest_sockets_of_a_user_with_too_many_receive_nothing_and_are_dropped(
    scenario: Scenario,
) -> None:
    await scenario.open("ben's", BEN)
    for number in range(MAX_SOCKETS + 3):
        scenario.clock.advance(1)
        await scenario.open(f"{number}")
    kept = {f"{number}" for number in range(3, MAX_SOCKETS + 3)}
    assert await scenario.open_ids(ANA) == kept
    assert await scenario.open_ids(BEN) == {"ben's"}
    assert await scenario.deliver() == MAX_SOCKETS + 1
    assert scenario.gateway.sent.keys() == {*kept, "ben's"}
    scenario.clock.advance(AWAY_AFTER.total_seconds())
    assert sorted(await scenario.dead()) == ["0", "1", "2"]
    assert scenario.gateway.sent.keys() == {*kept, "ben's"}


async def test_sockets_opened_at_the_same_moment_receive_no_more_than_the_limit(scenario: Scenario) -> None:
    # A lagging index hides sockets of the same moment from one another, so that none is ended.
    opened = [f"{number}" for number in range(MAX_SOCKETS + 5)]
    connections = [Connection(id_, ANA, PHONE, NOON + HOUR, NOON) for id_ in opened]
    with patch.object(DynamoConnections, "_of", return_value=[]):
        await asyncio.gather(*map(scenario.sockets.add, connections))
    assert await scenario.deliver() == MAX_SOCKETS
    await scenario.dead()
    assert len(scenario.gateway.sent) == MAX_SOCKETS
    scenario.clock.advance(1)
    await scenario.open("new")
    open_ids = await scenario.open_ids(ANA)
    assert "new" in open_ids
    assert {each.id for each in await scenario.connections.noted(now=NOON)} == {*opened, "new"}
    assert len(open_ids) == MAX_SOCKETS


async def test_delivery_to_all_returns_dead_connections(scenario: Scenario) -> None:
    for id_ in ("gone", "there", "slow"):
        await scenario.open(id_)
    scenario.gateway.statuses |= {"gone": 410, "slow": 429}
    assert await scenario.dead() == []  # the gateway also replies 410 for a connection that is still opening
    scenario.clock.advance(SETTLING.total_seconds() + 1)
    assert await scenario.dead() == ["gone"]
    assert scenario.gateway.sent == {"there": ["{}"] * 2}


async def test_a_socket_without_frames_for_two_minutes_is_dead(scenario: Scenario) -> None:
    await scenario.open("expired", expires_at=NOON)
    await scenario.open("signed out")
    await scenario.open("signed in", session_id=TABLET)
    await scenario.connections.end_session(ANA, PHONE, now=NOON)
    scenario.clock.advance(AWAY_AFTER.total_seconds() - 1)
    assert await scenario.dead() == []
    scenario.clock.advance(1)
    assert sorted(await scenario.dead()) == ["expired", "signed out"]
    assert scenario.gateway.sent.keys() == {"signed in"}


async def test_a_throttled_socket_is_tried_three_times_and_delays_no_other(scenario: Scenario) -> None:
    for id_ in ("slow", "quick", "forbidden"):
        await scenario.open(id_)
    scenario.gateway.statuses |= {"slow": 429, "forbidden": 403}
    assert await scenario.deliver() == 1
    assert (scenario.gateway.requested.count("slow"), scenario.gateway.requested.count("forbidden")) == (3, 1)
    assert await scenario.open_ids(ANA) == {"slow", "quick", "forbidden"}


async def test_frames_to_many_sockets_are_sent_in_limited_parallel(scenario: Scenario) -> None:
    for number in range(60):
        await scenario.open(f"socket-{number}", UserId(uuid7()))
    assert await scenario.dead() == []
    assert len(scenario.gateway.sent) == 60
    assert 1 < scenario.gateway.busiest <= AT_ONCE


async def test_the_emulated_gateway_reports_a_dead_connection(scenario: Scenario, cloud: Cloud) -> None:
    api = cloud.aws.boto("apigatewayv2").create_api(
        Name="sockets", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.type"
    )
    cloud.aws.boto("apigatewayv2").create_stage(ApiId=api["ApiId"], StageName="live")
    client = cloud.socket_client(
        f"{cloud.aws.environment['AWS_ENDPOINT_URL']}/_aws/execute-api/{api['ApiId']}/live"
    )
    try:
        sockets = GatewaySockets(scenario.connections, client)
        assert not await sockets.send("nobody's", "{}")
    finally:
        client.close()
