"""Queues the mails with receipts of erasures: an event in the outbox would store the address."""

import msgspec

from nomadcrew.core.erasure.model import Erasure
from nomadcrew.core.events import ACCOUNT_ERASED, EMAIL, Audience, Event, job_id
from nomadcrew.core.ids import EventId, derived_id
from nomadcrew.core.queues import WorkQueue
from nomadcrew.wire.events import pack

GROUP = "receipts"


class QueuedReceiptMail:
    """`ReceiptMail` as a job of the queue of mails."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue

    async def send(self, address: str, receipt: str, erasure: Erasure) -> None:
        event_id = EventId(derived_id(erasure.user_id, ACCOUNT_ERASED))
        payload = msgspec.json.encode({"address": address, "receipt": receipt}).decode()
        event = Event(
            event_id, ACCOUNT_ERASED, "nomadcrew.identity", None, None, None, Audience.INTERNAL, erasure.erased_at,
            payload,
        )  # fmt: skip
        await self._queue.send(EMAIL, pack(event), job_id=job_id(event_id, EMAIL), group=GROUP)
