"""Reminds of invitations that expire soon, and clears up after expired ones."""

from datetime import datetime

from nomadcrew.core.batches import in_batches
from nomadcrew.core.invitations.model import REMINDED_BEFORE
from nomadcrew.core.invitations.ports import Invitations

BATCH = 100


async def remind(*, invitations: Invitations, now: datetime) -> int:
    """Write an event for each due reminder, one for each expiry of an invitation. Returns their number."""
    total = 0

    async def batch() -> int:
        nonlocal total
        due = await invitations.list_to_remind(now + REMINDED_BEFORE, now=now, limit=BATCH)
        for invitation in due:
            total += await invitations.remind(invitation, now=now)
        return len(due)

    await in_batches(batch, BATCH)
    return total


async def expire(*, invitations: Invitations, now: datetime) -> int:
    """Delete the notifications of expired invitations. Returns the number of invitations."""
    return await in_batches(lambda: invitations.expire(now=now, limit=BATCH), BATCH)
