"""What consumes events from work queues, on both hosts."""

from collections.abc import Awaitable, Callable

from nomadcrew.core.events import EMAIL, NOTIFICATIONS, Event
from nomadcrew.core.notifications.service import notify
from nomadcrew.core.ports import Ports
from nomadcrew.functions.mails import send_mail_for

Consumer = Callable[[Event, Ports], Awaitable[None]]


async def tell_people(event: Event, ports: Ports) -> None:
    """Store the notifications an event gives."""
    if await notify(event, notifications=ports.notifications, now=ports.clock()):
        ports.outbox.wake()


CONSUMERS: dict[str, Consumer] = {NOTIFICATIONS: tell_people, EMAIL: send_mail_for}
