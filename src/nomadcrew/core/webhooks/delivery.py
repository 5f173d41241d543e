"""Delivers events to webhooks."""

from collections.abc import Callable

from nomadcrew.core.clock import Clock
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId, derived_id
from nomadcrew.core.webhooks.model import MAX_FAILING, DueDelivery, NotDelivered, Order, Outcome
from nomadcrew.core.webhooks.ports import Webhooks, WebhookSecrets, WebhookSender
from nomadcrew.core.webhooks.signing import signed_headers

MakeBody = Callable[[Event], bytes]


async def deliver(
    order: Order,
    *,
    is_last: bool,
    webhooks: Webhooks,
    sender: WebhookSender,
    secrets: WebhookSecrets,
    body_of: MakeBody,
    clock: Clock,
) -> bool:
    """Attempt a delivery; True if that caused an event. Safe to repeat: receivers know a message by its id.

    Args:
        is_last: no attempt follows if this one fails.

    Raises:
        NotDelivered: the receiver did not take the event.
        Unavailable: the attempt cannot be made or stored.
    """
    due = await webhooks.due(order)
    if due is None:
        return False
    outcome, can_follow = await _attempt(due, sender, secrets, body_of, clock)
    now = clock()
    is_enabled, has_event = await webhooks.finish(
        order,
        outcome,
        failed=is_last or not can_follow or outcome.is_gone,
        failing_before=now - MAX_FAILING,
        event_id=EventId(derived_id(due.id, f"disabled in round {order.round}")),
        now=now,
    )
    if not outcome.is_delivered and is_enabled and can_follow:
        raise NotDelivered(details=outcome.error or f"status {outcome.status}")
    return has_event


async def _attempt(
    due: DueDelivery, sender: WebhookSender, secrets: WebhookSecrets, body_of: MakeBody, clock: Clock
) -> tuple[Outcome, bool]:
    """The outcome, and whether another attempt could be made after it."""
    if not due.is_enabled:
        return Outcome(None, "webhook_disabled", 0), False
    if due.event is None:
        return Outcome(None, "event_expired", 0), False
    body = body_of(due.event)
    headers = signed_headers(str(due.event.id), body, secrets.secrets_of(due.webhook_id), now=clock())
    return await sender.send(due.url, body, headers), True
