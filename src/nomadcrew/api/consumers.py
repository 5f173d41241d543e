"""Consumers of the work queues on the machine host. On AWS each consumer is a function."""

from collections.abc import Awaitable, Callable

from nomadcrew.api.archives.consumer import consume_export
from nomadcrew.api.backgrounds.consumer import consume_background
from nomadcrew.api.mail.consumer import send_mail_for
from nomadcrew.api.mirror import consumer as mirror
from nomadcrew.api.notifications import push_consumer as push
from nomadcrew.api.notifications.consumer import notify
from nomadcrew.api.pictures.consumer import consume_picture
from nomadcrew.api.webhooks.consumer import consume_webhook
from nomadcrew.core.events import (
    BACKGROUNDS,
    EMAIL,
    EXPORTS,
    MIRROR,
    NOTIFICATIONS,
    PICTURES,
    PUSH,
    WEBHOOKS,
    Event,
)
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.events import unpack

Consumer = Callable[[Job, Ports], Awaitable[None]]


def of_events(consume: Callable[[Event, Ports], Awaitable[None]]) -> Consumer:
    """A consumer that unpacks its messages into events."""

    async def work(job: Job, ports: Ports) -> None:
        await consume(unpack(job.body), ports)

    return work


CONSUMERS: dict[str, Consumer] = {
    NOTIFICATIONS: of_events(notify),
    EMAIL: of_events(send_mail_for),
    PUSH: push.consume_push,
    MIRROR: mirror.consume_mirror,
    PICTURES: consume_picture,
    BACKGROUNDS: consume_background,
    EXPORTS: consume_export,
    WEBHOOKS: consume_webhook,
}
