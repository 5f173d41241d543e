"""Sockets that a gateway holds: who is found, what is sent, and who is forgotten."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.connections import LIFETIME, DynamoConnections
from nomadcrew.adapters.aws.realtime import AT_ONCE, AWAY_AFTER, SETTLING, GatewaySockets
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.core.ids import SessionId, TripId, UserId, uuid7
from nomadcrew.core.realtime import Connection
from tests.contract.cloud import Cloud
from tests.contract.gateway import Gateway, gateway
from tests.fakes import ANA, BEN, NOON, SetClock

TRIP, OTHER_TRIP = TripId(uuid7()), TripId(uuid7())
PHONE, TABLET = SessionId(uuid7()), SessionId(uuid7())
HOUR = timedelta(hours=1)


class Room:
    """A gateway and its register, an hour after noon at the latest."""

    def __init__(self, gateway: Gateway, connections: DynamoConnections, sockets: GatewaySockets, clock: SetClock):
        self.gateway, self.connections, self.sockets, self.clock = gateway, connections, sockets, clock

    async def open(self, id_: str, user_id: UserId = ANA, **more: Any) -> None:
        given: dict[str, Any] = {"session_id": PHONE, "expires_at": NOON + HOUR, "connected_at": self.clock.now}
        await self.sockets.add(Connection(id_, user_id, **(given | more)))

    async def open_ids(self, *user_ids: UserId) -> set[str]:
        return {one.id for one in await self.connections.of(user_ids, now=self.clock.now)}

    async def deliver(self, frame: str = "{}", trip_id: TripId | None = None) -> int:
        return len(await self.reached(frame, trip_id))

    async def reached(self, frame: str = "{}", trip_id: TripId | None = None) -> Sequence[UserId]:
        return await self.sockets.deliver(frame, [ANA, BEN], trip_id, now=self.clock.now)

    async def gone(self) -> Sequence[str]:
        return [one.id for one in await self.sockets.deliver_to_all("{}", now=self.clock.now)]


@pytest_asyncio.fixture(loop_scope="session")
async def room(cloud: Cloud) -> AsyncIterator[Room]:
    table = await cloud.connections_table()
    clock = SetClock()
    connections = DynamoConnections(cloud.client(DYNAMODB), table)
    async with gateway() as (made, client):
        yield Room(made, connections, GatewaySockets(connections, client), clock)


async def test_what_is_noted_of_a_socket_is_found_by_its_person(room: Room) -> None:
    await room.open("ana's", session_id=None)
    await room.open("ben's", BEN)
    [found] = await room.connections.of([ANA], now=NOON)
    assert found == Connection("ana's", ANA, None, NOON + HOUR, NOON)
    assert {one.id for one in await room.connections.noted(now=NOON)} == {"ana's", "ben's"}
    await room.sockets.forget("ana's")
    assert await room.open_ids(ANA, BEN) == {"ben's"}


async def test_a_frame_reaches_every_socket_of_a_person_and_of_nobody_else(room: Room) -> None:
    await room.open("phone")
    await room.open("tablet")
    await room.open("eve's", UserId(uuid7()))
    assert await room.deliver('{"type":"événement"}') == 2
    assert room.gateway.sent == {"phone": ['{"type":"événement"}'], "tablet": ['{"type":"événement"}']}


async def test_a_trip_is_muted_on_one_socket_and_unmuted_there(room: Room) -> None:
    await room.open("phone")
    await room.open("tablet")
    assert await room.connections.mute("phone", TRIP)
    assert not await room.connections.mute("phone", TRIP)
    assert not await room.connections.mute("nobody's", TRIP)
    assert await room.connections.mute("phone", OTHER_TRIP)
    assert await room.deliver(trip_id=TRIP) == 1
    assert await room.deliver(trip_id=None) == 2
    await room.connections.unmute("phone", TRIP)
    await room.connections.unmute("nobody's", TRIP)
    assert await room.deliver(trip_id=TRIP) == 2
    assert await room.open_ids(ANA) == {"phone", "tablet"}


async def test_it_is_said_who_took_a_frame_and_not_who_had_it_muted_or_is_gone(room: Room) -> None:
    for id_, user_id in (("phone", ANA), ("tablet", ANA), ("ben's", BEN), ("ben's other", BEN)):
        await room.open(id_, user_id)
    await room.connections.mute("tablet", TRIP)
    await room.connections.mute("ben's", TRIP)
    room.gateway.says["ben's other"] = 410
    assert list(await room.reached(trip_id=TRIP)) == [ANA]
    room.gateway.says.clear()
    assert sorted(await room.reached(trip_id=TRIP)) == sorted([ANA, BEN])


async def test_a_socket_whose_token_or_life_is_over_gets_nothing(room: Room) -> None:
    await room.open("short", expires_at=NOON + timedelta(minutes=1))
    await room.open("long", expires_at=NOON + 10 * LIFETIME)
    room.clock.now = NOON + timedelta(minutes=1)
    assert await room.open_ids(ANA) == {"long"}
    room.clock.now = NOON + LIFETIME
    assert await room.deliver() == 0
    assert await room.connections.noted(now=room.clock.now) == []


async def test_the_sockets_of_an_ended_session_get_nothing_more_and_others_do(room: Room) -> None:
    await room.open("phone")
    await room.open("tablet", session_id=TABLET)
    await room.connections.end_session(ANA, PHONE, now=NOON)
    assert await room.open_ids(ANA) == {"tablet"}
    assert await room.deliver() == 1


async def test_who_sends_to_all_is_told_which_sockets_are_gone(room: Room) -> None:
    for id_ in ("gone", "there", "slow"):
        await room.open(id_)
    room.gateway.says |= {"gone": 410, "slow": 429}
    assert await room.gone() == []  # the gateway says so of one whose connecting is not answered yet, too
    room.clock.advance(SETTLING.total_seconds() + 1)
    assert await room.gone() == ["gone"]
    assert room.gateway.sent == {"there": ["{}"] * 2}


async def test_a_socket_that_nothing_was_sent_to_for_two_minutes_is_gone(room: Room) -> None:
    await room.open("expired", expires_at=NOON)
    await room.open("signed out")
    await room.open("signed in", session_id=TABLET)
    await room.connections.end_session(ANA, PHONE, now=NOON)
    room.clock.advance(AWAY_AFTER.total_seconds() - 1)
    assert await room.gone() == []
    room.clock.advance(1)
    assert sorted(await room.gone()) == ["expired", "signed out"]
    assert room.gateway.sent.keys() == {"signed in"}


async def test_a_socket_that_takes_nothing_is_tried_three_times_and_holds_up_nobody(room: Room) -> None:
    for id_ in ("slow", "quick", "forbidden"):
        await room.open(id_)
    room.gateway.says |= {"slow": 429, "forbidden": 403}
    assert await room.deliver() == 1
    assert (room.gateway.asked.count("slow"), room.gateway.asked.count("forbidden")) == (3, 1)
    assert await room.open_ids(ANA) == {"slow", "quick", "forbidden"}


async def test_many_sockets_are_sent_to_some_at_a_time(room: Room) -> None:
    for number in range(60):
        await room.open(f"socket-{number}", ANA if number % 2 else BEN)
    assert await room.gone() == []
    assert len(room.gateway.sent) == 60
    assert 1 < room.gateway.busiest <= AT_ONCE


async def test_the_gateway_of_the_account_says_who_is_gone(room: Room, cloud: Cloud) -> None:
    api = cloud.aws.boto("apigatewayv2").create_api(
        Name="sockets", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.type"
    )
    cloud.aws.boto("apigatewayv2").create_stage(ApiId=api["ApiId"], StageName="live")
    client = cloud.socket_client(
        f"{cloud.aws.environment['AWS_ENDPOINT_URL']}/_aws/execute-api/{api['ApiId']}/live"
    )
    try:
        sockets = GatewaySockets(room.connections, client)
        assert not await sockets.send("nobody's", "{}")
    finally:
        client.close()
