"""Ports of webhooks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId, WebhookId
from nomadcrew.core.pages import After
from nomadcrew.core.webhooks.model import Delivery, DueDelivery, Order, Outcome, Redelivery, Webhook, WebhookChange


class Webhooks(Protocol):
    """Webhooks of trips. Requests raise the refusals of `trip_gate`."""

    async def add(self, access: Access, webhook: Webhook) -> None:
        """Store a webhook.

        Raises:
            WebhookExists: the trip has a webhook with this URL.
            TooManyWebhooks: the trip has `MAX_WEBHOOKS`.
        """
        ...

    async def of(self, access: Access) -> Sequence[Webhook]:
        """The webhooks of a trip, newest first."""
        ...

    async def change(self, access: Access, webhook_id: WebhookId, change: WebhookChange) -> Webhook:
        """Change a webhook; enabling it forgets its failures.

        Raises:
            WebhookNotFound: the trip has no such webhook.
            WebhookExists: another one of the trip has the new URL.
        """
        ...

    async def delete(self, access: Access, webhook_id: WebhookId) -> None:
        """Delete a webhook with its log.

        Raises:
            WebhookNotFound: the trip has no such webhook.
        """
        ...

    async def log(
        self, access: Access, webhook_id: WebhookId, *, limit: int, after: After | None
    ) -> Sequence[Delivery]:
        """A page of the delivery log, newest first.

        Raises:
            WebhookNotFound: the trip has no such webhook.
        """
        ...

    async def redeliver(self, command: Command, webhook_id: WebhookId, redelivery: Redelivery) -> int:
        """Start a new round of attempts of deliveries, with an event that causes it. Returns their number.

        Those that are pending already are left alone.

        Raises:
            WebhookNotFound: the trip has no such webhook.
            WebhookDisabled: it is disabled.
        """
        ...

    async def open_deliveries(self, event: Event, *, now: datetime) -> Sequence[Order]:
        """Open a delivery for each enabled webhook of the event's trip that wants its type.

        A repeat returns those that are still pending.
        """
        ...

    async def due(self, order: Order) -> DueDelivery | None:
        """The delivery of an order; None if it is delivered or deleted, or in a later round."""
        ...

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
        """Store the result of an attempt; `failed` tells that no other follows.

        A webhook that is gone, or has been failing since `failing_before`, is disabled, with an event. Returns
        whether the webhook is enabled, and whether there is an event.
        """
        ...


class WebhookSecrets(Protocol):
    """The secrets of webhooks, derived from keys of the site."""

    def secrets_of(self, webhook_id: WebhookId) -> Sequence[bytes]:
        """A webhook's secrets of 32 bytes; the first one is of the newest key."""
        ...


class WebhookSender(Protocol):
    """Sends messages to receivers, whose names and addresses are not trusted."""

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send a message once, following no redirect. Never raises: an error is a part of the outcome."""
        ...
