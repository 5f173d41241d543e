"""Port of scheduled deletion."""

from datetime import datetime
from typing import Protocol


class Upkeep(Protocol):
    """Each method deletes the rows that are expired at `now` and returns their number. Safe to repeat."""

    async def events(self, now: datetime) -> int: ...

    async def notifications(self, now: datetime) -> int: ...

    async def replays(self, now: datetime) -> int: ...

    async def dead_jobs(self, now: datetime) -> int: ...

    async def push_tokens(self, now: datetime) -> int: ...

    async def push_sends(self, now: datetime) -> int: ...

    async def sharing(self, now: datetime) -> int:
        """Turn off expired sharing, with an event for each."""
        ...

    async def positions(self, now: datetime) -> int:
        """Delete expired days of history and views, and create the partitions of coming days."""
        ...
