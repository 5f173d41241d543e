"""Hourly schedule: deletes expired data and publishes leftover events."""

import asyncio
import logging
from functools import partial
from typing import Final

from nomadcrew.core.chat.attachments import forget_files
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Context, Event, event_entry, seconds_left
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.retention")

# On AWS, DynamoDB's TTL deletes sessions, and the queues' retention deletes dead jobs.
PORTS: Final = ("attachments", "files", "outbox", "retention", "unconfirmed_registrations")


async def apply_retention(_event: Event, context: Context, ports: Ports) -> None:
    """Run every task, also after one has failed: delete expired data, and publish events that no probe published.

    Raises:
        ExceptionGroup: the errors of the failed tasks.
    """
    now = ports.clock()
    counts: dict[str, int] = {}
    failed: list[Exception] = []
    async with asyncio.timeout(seconds_left(context)):
        for name, run in (
            # Before the sweep, which publishes its events.
            ("sharing", partial(ports.retention.end_expired_sharing, now)),
            ("published", ports.outbox.sweep),
            ("positions", partial(ports.retention.delete_positions, now)),
            ("replays", partial(ports.retention.delete_stored_replies, now)),
            ("events", partial(ports.retention.delete_events, now)),
            ("notifications", partial(ports.retention.delete_notifications, now)),
            ("push_tokens", partial(ports.retention.delete_push_tokens, now)),
            ("feedback", partial(ports.retention.delete_feedback, now)),
            ("mails_sent", partial(ports.retention.delete_mails_sent, now)),
            ("push_sends", partial(ports.retention.delete_push_sends, now)),
            ("files", partial(forget_files, attachments=ports.attachments, files=ports.files, now=now)),
            ("registrations", partial(ports.unconfirmed_registrations.delete_expired, now=now)),
        ):
            try:
                counts[name] = await run()
            except Exception as error:
                failed.append(error)
    log.info("Retention finished", extra={"fields": counts})
    if failed:
        raise ExceptionGroup("retention", failed)


handler = event_entry(apply_retention, lambda_ports, PORTS)
