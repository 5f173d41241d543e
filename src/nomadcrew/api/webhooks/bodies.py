"""Bodies of webhooks: /v1/trips/{id}/webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from nomadcrew.core.clock import in_utc
from nomadcrew.core.events import HookedEvent
from nomadcrew.core.ids import DeliveryId
from nomadcrew.core.webhooks.model import (
    MAX_REDELIVERIES,
    MAX_URL,
    Delivery,
    Ended,
    Redelivery,
    Status,
    Webhook,
    WebhookChange,
)

Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL)]
Events = Annotated[list[HookedEvent], Meta(min_length=1, max_length=len(HookedEvent))]
Moment = Annotated[datetime, Meta(tz=True)]


class NewWebhookIn(Struct):
    """The receiver's https URL, and the types of events that it gets."""

    url: Url
    events: Events

    def __post_init__(self) -> None:
        self.events = list(dict.fromkeys(self.events))


class WebhookChangeIn(Struct):
    """Omitted fields stay unchanged. Enabling a webhook forgets its failures."""

    url: Url | None = None
    events: Events | None = None
    enabled: bool | None = None

    def to_change(self) -> WebhookChange:
        events = None if self.events is None else list(dict.fromkeys(self.events))
        return WebhookChange(self.url, events, self.enabled)


class WebhookView(Struct, rename="camel"):
    """A webhook. The server disables one whose receiver is `gone`, by a reply of 410, or `failing` for days."""

    id: UUID
    url: str
    events: list[HookedEvent]
    enabled: bool
    created_at: datetime
    disabled_reason: Ended | UnsetType = UNSET
    failing_since: datetime | UnsetType = UNSET


class CreatedWebhookView(WebhookView, kw_only=True):
    """A new webhook. `secret` verifies the signatures of its messages; it is shown this once."""

    secret: str


class WebhooksView(Struct):
    webhooks: list[WebhookView]


class DeliveryView(Struct, rename="camel"):
    """An event on its way to a webhook, with the receiver's status or the error of the last attempt."""

    id: UUID
    event_id: UUID
    event_type: str
    created_at: datetime
    status: Status
    attempts: int
    attempted_at: datetime | UnsetType = UNSET
    reply_status: int | UnsetType = UNSET
    error: str | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET


class DeliveriesView(Struct):
    deliveries: list[DeliveryView]


class RedeliveryIn(Struct, rename="camel"):
    """Some deliveries, or all that failed from `since` until `until`, which is excluded."""

    delivery_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_REDELIVERIES)] | None = None
    since: Moment | None = None
    until: Moment | None = None

    def __post_init__(self) -> None:
        has_span = self.since is not None and self.until is not None
        if (self.delivery_ids is not None) == has_span or (self.since is None) != (self.until is None):
            raise ValueError("send either `deliveryIds`, or `since` and `until`")

    def to_redelivery(self) -> Redelivery:
        return Redelivery(
            [DeliveryId(id_) for id_ in self.delivery_ids or ()],
            None if self.since is None else in_utc(self.since, "since"),
            None if self.until is None else in_utc(self.until, "until"),
        )


class RedeliveredView(Struct):
    """The number of deliveries that are attempted again. More may be left in a span if it is 100."""

    count: int


def webhook_view(webhook: Webhook) -> WebhookView:
    return WebhookView(
        webhook.id,
        webhook.url,
        [HookedEvent(type_) for type_ in webhook.events],
        webhook.is_enabled,
        webhook.created_at,
        webhook.disabled_reason or UNSET,
        webhook.failing_since or UNSET,
    )


def created_webhook_view(webhook: Webhook, secret: str) -> CreatedWebhookView:
    events = [HookedEvent(type_) for type_ in webhook.events]
    return CreatedWebhookView(webhook.id, webhook.url, events, True, webhook.created_at, secret=secret)


def deliveries_view(deliveries: Sequence[Delivery]) -> DeliveriesView:
    return DeliveriesView(
        [
            DeliveryView(
                each.id,
                each.event_id,
                each.event_type,
                each.created_at,
                each.status,
                each.attempts,
                each.attempted_at or UNSET,
                UNSET if each.reply_status is None else each.reply_status,
                each.error or UNSET,
                UNSET if each.duration_ms is None else each.duration_ms,
            )
            for each in deliveries
        ]
    )
