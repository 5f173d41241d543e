"""Consumes the webhooks queue: opens the deliveries of events, and attempts each of them."""

from datetime import datetime
from typing import Final

import msgspec

from nomadcrew.core.events import WEBHOOK_REDELIVERY, WEBHOOKS, Event
from nomadcrew.core.ids import JobId, derived_id
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job, retry_policy
from nomadcrew.core.webhooks.delivery import deliver
from nomadcrew.core.webhooks.model import Order
from nomadcrew.wire.events import Envelope, envelope, unpack

PORTS: Final = ("outbox", "queue", "webhook_secrets", "webhook_sender", "webhooks")


class Message(msgspec.Struct):
    """The body of a webhook, after the Standard Webhooks scheme. `data` is the event as on a socket."""

    type: str
    timestamp: datetime
    data: Envelope


class _Orders(msgspec.Struct):
    orders: list[Order]


_order = msgspec.json.Decoder(Order).decode
_orders = msgspec.json.Decoder(_Orders).decode


async def consume_webhook(job: Job, ports: Ports) -> None:
    """Attempt the delivery of an order, or open the deliveries of an event.

    Raises:
        NotAnEvent: the message is neither.
        NotDelivered, Unavailable: the job is repeated.
    """
    try:
        order = _order(job.body)
    except msgspec.ValidationError:
        await _open(unpack(job.body), ports)
        return
    ports.outbox.before_write()
    has_event = await deliver(
        order,
        is_last=job.attempt >= retry_policy(job.queue).attempts,
        webhooks=ports.webhooks,
        sender=ports.webhook_sender,
        secrets=ports.webhook_secrets,
        body_of=body_of,
        clock=ports.clock,
    )
    await ports.outbox.after_commit(has_events=has_event)


async def _open(event: Event, ports: Ports) -> None:
    if event.type == WEBHOOK_REDELIVERY:
        orders = _orders(event.payload).orders
    else:
        orders = list(await ports.webhooks.open_deliveries(event, now=ports.clock()))
    for order in orders:
        id_ = JobId(derived_id(order.delivery, f"round {order.round}"))
        await ports.queue.send(WEBHOOKS, msgspec.json.encode(order).decode(), job_id=id_)


def body_of(event: Event) -> bytes:
    """The message about an event, always the same bytes."""
    return msgspec.json.encode(Message(event.type, event.occurred_at, envelope(event)))
