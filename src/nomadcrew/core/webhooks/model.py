"""Webhooks, their deliveries, and their limits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from nomadcrew.core.errors import Conflict, Invalid, NotFound, Unavailable
from nomadcrew.core.events import Event
from nomadcrew.core.ids import DeliveryId, EventId, WebhookId

MAX_WEBHOOKS = 5  # of a trip
MAX_URL = 1000
MAX_REDELIVERIES = 100  # of a request
# A webhook that has only failed for this long is disabled.
MAX_FAILING = timedelta(days=3)


class Ended(StrEnum):
    """The reason for which the server disabled a webhook."""

    GONE = "gone"  # the receiver answered 410
    FAILING = "failing"


class Webhook(Struct, frozen=True):
    """A webhook. `failing_since` is the first failure since the last success."""

    id: WebhookId
    url: str
    events: Sequence[str]
    is_enabled: bool
    created_at: datetime
    disabled_reason: Ended | None = None
    failing_since: datetime | None = None


class WebhookChange(Struct, frozen=True):
    """New values; None leaves a field as it is."""

    url: str | None = None
    events: Sequence[str] | None = None
    is_enabled: bool | None = None


class Status(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(Struct, frozen=True):
    """A line of a webhook's delivery log. `error` is a code, without anything that the receiver sent."""

    id: DeliveryId
    event_id: EventId
    event_type: str
    created_at: datetime
    status: Status
    attempts: int
    attempted_at: datetime | None
    reply_status: int | None
    error: str | None
    duration_ms: int | None


class Order(Struct, frozen=True):
    """A job: the delivery to attempt, in a round of attempts. Orders of earlier rounds have no effect."""

    delivery: DeliveryId
    round: int


class DueDelivery(Struct, frozen=True):
    """A delivery to attempt. `event` is None once the event is no longer stored."""

    id: DeliveryId
    webhook_id: WebhookId
    url: str
    is_enabled: bool
    event: Event | None


class Outcome(Struct, frozen=True):
    """The result of an attempt: the receiver's status, or the code of an error."""

    status: int | None
    error: str | None
    duration_ms: int

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == 410


class Redelivery(Struct, frozen=True):
    """The deliveries to repeat: those with these ids, or those that failed in a span of time."""

    deliveries: Sequence[DeliveryId] = ()
    since: datetime | None = None
    until: datetime | None = None


class WebhookNotFound(NotFound):
    def __init__(self) -> None:
        super().__init__("webhook", code="webhook_not_found")


class WebhookExists(Conflict):
    code = "webhook_exists"
    text = "The trip has a webhook with this URL."


class TooManyWebhooks(Conflict):
    code = "too_many_webhooks"
    text = f"A trip has at most {MAX_WEBHOOKS} webhooks."


class WebhookDisabled(Conflict):
    code = "webhook_disabled"
    text = "The webhook is disabled. Enable it first."


class UrlRefused(Invalid):
    code = "webhook_url_refused"
    text = "`url` must be an https URL of a public server, without user and fragment."


class NotDelivered(Unavailable):
    """A receiver did not take an event; the queue attempts it again."""
