"""What schedules delete."""

from datetime import datetime
from typing import Protocol


class Upkeep(Protocol):
    """Each method deletes everything that is due at `now`, and returns how much it changed. Safe to repeat."""

    async def events(self, now: datetime) -> int: ...

    async def notifications(self, now: datetime) -> int: ...

    async def replays(self, now: datetime) -> int: ...

    async def dead_jobs(self, now: datetime) -> int: ...

    async def push_tokens(self, now: datetime) -> int: ...

    async def push_sends(self, now: datetime) -> int: ...

    async def sharing(self, now: datetime) -> int:
        """Switches off what was shared for a time that is over, and tells of it."""
        ...

    async def positions(self, now: datetime) -> int:
        """Days of history, and who looked; makes the days to come as well."""
        ...
