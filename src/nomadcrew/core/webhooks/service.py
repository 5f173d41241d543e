"""Creates and changes webhooks."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.access import Access
from nomadcrew.core.ids import NewId, WebhookId
from nomadcrew.core.webhooks.addresses import check_url
from nomadcrew.core.webhooks.model import Webhook, WebhookChange
from nomadcrew.core.webhooks.ports import Webhooks


async def create_webhook(
    access: Access,
    url: str,
    events: Sequence[str],
    *,
    networks: Sequence[str],
    webhooks: Webhooks,
    new_id: NewId,
    now: datetime,
) -> Webhook:
    """Create a webhook, which is enabled.

    Raises:
        UrlRefused: as `check_url` says.
        DomainError: as `Webhooks.add` says.
    """
    check_url(url, networks)
    webhook = Webhook(WebhookId(new_id()), url, events, True, now)
    await webhooks.add(access, webhook)
    return webhook


async def change_webhook(
    access: Access, webhook_id: WebhookId, change: WebhookChange, *, networks: Sequence[str], webhooks: Webhooks
) -> Webhook:
    """Change the fields that are not None.

    Raises:
        UrlRefused: as `check_url` says.
        DomainError: as `Webhooks.change` says.
    """
    if change.url is not None:
        check_url(change.url, networks)
    return await webhooks.change(access, webhook_id, change)
