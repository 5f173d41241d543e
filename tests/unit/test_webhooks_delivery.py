"""The attempts of a delivery, and the signature of a message."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.adapters.webhook_secrets import KeyedWebhookSecrets
from nomadcrew.api.webhooks.consumer import body_of
from nomadcrew.core.events import CONSUMERS, HOOKED
from nomadcrew.core.ids import DeliveryId, EventId, WebhookId
from nomadcrew.core.queues import backoff_s, retry_policy
from nomadcrew.core.webhooks.delivery import deliver
from nomadcrew.core.webhooks.model import MAX_FAILING, DueDelivery, NotDelivered, Order, Outcome
from nomadcrew.core.webhooks.signing import secret_text, signed_headers
from tests.fakes import NOON, SetClock, an_event

EVENT = an_event(id=EventId(UUID(int=7)), payload='{"text":"pack"}')
ORDER = Order(DeliveryId(UUID(int=1)), 2)
WEBHOOK = WebhookId(UUID(int=3))
SECRETS = KeyedWebhookSecrets(lambda: [b"new key", b"old key"])


@dataclass
class Log:
    """`Webhooks` with one delivery, and what was stored of it."""

    due_delivery: DueDelivery | None
    is_enabled: bool = True
    has_event: bool = False
    finished: list[tuple[Outcome, bool, datetime]] = field(default_factory=list)

    async def due(self, order: Order) -> DueDelivery | None:
        assert order == ORDER
        return self.due_delivery

    async def finish(
        self,
        order: Order,
        outcome: Outcome,
        *,
        failed: bool,
        failing_before: datetime,
        event_id: EventId,
        now: datetime,
    ) -> tuple[bool, bool]:
        self.finished.append((outcome, failed, failing_before))
        return self.is_enabled, self.has_event


@dataclass
class Receiver:
    """`WebhookSender` to a receiver that answers with `outcome`."""

    outcome: Outcome
    got: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.got.append((url, body, headers))
        return self.outcome


def a_delivery(*, is_enabled: bool = True, event: Any = EVENT) -> DueDelivery:
    return DueDelivery(ORDER.delivery, WEBHOOK, "https://hooks.example.org/", is_enabled, event)


async def attempt(log: Log, receiver: Receiver, *, is_last: bool = False) -> bool:
    return await deliver(
        ORDER, is_last=is_last, webhooks=log, sender=receiver, secrets=SECRETS,  # type: ignore[arg-type]
        body_of=body_of, clock=SetClock(NOON),
    )  # fmt: skip


async def test_a_message_is_signed_with_each_secret_over_id_time_and_body() -> None:
    receiver = Receiver(Outcome(204, None, 3))
    assert not await attempt(Log(a_delivery()), receiver)
    [(url, body, headers)] = receiver.got
    assert url == "https://hooks.example.org/"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (str(EVENT.id), str(int(NOON.timestamp())))
    assert body == (
        b'{"type":"TODO_CREATED","timestamp":"2026-07-01T12:00:00Z","data":{"id":"%s","type":"TODO_CREATED",'
        b'"tripId":"","timestamp":"2026-07-01T12:00:00Z","version":1,"metadata":{"source":"todo_model"},'
        b'"payload":{"text":"pack"},"userId":"%s"}}' % (str(EVENT.id).encode(), str(EVENT.actor_id).encode())
    )
    signed = f"{EVENT.id}.{int(NOON.timestamp())}.".encode() + body
    keys = [hmac.digest(key, b"webhook " + WEBHOOK.bytes, hashlib.sha256) for key in (b"new key", b"old key")]
    assert headers["webhook-signature"] == " ".join(
        "v1," + base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode() for key in keys
    )


def test_the_signature_is_that_of_the_scheme() -> None:
    """The example of the specification's reference libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert secret_text(key) == secret
    body = b'{"test": 2432232314}'
    when = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", body, [key], now=when)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("outcome", [Outcome(500, None, 3), Outcome(302, None, 3), Outcome(None, "timeout", 3)])
async def test_a_failed_attempt_is_repeated(outcome: Outcome) -> None:
    log = Log(a_delivery())
    with pytest.raises(NotDelivered):
        await attempt(log, Receiver(outcome))
    assert log.finished == [(outcome, False, NOON - MAX_FAILING)]


async def test_the_last_attempt_is_a_dead_letter() -> None:
    log = Log(a_delivery())
    with pytest.raises(NotDelivered):
        await attempt(log, Receiver(Outcome(500, None, 3)), is_last=True)
    assert [failed for _, failed, _ in log.finished] == [True]


async def test_a_webhook_that_ends_is_not_attempted_again() -> None:
    log = Log(a_delivery(), is_enabled=False, has_event=True)
    assert await attempt(log, Receiver(Outcome(410, None, 3)))
    assert [failed for _, failed, _ in log.finished] == [True]


@pytest.mark.parametrize(
    ("due", "error"),
    [(a_delivery(is_enabled=False), "webhook_disabled"), (a_delivery(event=None), "event_expired")],
)
async def test_a_delivery_without_webhook_or_event_ends(due: DueDelivery, error: str) -> None:
    log, receiver = Log(due), Receiver(Outcome(200, None, 3))
    assert not await attempt(log, receiver)
    assert receiver.got == []
    assert [(outcome.error, failed) for outcome, failed, _ in log.finished] == [(error, True)]


async def test_an_order_that_is_done_has_no_effect() -> None:
    log, receiver = Log(None), Receiver(Outcome(200, None, 3))
    assert not await attempt(log, receiver)
    assert (log.finished, receiver.got) == ([], [])


def test_attempts_end_after_a_day() -> None:
    attempts = retry_policy("webhooks").attempts
    waits: Sequence[int] = [backoff_s(attempt, "webhooks") for attempt in range(1, attempts)]
    assert waits[0] <= 10
    assert 24 * 3600 <= sum(waits) <= 30 * 3600
    assert max(waits) < 12 * 3600  # SQS hides a message no longer


def test_no_event_of_positions_or_of_one_user_reaches_a_webhook() -> None:
    assert not any("LOCATION" in type_ or "ARRIVED" in type_ or "." in type_ for type_ in HOOKED)
    assert not HOOKED & {"TRIP_INVITATION_CREATED", "CHAT_READ_RECEIPT"}
    assert not any("webhooks" in queues for type_, queues in CONSUMERS.items() if type_ in HOOKED)
