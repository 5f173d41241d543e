"""Reminds users that a passport, a visa or an insurance of theirs ends."""

from datetime import UTC, date, datetime, timedelta

from nomadcrew.core.batches import in_batches
from nomadcrew.core.documents.ports import Documents
from nomadcrew.core.ids import EventId, NewId

# Days before the end. A document that comes later than one of them is reminded of at once.
LEADS_DAYS = (30, 7, 1)
# A day's reminders are sent from this time on, in UTC: users have no time zone.
REMIND_FROM = timedelta(hours=9)
BATCH = 100


def reminded_day(now: datetime) -> date:
    """The day whose reminders are due."""
    return (now.astimezone(UTC) - REMIND_FROM).date()


async def remind(*, documents: Documents, new_id: NewId, now: datetime) -> int:
    """Write an event for each due reminder; each of `LEADS_DAYS` once for a document. Returns their number."""

    async def batch() -> int:
        event_ids = [EventId(new_id()) for _ in range(BATCH)]
        return await documents.remind(reminded_day(now), LEADS_DAYS, event_ids, now=now)

    return await in_batches(batch, BATCH)
