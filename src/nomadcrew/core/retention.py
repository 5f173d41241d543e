"""Port of scheduled deletion."""

from datetime import datetime
from typing import Protocol


class Retention(Protocol):
    """Each method deletes the rows that are expired at `now` and returns their number. Safe to repeat."""

    async def delete_events(self, now: datetime) -> int: ...

    async def delete_notifications(self, now: datetime) -> int: ...

    async def delete_stored_replies(self, now: datetime) -> int: ...

    async def delete_dead_jobs(self, now: datetime) -> int: ...

    async def delete_push_tokens(self, now: datetime) -> int: ...

    async def delete_push_sends(self, now: datetime) -> int: ...

    async def end_expired_sharing(self, now: datetime) -> int:
        """Turn off expired sharing, with an event for each."""
        ...

    async def delete_positions(self, now: datetime) -> int:
        """Delete expired days of history and views, and create the partitions of coming days."""
        ...
