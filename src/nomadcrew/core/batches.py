"""Work in batches, so that locks are short and replies small."""

from collections.abc import Awaitable, Callable


async def in_batches(batch: Callable[[], Awaitable[int]], limit: int) -> int:
    """Repeat `batch`, which handles at most `limit` things, until it handles fewer; returns the number of all."""
    total = 0
    while True:
        count = await batch()
        total += count
        if count < limit:
            return total
