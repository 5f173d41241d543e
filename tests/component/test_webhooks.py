"""Webhooks of trips: requests, and the consumer of their queue."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.webhook_secrets import KeyedWebhookSecrets
from nomadcrew.api.webhooks.consumer import consume_webhook
from nomadcrew.core.events import WEBHOOKS, Audience, Event
from nomadcrew.core.ids import EventId, TripId, WebhookId
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import retry_policy
from nomadcrew.core.webhooks.model import NotDelivered, Outcome
from nomadcrew.wire.events import NotAnEvent, pack
from tests.component.test_api_keys import key_of
from tests.world import User, World

NEW = {"url": "https://hooks.example.org/in", "events": ["TODO_CREATED"]}


@dataclass
class Receiver:
    """`WebhookSender` to a receiver that answers with `statuses`, then 204."""

    statuses: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.ids.append(headers["webhook-id"])
        return Outcome(self.statuses.pop(0) if self.statuses else 204, None, 7)


@dataclass
class Crew:
    here: World
    ana: User
    trip: UUID
    ports: Ports
    receiver: Receiver

    @property
    def path(self) -> str:
        return f"/v1/trips/{self.trip}/webhooks"

    async def webhook(self, **fields: Any) -> dict[str, Any]:
        reply = await self.here.call("POST", self.path, by=self.ana, body=NEW | fields)
        assert reply.status == 201, reply.body
        return dict(reply.json)

    async def happen(self) -> EventId:
        """Store the event of a new to-do, and queue it."""
        id_ = EventId(self.ports.new_id())
        event = Event(
            id_, "TODO_CREATED", "todo_model", TripId(self.trip), self.ana.id, None, Audience.TRIP,
            self.here.clock(), "{}",
        )  # fmt: skip
        await self.ports.events.record([event])
        await self.ports.queue.send(WEBHOOKS, pack(event))
        return id_

    async def work(self) -> list[str]:
        """Consume what is in the queue now; returns the names of the errors."""
        errors = []
        for job in await self.ports.queue.receive(WEBHOOKS, limit=10, visibility_s=60):
            try:
                await consume_webhook(job, self.ports)
            except NotDelivered as error:
                errors.append(type(error).__name__)
                await self.ports.queue.fail(job, "NotDelivered")
            else:
                await self.ports.queue.ack(job)
        return errors

    async def log(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        reply = await self.here.call("GET", f"{self.path}/{webhook['id']}/deliveries", by=self.ana)
        return list(reply.json["deliveries"])


@pytest.fixture
async def crew(here: World) -> Crew:
    ana, receiver = await here.user("ana"), Receiver()
    return Crew(here, ana, await here.trip(ana), replace(here.ports, webhook_sender=receiver), receiver)


async def test_an_event_is_delivered_however_often_its_job_comes(crew: Crew) -> None:
    webhook, event_id = await crew.webhook(), await crew.happen()
    [job] = await crew.ports.queue.receive(WEBHOOKS, limit=10, visibility_s=60)
    for _ in range(2):
        await consume_webhook(job, crew.ports)
    await crew.ports.queue.ack(job)
    assert await crew.work() == []
    await consume_webhook(job, crew.ports)
    assert await crew.work() == []
    assert crew.receiver.ids == [str(event_id)]
    [delivery] = await crew.log(webhook)
    assert (delivery["status"], delivery["attempts"], delivery["replyStatus"]) == ("delivered", 1, 204)


async def test_a_receiver_that_fails_for_a_day_leaves_a_dead_letter_and_gets_the_event_on_request(
    crew: Crew,
) -> None:
    attempts = retry_policy(WEBHOOKS).attempts
    crew.receiver.statuses = [503] * attempts
    webhook, event_id = await crew.webhook(), await crew.happen()
    assert await crew.work() == []
    for _ in range(attempts):
        assert await crew.work() == ["NotDelivered"]
        crew.here.clock.advance(6 * 3600)
    assert await crew.work() == []
    assert len(await crew.ports.queue.dead(WEBHOOKS, limit=5)) == 1
    token = await crew.here.token(crew.ana.id, "ana")  # the first one has expired
    crew.ana = User(crew.ana.id, "", "ana", token)
    [delivery] = await crew.log(webhook)
    assert (delivery["status"], delivery["attempts"], delivery["replyStatus"]) == ("failed", attempts, 503)

    body = {"since": "2026-11-22T00:00:00Z", "until": "2026-11-23T00:00:00Z"}
    path = f"{crew.path}/{webhook['id']}/deliveries:redeliver"
    assert (await crew.here.call("POST", path, by=crew.ana, body=body)).json == {"count": 1}
    async with crew.here.pool.connection() as connection:
        [row] = await connection.fetch(
            "SELECT id, payload::text FROM outbox WHERE type = 'webhook.redelivery_requested'"
        )
    request = Event(
        EventId(row[0]), "webhook.redelivery_requested", "trip-management-service", TripId(crew.trip), crew.ana.id,
        None, Audience.INTERNAL, crew.here.clock(), row[1],
    )  # fmt: skip
    await crew.ports.queue.send(WEBHOOKS, pack(request))
    assert [await crew.work(), await crew.work()] == [[], []]
    assert crew.receiver.ids == [str(event_id)] * (attempts + 1)
    assert [each["status"] for each in await crew.log(webhook)] == ["delivered"]


async def test_a_message_that_is_neither_order_nor_event_fails_for_good(crew: Crew) -> None:
    await crew.ports.queue.send(WEBHOOKS, '{"a":1}')
    [job] = await crew.ports.queue.receive(WEBHOOKS, limit=1, visibility_s=60)
    with pytest.raises(NotAnEvent):
        await consume_webhook(job, crew.ports)


async def test_the_secret_is_derived_and_shown_once(crew: Crew) -> None:
    webhook = await crew.webhook()
    [secret] = crew.ports.webhook_secrets.secrets_of(WebhookId(UUID(webhook["id"])))
    assert base64.b64decode(webhook["secret"].removeprefix("whsec_")) == secret
    assert len(secret) == 32
    other = await crew.webhook(url="https://hooks.example.org/other")
    assert other["secret"] != webhook["secret"]
    listed = await crew.here.call("GET", crew.path, by=crew.ana)
    assert b"whsec_" not in listed.body
    async with crew.here.pool.connection() as connection:
        rows = await connection.fetch("SELECT w::text FROM webhooks w")
    assert secret.hex() not in str(rows)


def test_a_rotated_key_gives_another_secret_beside_the_old_one() -> None:
    webhook = WebhookId(UUID(int=1))
    old = KeyedWebhookSecrets(lambda: [b"a"]).secrets_of(webhook)
    new = KeyedWebhookSecrets(lambda: [b"b", b"a"]).secrets_of(webhook)
    assert new[1:] == old
    assert new[0] != old[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://hooks.example.org/"},
        {"url": "https://127.0.0.1/"},
        {"events": []},
        {"events": ["MEMBER_ARRIVED"]},
        {"events": ["LOCATION_SHARING_CHANGED"]},
        {"events": ["webhook.disabled"]},
    ],
    ids=str,
)
async def test_an_invalid_webhook_is_refused(crew: Crew, fields: dict[str, Any]) -> None:
    refused = await crew.here.call("POST", crew.path, by=crew.ana, body=NEW | fields)
    assert refused.status == 400
    webhook = await crew.webhook()
    changed = await crew.here.call("PUT", f"{crew.path}/{webhook['id']}", by=crew.ana, body=fields)
    assert changed.status == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"since": "2026-11-22T00:00:00Z"},
        {"deliveryIds": []},
        {"deliveryIds": [str(UUID(int=1))], "until": "2026-11-22T00:00:00Z"},
        {"deliveryIds": [str(UUID(int=1))], "since": "2026-11-22T00:00:00Z", "until": "2026-11-23T00:00:00Z"},
    ],
    ids=json.dumps,
)
async def test_a_redelivery_is_of_some_deliveries_or_of_a_span(crew: Crew, body: dict[str, Any]) -> None:
    path = f"{crew.path}/{(await crew.webhook())['id']}/deliveries:redeliver"
    assert (await crew.here.call("POST", path, by=crew.ana, body=body)).status == 400


async def test_the_log_is_read_in_pages(crew: Crew) -> None:
    webhook = await crew.webhook()
    events = []
    for _ in range(5):
        events.append(str(await crew.happen()))
        await crew.work()
        crew.here.clock.advance(1)
    seen: list[str] = []
    path = f"{crew.path}/{webhook['id']}/deliveries?limit=2"
    while path:
        reply = await crew.here.call("GET", path, by=crew.ana)
        seen += [each["eventId"] for each in reply.json["deliveries"]]
        path = reply.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert seen == events[::-1]


async def test_an_api_key_neither_creates_a_webhook_nor_leads_one_elsewhere(crew: Crew) -> None:
    key = await key_of(crew.here, crew.ana, tripIds=[str(crew.trip)])
    webhook = await crew.webhook()
    for method, path in (("POST", crew.path), ("PUT", f"{crew.path}/{webhook['id']}")):
        refused = await crew.here.call(method, path, by=key, body=NEW)
        assert (refused.status, refused.code) == (403, "api_key_not_accepted")
    assert (await crew.here.call("GET", crew.path, by=key)).status == 200
