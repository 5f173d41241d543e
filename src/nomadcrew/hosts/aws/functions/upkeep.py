"""What has had its time, once an hour."""

import asyncio
import logging
from functools import partial
from typing import Final

from nomadcrew.core.chat.attachments import forget_files
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Context, Event, event_entry, seconds_left
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.upkeep")

# Sessions expire by themselves here, and dead jobs with their queues' retention.
PORTS: Final = ("abandoned", "attachments", "files", "outbox", "upkeep")


async def clean_up(_event: Event, context: Context, ports: Ports) -> None:
    """Delete what is due, and publish what no probe has found; one that fails does not keep the others from it.

    Raises:
        ExceptionGroup: what failed.
    """
    now = ports.clock()
    counts: dict[str, int] = {}
    failed: list[Exception] = []
    async with asyncio.timeout(seconds_left(context)):
        for name, run in (
            # What it tells is published right after.
            ("sharing", partial(ports.upkeep.sharing, now)),
            ("published", ports.outbox.sweep),
            ("positions", partial(ports.upkeep.positions, now)),
            ("replays", partial(ports.upkeep.replays, now)),
            ("events", partial(ports.upkeep.events, now)),
            ("notifications", partial(ports.upkeep.notifications, now)),
            ("push_tokens", partial(ports.upkeep.push_tokens, now)),
            ("push_sends", partial(ports.upkeep.push_sends, now)),
            ("files", partial(forget_files, attachments=ports.attachments, files=ports.files, now=now)),
            ("registrations", partial(ports.abandoned.forget_expired, now=now)),
        ):
            try:
                counts[name] = await run()
            except Exception as error:
                failed.append(error)
    log.info("scheduled work done", extra={"fields": counts})
    if failed:
        raise ExceptionGroup("upkeep", failed)


handler = event_entry(clean_up, lambda_ports, PORTS)
