"""`Webhooks` over every driver."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.adapters.postgres.outbox import PostgresEventLog, PostgresOutbox
from nomadcrew.adapters.postgres.webhooks import PostgresWebhooks
from nomadcrew.core.access import Access, Command
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import DeliveryId, EventId, TripId, UserId, WebhookId, uuid7
from nomadcrew.core.permissions import ADMIN, Role
from nomadcrew.core.webhooks.model import (
    MAX_FAILING,
    MAX_WEBHOOKS,
    Ended,
    Order,
    Outcome,
    Redelivery,
    Status,
    TooManyWebhooks,
    Webhook,
    WebhookChange,
    WebhookDisabled,
    WebhookExists,
    WebhookNotFound,
)
from tests.contract.trip_database import TripDb
from tests.fakes import NOON, an_event

OK, BROKEN, GONE = Outcome(204, None, 5), Outcome(500, None, 5), Outcome(410, None, 5)
HOUR = timedelta(hours=1)


@pytest.fixture
def webhooks(db: TripDb) -> PostgresWebhooks:
    return PostgresWebhooks(db.pool)


class Trip:
    """A trip of ana with a webhook for new to-dos."""

    def __init__(self, db: TripDb, webhooks: PostgresWebhooks, ana: UserId, trip: TripId) -> None:
        self.db, self.webhooks, self.ana, self.id = db, webhooks, ana, trip
        self.access = Access(trip, ana, ADMIN)

    async def add(
        self, url: str = "https://hooks.example.org/", events: tuple[str, ...] = ("TODO_CREATED",)
    ) -> Webhook:
        webhook = Webhook(WebhookId(uuid7()), url, list(events), True, NOON)
        await self.webhooks.add(self.access, webhook)
        return webhook

    async def event(self, type_: str = "TODO_CREATED", **fields: Any) -> Event:
        event = an_event(id=EventId(uuid7()), type=type_, trip_id=self.id, actor_id=self.ana, **fields)
        await PostgresEventLog(self.db.pool).record([event])
        return event

    async def order(self, *, now: datetime = NOON) -> Order:
        [order] = await self.webhooks.open_deliveries(await self.event(), now=now)
        return order

    async def finish(
        self, order: Order, outcome: Outcome, *, failed: bool = False, now: datetime = NOON
    ) -> tuple[bool, bool]:
        return await self.webhooks.finish(
            order, outcome, failed=failed, failing_before=now - MAX_FAILING, event_id=EventId(uuid7()), now=now
        )

    async def only(self) -> Webhook:
        [webhook] = await self.webhooks.of(self.access)
        return webhook

    async def statuses(self, webhook: Webhook) -> list[Status]:
        log = await self.webhooks.log(self.access, webhook.id, limit=10, after=None)
        return [delivery.status for delivery in log]

    async def events(self, type_: str) -> list[str]:
        rows = await self.db.rows(
            "SELECT payload::text AS payload FROM outbox WHERE type = :type::text AND audience = 'internal'",
            type=type_,
        )
        return [row["payload"] for row in rows]


async def a_trip(db: TripDb, webhooks: PostgresWebhooks, name: str = "ana") -> Trip:
    ana = await db.user(name)
    return Trip(db, webhooks, ana, await db.trip(ana))


async def test_a_webhook_is_stored_changed_and_deleted(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    webhook = await trip.add()
    assert await trip.only() == webhook
    changed = await webhooks.change(
        trip.access, webhook.id, WebhookChange(events=["POLL_CLOSED"], is_enabled=False)
    )
    assert (changed.url, changed.events, changed.is_enabled) == (webhook.url, ["POLL_CLOSED"], False)
    assert await trip.only() == changed
    await webhooks.delete(trip.access, webhook.id)
    assert await webhooks.of(trip.access) == []
    with pytest.raises(WebhookNotFound):
        await webhooks.delete(trip.access, webhook.id)


async def test_a_url_is_one_webhook_of_a_trip(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip, other = await a_trip(db, webhooks), await a_trip(db, webhooks, "ben")
    results = await asyncio.gather(*(trip.add() for _ in range(3)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Webhook", "WebhookExists", "WebhookExists"]
    await other.add()
    second = await trip.add("https://hooks.example.org/two")
    with pytest.raises(WebhookExists):
        await webhooks.change(trip.access, second.id, WebhookChange(url="https://hooks.example.org/"))


async def test_concurrent_requests_do_not_exceed_the_number_of_webhooks(
    db: TripDb, webhooks: PostgresWebhooks
) -> None:
    trip = await a_trip(db, webhooks)
    urls = [f"https://hooks.example.org/{number}" for number in range(MAX_WEBHOOKS + 2)]
    results = await asyncio.gather(*(trip.add(url) for url in urls), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in refused] == [TooManyWebhooks] * 2


async def test_an_event_opens_a_delivery_for_each_webhook_that_wants_it(
    db: TripDb, webhooks: PostgresWebhooks
) -> None:
    trip, other = await a_trip(db, webhooks), await a_trip(db, webhooks, "ben")
    one, two = await trip.add(), await trip.add("https://two.example.org/")
    await trip.add("https://three.example.org/", ("POLL_CLOSED",))
    off = await trip.add("https://four.example.org/")
    await webhooks.change(trip.access, off.id, WebhookChange(is_enabled=False))
    await other.add()
    event = await trip.event()
    orders = await webhooks.open_deliveries(event, now=NOON)
    due = [await webhooks.due(order) for order in orders]
    assert {each.webhook_id for each in due if each is not None} == {one.id, two.id}
    assert all(each is not None and (each.event, each.is_enabled) == (event, True) for each in due)
    # A repeat opens nothing, and returns what is still pending.
    assert sorted(await webhooks.open_deliveries(event, now=NOON), key=str) == sorted(orders, key=str)
    await trip.finish(orders[0], OK)
    assert await webhooks.open_deliveries(event, now=NOON) == [orders[1]]
    assert await webhooks.due(orders[0]) is None


async def test_events_of_one_user_are_never_sent(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    await trip.add()
    personal = await trip.event(audience=Audience.USER, recipient_id=trip.ana)
    [order] = await webhooks.open_deliveries(personal, now=NOON)
    due = await webhooks.due(order)
    assert due is not None
    assert due.event is None


async def test_attempts_are_logged_until_one_succeeds(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    webhook, order = await trip.add(), await trip.order()
    assert await trip.finish(order, Outcome(None, "timeout", 15_000)) == (True, False)
    [delivery] = await webhooks.log(trip.access, webhook.id, limit=10, after=None)
    assert (delivery.status, delivery.attempts, delivery.error) == (Status.PENDING, 1, "timeout")
    assert (await trip.only()).failing_since == NOON
    assert await trip.finish(order, OK, now=NOON + HOUR) == (True, False)
    [delivery] = await webhooks.log(trip.access, webhook.id, limit=10, after=None)
    assert (delivery.status, delivery.attempts, delivery.error) == (Status.DELIVERED, 2, None)
    assert (delivery.reply_status, delivery.duration_ms, delivery.attempted_at) == (204, 5, NOON + HOUR)
    assert (await trip.only()).failing_since is None
    # An attempt that ends later, as after a repeat, changes nothing.
    await trip.finish(order, BROKEN, failed=True)
    assert await trip.statuses(webhook) == [Status.DELIVERED]


async def test_a_receiver_that_is_gone_ends_the_webhook_with_an_event(
    db: TripDb, webhooks: PostgresWebhooks
) -> None:
    trip = await a_trip(db, webhooks)
    webhook, order, later = await trip.add(), await trip.order(), await trip.order()
    assert await trip.finish(order, GONE, failed=True) == (False, True)
    ended = await trip.only()
    assert (ended.is_enabled, ended.disabled_reason) == (False, Ended.GONE)
    [payload] = await trip.events("webhook.disabled")
    assert str(webhook.id) in payload
    assert str(trip.ana) in payload
    due = await webhooks.due(later)
    assert due is not None
    assert not due.is_enabled
    assert await trip.finish(later, GONE, failed=True) == (False, False)
    again = await webhooks.change(trip.access, webhook.id, WebhookChange(is_enabled=True))
    assert (again.is_enabled, again.disabled_reason, again.failing_since) == (True, None, None)


@pytest.mark.parametrize(("after", "ends"), [(MAX_FAILING - HOUR, False), (MAX_FAILING, True)])
async def test_a_webhook_that_fails_for_days_ends(
    db: TripDb, webhooks: PostgresWebhooks, after: timedelta, ends: bool
) -> None:
    trip = await a_trip(db, webhooks)
    webhook, first, second = await trip.add(), await trip.order(), await trip.order()
    assert await trip.finish(first, BROKEN) == (True, False)
    assert await trip.finish(second, BROKEN, now=NOON + after) == (not ends, ends)
    assert (await trip.only()).disabled_reason == (Ended.FAILING if ends else None)
    assert (Status.FAILED in await trip.statuses(webhook)) == ends
    assert len(await trip.events("webhook.disabled")) == ends


async def test_the_owner_is_told_if_the_creator_has_left(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip, ben = await a_trip(db, webhooks), await db.user("ben")
    await db.join(trip.id, ben, trip.ana, Role.ADMIN)
    webhook = Webhook(WebhookId(uuid7()), "https://hooks.example.org/", ["TODO_CREATED"], True, NOON)
    await webhooks.add(Access(trip.id, ben, ADMIN), webhook)
    await db.run("UPDATE trip_memberships SET status = 'INACTIVE' WHERE user_id = :id::uuid", id=ben)
    await trip.finish(await trip.order(), GONE, failed=True)
    [payload] = await trip.events("webhook.disabled")
    assert str(trip.ana) in payload


async def redeliver(trip: Trip, webhook: Webhook, **which: Any) -> int:
    command = Command(trip.id, trip.ana, ADMIN, EventId(uuid7()), NOON)
    return await trip.webhooks.redeliver(command, webhook.id, Redelivery(**which))


async def test_chosen_deliveries_are_attempted_again_in_a_new_round(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    webhook, order, pending = await trip.add(), await trip.order(), await trip.order()
    await trip.finish(order, OK)
    chosen = [order.delivery, pending.delivery, DeliveryId(uuid7())]
    assert await redeliver(trip, webhook, deliveries=chosen) == 1
    [payload] = await trip.events("webhook.redelivery_requested")
    assert str(order.delivery) in payload
    assert str(pending.delivery) not in payload
    assert await webhooks.due(order) is None
    assert await webhooks.due(Order(order.delivery, 1)) is not None
    assert await redeliver(trip, webhook, deliveries=chosen) == 0
    assert len(await trip.events("webhook.redelivery_requested")) == 1


async def test_deliveries_that_failed_in_a_span_are_attempted_again(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    webhook = await trip.add()
    orders = [await trip.order(now=NOON + hours * HOUR) for hours in range(4)]
    for order, outcome in zip(orders, (BROKEN, BROKEN, OK, BROKEN), strict=True):
        await trip.finish(order, outcome, failed=True)
    assert await redeliver(trip, webhook, since=NOON + HOUR, until=NOON + 3 * HOUR) == 1
    assert await trip.statuses(webhook) == [Status.FAILED, Status.DELIVERED, Status.PENDING, Status.FAILED]


async def test_a_disabled_webhook_is_not_attempted_again(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    webhook, order = await trip.add(), await trip.order()
    await trip.finish(order, GONE, failed=True)
    with pytest.raises(WebhookDisabled):
        await redeliver(trip, webhook, deliveries=[order.delivery])
    with pytest.raises(WebhookNotFound):
        await trip.webhooks.redeliver(
            Command(trip.id, trip.ana, ADMIN, EventId(uuid7()), NOON), WebhookId(uuid7()), Redelivery()
        )


async def test_an_event_that_is_no_longer_stored_cannot_be_sent(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    await trip.add()
    order = await trip.order()
    await db.run("DELETE FROM outbox")
    due = await webhooks.due(order)
    assert due is not None
    assert due.event is None


async def test_a_webhook_of_another_trip_is_not_found(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip, other = await a_trip(db, webhooks), await a_trip(db, webhooks, "ben")
    webhook = await trip.add()
    for attempt in (
        webhooks.change(other.access, webhook.id, WebhookChange(is_enabled=False)),
        webhooks.delete(other.access, webhook.id),
        webhooks.log(other.access, webhook.id, limit=1, after=None),
        webhooks.change(other.access, WebhookId(UUID(int=1)), WebhookChange()),
    ):
        with pytest.raises(WebhookNotFound):
            await attempt


async def test_only_events_for_webhooks_of_their_trip_get_jobs(db: TripDb, webhooks: PostgresWebhooks) -> None:
    trip = await a_trip(db, webhooks)
    outbox = PostgresOutbox(db.pool)
    await outbox.publish(limit=100, now=NOON)

    async def queued() -> int:
        """Publish a new to-do's event; returns the jobs in the queue of webhooks."""
        await db.run(
            "INSERT INTO outbox (id, type, source, trip_id, audience, occurred_at, payload)"
            " VALUES (:id::uuid, 'TODO_CREATED', 'todo_model', :trip::uuid, 'trip', :now::timestamptz, '{}')",
            id=uuid7(), trip=trip.id, now=NOON,
        )  # fmt: skip
        await outbox.publish(limit=100, now=NOON)
        [row] = await db.rows("SELECT count(*) AS count FROM queue_jobs WHERE queue = 'webhooks'")
        return int(row["count"])

    assert await queued() == 0
    webhook = await trip.add(events=("POLL_CLOSED",))
    assert await queued() == 0
    await webhooks.change(trip.access, webhook.id, WebhookChange(events=["TODO_CREATED"]))
    assert await queued() == 1
    await webhooks.change(trip.access, webhook.id, WebhookChange(is_enabled=False))
    assert await queued() == 1
