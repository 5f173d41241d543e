"""What consumes events from work queues on one machine; on AWS each is a function."""

from collections.abc import Awaitable, Callable

from nomadcrew.core.events import EMAIL, NOTIFICATIONS, Event
from nomadcrew.core.ports import Ports
from nomadcrew.functions.mails import send_mail_for
from nomadcrew.functions.notifier import tell_people

Consumer = Callable[[Event, Ports], Awaitable[None]]

CONSUMERS: dict[str, Consumer] = {NOTIFICATIONS: tell_people, EMAIL: send_mail_for}
