"""Webhooks and their deliveries on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, gate, json_param, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.events import Event
from nomadcrew.core.ids import DeliveryId, EventId, WebhookId
from nomadcrew.core.pages import After
from nomadcrew.core.webhooks.model import (
    MAX_REDELIVERIES,
    MAX_WEBHOOKS,
    Delivery,
    DueDelivery,
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

_SQL = statements("webhooks")
_ALSO: Refusals = {
    "webhook_not_found": WebhookNotFound,
    "webhook_exists": WebhookExists,
    "webhook_disabled": WebhookDisabled,
    "too_many_webhooks": TooManyWebhooks,
}
_events = msgspec.json.Decoder(list[str]).decode


class PostgresWebhooks:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(self, access: Access, webhook: Webhook) -> None:
        [row] = await self._sql.fetch(
            _SQL["add"],
            **gate(access),
            id=webhook.id,
            url=webhook.url,
            events=json_param(webhook.events),
            max_webhooks=MAX_WEBHOOKS,
            now=webhook.created_at,
        )
        raise_for_verdict(row["verdict"], also=_ALSO)

    async def of(self, access: Access) -> Sequence[Webhook]:
        rows = await self._sql.fetch(_SQL["of"], **gate(access), limit=MAX_WEBHOOKS)
        raise_for_verdict(rows[0]["verdict"])
        return [_webhook(row) for row in rows if row["id"] is not None]

    async def change(self, access: Access, webhook_id: WebhookId, change: WebhookChange) -> Webhook:
        [row] = await self._sql.fetch(
            _SQL["change"],
            **gate(access),
            id=webhook_id,
            url=change.url,
            events=None if change.events is None else json_param(change.events),
            is_enabled=change.is_enabled,
        )
        raise_for_verdict(row["verdict"], also=_ALSO)
        return _webhook(row)

    async def delete(self, access: Access, webhook_id: WebhookId) -> None:
        [row] = await self._sql.fetch(_SQL["delete"], **gate(access), id=webhook_id)
        raise_for_verdict(row["verdict"], also=_ALSO)

    async def log(
        self, access: Access, webhook_id: WebhookId, *, limit: int, after: After | None
    ) -> Sequence[Delivery]:
        rows = await self._sql.fetch(
            _SQL["log"], **gate(access), id=webhook_id, limit=limit, **after_columns(after)
        )
        raise_for_verdict(rows[0]["verdict"], also=_ALSO)
        return [_delivery(row) for row in rows if row["id"] is not None]

    async def redeliver(self, command: Command, webhook_id: WebhookId, redelivery: Redelivery) -> int:
        [row] = await self._sql.fetch(
            _SQL["redeliver"],
            **gate(command),
            id=webhook_id,
            deliveries=json_param(redelivery.deliveries),
            since=redelivery.since,
            until=redelivery.until,
            limit=MAX_REDELIVERIES,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"], also=_ALSO)
        return int(row["count"])

    async def open_deliveries(self, event: Event, *, now: datetime) -> Sequence[Order]:
        rows = await self._sql.fetch(
            _SQL["open"], trip_id=event.trip_id, event_id=event.id, type=event.type, now=now
        )
        return [Order(DeliveryId(row["id"]), row["round"]) for row in rows]

    async def due(self, order: Order) -> DueDelivery | None:
        rows = await self._sql.fetch(_SQL["due"], id=order.delivery, round=order.round)
        if not rows:
            return None
        row = rows[0]
        event = None if row["id"] is None else Event(*(row[name] for name in _EVENT))
        return DueDelivery(
            DeliveryId(row["delivery_id"]), WebhookId(row["webhook_id"]), row["url"], row["is_enabled"], event
        )

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
        status = Status.DELIVERED if outcome.is_delivered else Status.FAILED if failed else Status.PENDING
        [row] = await self._sql.fetch(
            _SQL["finish"],
            id=order.delivery,
            round=order.round,
            status=status,
            is_gone=outcome.is_gone,
            reply_status=outcome.status,
            error=outcome.error,
            duration_ms=outcome.duration_ms,
            failing_before=failing_before,
            event_id=event_id,
            now=now,
        )
        return row["is_enabled"], row["has_event"]


_EVENT = ("id", "type", "source", "trip_id", "actor_id", "recipient_id", "audience", "occurred_at", "payload")


def _webhook(row: Row) -> Webhook:
    reason = row["disabled_reason"]
    return Webhook(
        WebhookId(row["id"]),
        row["url"],
        _events(row["events"]),
        row["is_enabled"],
        row["created_at"],
        None if reason is None else Ended(reason),
        row["failing_since"],
    )


def _delivery(row: Row) -> Delivery:
    return Delivery(
        DeliveryId(row["id"]),
        EventId(row["event_id"]),
        row["event_type"],
        row["created_at"],
        Status(row["status"]),
        row["attempts"],
        row["attempted_at"],
        row["reply_status"],
        row["error"],
        row["duration_ms"],
    )
