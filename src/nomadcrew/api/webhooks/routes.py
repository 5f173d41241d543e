"""A trip's webhooks: /v1/trips/{id}/webhooks."""

from nomadcrew.api.webhooks.bodies import (
    CreatedWebhookView,
    DeliveriesView,
    NewWebhookIn,
    RedeliveredView,
    RedeliveryIn,
    WebhookChangeIn,
    WebhooksView,
    WebhookView,
    created_webhook_view,
    deliveries_view,
    webhook_view,
)
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, WebhookId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.webhooks import service
from nomadcrew.core.webhooks.model import WebhookNotFound
from nomadcrew.core.webhooks.signing import secret_text
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.pages import AFTER, after_of, last_of, paged
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes

routes = Routes(
    "webhooks",
    ports=("idempotency", "limits", "open_sessions", "outbox", "webhook_secrets", "webhooks"),
)
PATH = "/v1/trips/{id}/webhooks"
PAGE = (Param("limit", "integer", "Page size, 1 to 100. Default: 50."), AFTER)


def access(call: Call, action: str) -> Access:
    return Access(call.trip_id, call.user_id, rule("webhook", action))


def webhook_id(call: Call) -> WebhookId:
    """The webhook id in the path.

    Raises:
        WebhookNotFound: the id is malformed.
    """
    return WebhookId(call.id("webhookId", WebhookNotFound()))


@routes.post(PATH, status=201, gate=Gate("webhook", "create"), idempotency=Idempotency.NEVER, refusals=(400, 409),
             uses_outbox=False, bucket="webhook", takes_keys=False)  # fmt: skip
async def create_webhook(call: Call, body: NewWebhookIn) -> CreatedWebhookView:
    """Create a webhook, which sends chosen events of the trip to a server.

    Messages are signed after the Standard Webhooks scheme; the reply shows the secret once. An event is sent until
    the receiver answers 2xx, for a day, with growing pauses. Events come at least once and in no order.
    """
    ports = call.ports
    webhook = await service.create_webhook(
        access(call, "create"),
        body.url,
        body.events,
        networks=ports.site.webhook_networks,
        webhooks=ports.webhooks,
        new_id=ports.new_id,
        now=call.now,
    )
    return created_webhook_view(webhook, secret_text(ports.webhook_secrets.secrets_of(webhook.id)[0]))


@routes.get(PATH, gate=Gate("webhook", "read"))
async def list_webhooks(call: Call) -> WebhooksView:
    """List a trip's webhooks, newest first; at most five."""
    return WebhooksView([webhook_view(each) for each in await call.ports.webhooks.of(access(call, "read"))])


@routes.put(PATH + "/{webhookId}", gate=Gate("webhook", "update"), refusals=(400, 409), uses_outbox=False,
            takes_keys=False)  # fmt: skip
async def update_webhook(call: Call, body: WebhookChangeIn) -> WebhookView:
    """Update, enable or disable a webhook."""
    ports = call.ports
    changed = await service.change_webhook(
        access(call, "update"),
        webhook_id(call),
        body.to_change(),
        networks=ports.site.webhook_networks,
        webhooks=ports.webhooks,
    )
    return webhook_view(changed)


@routes.delete(PATH + "/{webhookId}", status=204, gate=Gate("webhook", "delete"), uses_outbox=False)
async def delete_webhook(call: Call) -> None:
    """Delete a webhook with its deliveries."""
    await call.ports.webhooks.delete(access(call, "delete"), webhook_id(call))


@routes.get(PATH + "/{webhookId}/deliveries", gate=Gate("webhook", "read"), query=PAGE, refusals=(400,))
async def list_deliveries(call: Call) -> DeliveriesView | Reply:
    """List the deliveries of a webhook in the last seven days, newest first.

    The Link header leads to the next page.
    """
    limit = call.count("limit", default=50, lowest=1, highest=100)
    found = await call.ports.webhooks.log(access(call, "read"), webhook_id(call), limit=limit, after=after_of(call))
    last = last_of(found, limit, lambda delivery: After(delivery.created_at, delivery.id))
    return paged(call, deliveries_view(found), last)


@routes.post(PATH + "/{webhookId}/deliveries:redeliver", status=202, gate=Gate("webhook", "redeliver"),
             refusals=(400, 409), bucket="webhook")  # fmt: skip
async def redeliver(call: Call, body: RedeliveryIn) -> RedeliveredView:
    """Deliver events again: chosen ones, or up to 100 that failed in a span of time.

    Deliveries that are pending are left alone.
    """
    command = Command(
        call.trip_id, call.user_id, rule("webhook", "redeliver"), EventId(call.ports.new_id()), call.now
    )
    return RedeliveredView(await call.ports.webhooks.redeliver(command, webhook_id(call), body.to_redelivery()))
