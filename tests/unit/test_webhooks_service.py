"""The URL of a webhook is checked when it is created and when it changes."""

from typing import cast

import pytest

from nomadcrew.core.access import Access
from nomadcrew.core.ids import TripId, WebhookId, uuid7
from nomadcrew.core.permissions import rule
from nomadcrew.core.webhooks.model import UrlRefused, Webhook, WebhookChange
from nomadcrew.core.webhooks.ports import Webhooks
from nomadcrew.core.webhooks.service import change_webhook, create_webhook
from tests.fakes import ANA, NOON, CountingIds

ACCESS = Access(TripId(uuid7()), ANA, rule("webhook", "update"))
HERE, INSIDE = "https://hooks.example.org/", "https://10.0.0.1/"
ID = WebhookId(uuid7())


class FakeWebhooks:
    """Records the URLs that are stored."""

    def __init__(self) -> None:
        self.urls: list[str | None] = []

    async def add(self, access: Access, webhook: Webhook) -> None:
        self.urls.append(webhook.url)

    async def change(self, access: Access, webhook_id: WebhookId, change: WebhookChange) -> Webhook:
        self.urls.append(change.url)
        return Webhook(webhook_id, change.url or HERE, ["TODO_CREATED"], True, NOON)


async def test_an_internal_address_is_stored_neither_at_first_nor_later() -> None:
    fake = FakeWebhooks()
    stored = cast(Webhooks, fake)
    with pytest.raises(UrlRefused):
        await create_webhook(
            ACCESS, INSIDE, ["TODO_CREATED"], networks=(), webhooks=stored, new_id=CountingIds(), now=NOON
        )
    with pytest.raises(UrlRefused):
        await change_webhook(ACCESS, ID, WebhookChange(url=INSIDE), networks=(), webhooks=stored)
    assert fake.urls == []


async def test_other_addresses_and_changes_are_stored() -> None:
    fake = FakeWebhooks()
    stored = cast(Webhooks, fake)
    made = await create_webhook(
        ACCESS, HERE, ["TODO_CREATED"], networks=(), webhooks=stored, new_id=CountingIds(), now=NOON
    )
    assert (made.url, made.is_enabled, made.created_at) == (HERE, True, NOON)
    for change, networks in ((WebhookChange(url=INSIDE), ("10.0.0.0/8",)), (WebhookChange(is_enabled=False), ())):
        await change_webhook(ACCESS, ID, change, networks=networks, webhooks=stored)
    assert fake.urls == [HERE, INSIDE, None]
