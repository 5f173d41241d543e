"""Port of schema migrations."""

from collections.abc import Sequence
from typing import Protocol


class Schema(Protocol):
    async def bring_up_to_date(self) -> Sequence[str]:
        """Apply pending migrations and return their names. Safe to repeat and to run concurrently.

        Raises:
            Unavailable: the database is unreachable; applied migrations remain.
            Exception: the schema contradicts this version's migrations; no further migration was applied.
        """
        ...
