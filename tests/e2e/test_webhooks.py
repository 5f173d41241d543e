"""Webhooks of trips, as a receiver gets them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.client import Api, User, eventually
from tests.e2e.conftest import Register
from tests.e2e.server import Server
from tests.webhook_receiver import WebhookReceiver, webhook_receiver

RETRY_S = 45.0  # the first attempt is repeated after five seconds


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as running:
        yield running


class Hook:
    """A webhook of a user's new trip."""

    def __init__(self, ana: User, trip_id: str, made: dict[str, Any]) -> None:
        self.ana, self.trip_id, self.made = ana, trip_id, made
        self.path = f"/v1/trips/{trip_id}/webhooks/{made['id']}"

    @classmethod
    async def new(cls, ana: User, url: str, *events: str) -> "Hook":
        trip_id = await ana.new_trip()
        body = {"url": url, "events": events or ["TODO_CREATED"]}
        return cls(ana, trip_id, await ana.ask("POST", f"/v1/trips/{trip_id}/webhooks", body, status=201))

    async def deliveries(self) -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = (await self.ana.ask("GET", f"{self.path}/deliveries"))["deliveries"]
        return log

    async def logged(self, *, within_s: float = RETRY_S, **fields: Any) -> dict[str, Any]:
        """The only delivery, once it has these fields."""

        async def found() -> list[dict[str, Any]]:
            return [each for each in await self.deliveries() if each | fields == each]

        [delivery] = await eventually(found, within_s=within_s)
        return delivery


def signature(secret: str, id_: str, timestamp: str, body: bytes) -> str:
    """Computed anew from the scheme: `v1,` and the base64 of the HMAC over `id.timestamp.body`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return (
        "v1,"
        + base64.b64encode(hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()
    )


async def test_a_receiver_gets_chosen_events_signed_with_its_secret(
    register: Register, receiver: WebhookReceiver
) -> None:
    hook = await Hook.new(await register("ana"), f"{receiver.url}/in", "TODO_CREATED", "CHAT_MESSAGE_SENT")
    await hook.ana.ask("PUT", f"/v1/trips/{hook.trip_id}", {"name": "Lisbon"})  # not chosen
    todo = await hook.ana.new_todo(hook.trip_id, "pack")
    await hook.ana.ask("POST", f"/v1/trips/{hook.trip_id}/chat/messages", {"message": "ready"}, status=201)

    async def both() -> bool:
        return len(receiver.got) == 2

    await eventually(both)
    assert hook.made["secret"].startswith("whsec_")
    bodies = {}
    for path, headers, body in receiver.got:
        id_, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        assert headers["webhook-signature"] == signature(hook.made["secret"], id_, timestamp, body)
        assert (path, headers["content-type"]) == ("/in", "application/json")
        assert abs(time.time() - int(timestamp)) < 60
        message = json.loads(body)
        assert message.keys() == {"type", "timestamp", "data"}
        assert message["data"]["id"] == id_
        assert message["data"]["tripId"] == hook.trip_id
        bodies[message["type"]] = message["data"]["payload"]
    assert bodies.keys() == {"TODO_CREATED", "CHAT_MESSAGE_SENT"}
    assert bodies["TODO_CREATED"]["id"] == todo["id"]
    assert "secret" not in str(await hook.ana.ask("GET", f"/v1/trips/{hook.trip_id}/webhooks"))


async def test_an_event_is_sent_again_after_a_failure(register: Register, receiver: WebhookReceiver) -> None:
    receiver.statuses = [500]
    hook = await Hook.new(await register("ana"), receiver.url)
    await hook.ana.new_todo(hook.trip_id, "pack")
    delivery = await hook.logged(status="delivered", attempts=2, replyStatus=204)
    assert receiver.ids() == [delivery["eventId"]] * 2


async def test_a_redirect_is_a_failure_and_is_not_followed(register: Register, receiver: WebhookReceiver) -> None:
    receiver.statuses = [302] * 20
    hook = await Hook.new(await register("ana"), receiver.url)
    await hook.ana.new_todo(hook.trip_id, "pack")
    await hook.logged(status="pending", replyStatus=302)
    assert {path for path, _, _ in receiver.got} == {"/"}
    await hook.ana.ask("DELETE", hook.path, status=204)


async def test_a_receiver_that_is_gone_ends_its_webhook_and_an_admin_is_notified(
    register: Register, receiver: WebhookReceiver
) -> None:
    receiver.statuses = [410]
    hook = await Hook.new(await register("ana"), receiver.url)
    await hook.ana.new_todo(hook.trip_id, "pack")
    await hook.logged(status="failed", replyStatus=410)
    [webhook] = (await hook.ana.ask("GET", f"/v1/trips/{hook.trip_id}/webhooks"))["webhooks"]
    assert (webhook["enabled"], webhook["disabledReason"]) == (False, "gone")

    async def notified() -> bool:
        listed = await hook.ana.ask("GET", "/v1/notifications")
        return any(each["metadata"].get("webhookID") == hook.made["id"] for each in listed)

    await eventually(notified)
    # Once it is enabled again, it also gets what is delivered again on request.
    await hook.ana.ask("PUT", hook.path, {"enabled": True})
    [failed] = await hook.deliveries()
    wanted = {"deliveryIds": [failed["id"]]}
    assert (await hook.ana.ask("POST", f"{hook.path}/deliveries:redeliver", wanted, status=202)) == {"count": 1}
    await hook.logged(status="delivered")
    assert receiver.ids() == [failed["eventId"]] * 2


async def test_a_webhook_cannot_lead_into_a_network(register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    for url in (
        "https://10.0.0.1/",
        "http://169.254.169.254/latest",
        "https://[::ffff:192.168.1.1]/",
        "ftp://a.example/",
    ):
        refused = await ana.send("POST", f"/v1/trips/{trip_id}/webhooks", {"url": url, "events": ["TODO_CREATED"]})
        assert (refused.status_code, refused.json()["code"]) == (400, "webhook_url_refused"), url


@pytest.mark.one_machine("the setting of its networks is that of another server")
async def test_a_name_that_leads_to_the_machine_of_the_server_receives_nothing(receiver: WebhookReceiver) -> None:
    async with Server(NOMADCREW_RATE_LIMITS="off") as server:
        api = Api(server.url)
        ana = await api.register("ana")
        hook = await Hook.new(ana, receiver.url.replace("http://127.0.0.1", "https://localhost"))
        await ana.new_todo(hook.trip_id, "pack")
        await hook.logged(status="pending", error="address_refused", within_s=20)
        await api.close()
        assert await server.stop() == 0
    assert receiver.got == []
