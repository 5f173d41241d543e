"""The trip topics of IoT Core, as an MQTT client receives them."""

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
from tests.rehearsal.sdk import client


class Listener:
    """An MQTT client over a WebSocket, as in a phone."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self.received: list[dict[str, Any]] = []
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

    async def receive(self) -> list[dict[str, Any]]:
        while True:
            try:
                self.received.append(json.loads(self._arrived.get_nowait())["payload"])
            except Empty:
                return self.received

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


async def test_a_subscriber_of_a_trip_topic_gets_the_events_of_that_trip_only(
    listener: Listener, register: Register
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id, other_id = await ana.new_trip(), await ana.new_trip()
    await listener.subscribe(f"nc/rehearsal/trips/{trip_id}/updates")
    await ana.ask("PUT", f"/v1/trips/{other_id}", {"name": "Elsewhere"})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    await ana.add_member(trip_id, ben)

    async def both() -> bool:
        return {event["type"] for event in await listener.receive()} >= {"TRIP_UPDATED", "MEMBER_ADDED"}

    await eventually(both)
    assert {event["tripId"] for event in listener.received} == {trip_id}
    [update] = [event for event in listener.received if event["type"] == "TRIP_UPDATED"]
    assert update["payload"]["name"] == "Porto, by boat"
