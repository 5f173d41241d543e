"""The database's own shape."""

from collections.abc import Sequence
from typing import Protocol


class Schema(Protocol):
    async def bring_up_to_date(self) -> Sequence[str]:
        """Apply what is missing; the names of what was applied. Safe to repeat, and to do twice at once.

        Raises:
            Unavailable: the database is away; what was applied stays.
            Exception: it contradicts what this version knows; nothing more was applied.
        """
        ...
