"""Trips' topics of IoT Core, as an MQTT client hears them."""

import json
from collections.abc import AsyncIterator
from queue import Empty, SimpleQueue
from typing import Any

import pytest_asyncio
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from rehearsal.running import Rehearsal
from tests.e2e.client import eventually
from tests.e2e.conftest import Register
from tests.rehearsal.account import client


class Listener:
    """An MQTT client over a WebSocket, as a phone has one."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self.heard: list[dict[str, Any]] = []
        self._arrived: SimpleQueue[bytes] = SimpleQueue()
        self._subscribed: SimpleQueue[bool] = SimpleQueue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "listener-phone", transport="websockets")
        self._client.ws_set_options(path="/mqtt", headers={"Host": address})
        self._client.on_message = lambda _client, _data, message: self._arrived.put(bytes(message.payload))
        self._client.on_subscribe = lambda *_: self._subscribed.put(True)
        self._client.connect(host, port)
        self._client.loop_start()

    async def subscribe(self, topic: str) -> None:
        self._client.subscribe(topic, qos=1)
        await eventually(self._acknowledged)

    async def hears(self) -> list[dict[str, Any]]:
        while True:
            try:
                self.heard.append(json.loads(self._arrived.get_nowait())["payload"])
            except Empty:
                return self.heard

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    async def _acknowledged(self) -> bool:
        return not self._subscribed.empty()


@pytest_asyncio.fixture(loop_scope="session")
async def listener(rehearsal: Rehearsal) -> AsyncIterator[Listener]:
    address = client(rehearsal, "iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    host, _, port = rehearsal.emulator.environment["AWS_ENDPOINT_URL"].rpartition("/")[2].partition(":")
    made = Listener(host, int(port), address)
    yield made
    made.close()


async def test_a_trips_updates_are_heard_by_who_subscribes_to_its_topic(
    listener: Listener, register: Register
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id, other_id = await ana.new_trip(), await ana.new_trip()
    await listener.subscribe(f"nc/rehearsal/trips/{trip_id}/updates")
    await ana.ask("PUT", f"/v1/trips/{other_id}", {"name": "Elsewhere"})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    await ana.bring(trip_id, ben)

    async def both() -> bool:
        return {event["type"] for event in await listener.hears()} >= {"TRIP_UPDATED", "MEMBER_ADDED"}

    await eventually(both)
    assert {event["tripId"] for event in listener.heard} == {trip_id}
    [update] = [event for event in listener.heard if event["type"] == "TRIP_UPDATED"]
    assert update["payload"]["name"] == "Porto, by boat"
