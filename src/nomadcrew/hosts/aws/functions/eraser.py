"""Schedule, every 15 minutes: erases the accounts whose deletion is due."""

import asyncio
import logging
from typing import Final

from nomadcrew.core.erasure.service import Eraser, erase_due
from nomadcrew.core.ports import Ports
from nomadcrew.hosts.aws.entry import Context, Event, event_entry, seconds_left
from nomadcrew.hosts.aws.ports import lambda_ports

log = logging.getLogger("nomadcrew.erasure")

PORTS: Final = (
    "broadcaster", "document_files", "erasure_receipts", "erasures", "export_files", "files", "mirror", "outbox",
    "personal_copies", "picture_files", "receipt_mail",
)  # fmt: skip


async def erase_accounts(_event: Event, context: Context, ports: Ports) -> None:
    """Erase the accounts that are due. An interrupted erasure continues in the next run.

    Raises:
        ExceptionGroup: the errors of those that failed.
    """
    ports.outbox.before_write()
    async with asyncio.timeout(seconds_left(context)):
        count = await erase_due(Eraser.of(ports))
    await ports.outbox.after_commit()
    log.info("Accounts erased", extra={"fields": {"count": count}})


handler = event_entry(erase_accounts, lambda_ports, PORTS)
