"""Natural micro-batching: one statement in flight; items that arrive meanwhile form the next batch.

A caller on an idle system does not wait for others; on a busy one, many share a commit: twice as many durable
writes, with no longer waits. Each caller returns once its own item is committed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from nomadcrew.core.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

LIMIT = 100

# An item and the future of its result.
_Waiting = tuple[Item, asyncio.Future[Result]]


class Batcher(Generic[Item, Result]):
    """Collects items for `write`, which commits a batch and returns a result or a refusal for each item, in order.

    An outage raised by `write` reaches every caller of the batch. Any other exception is caused by some item and
    has rolled the batch back: its items are then written one by one, so that the exception reaches the right
    caller.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        alone: Callable[[], bool],
        key: Callable[[Item], Hashable] | None = None,
        limit: int = LIMIT,
    ) -> None:
        """`alone`: whether the caller is in a transaction, of which its item must be a part.

        `key`: the row that an item changes. A statement sees a row as it was before, so items with the same key are
        written in different batches, in the order of their calls.

        A batch has at most `limit` items.
        """
        self._write = write
        self._alone = alone
        self._key = key
        self._limit = limit
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """The result of writing `item`, once it is committed.

        If the caller is cancelled before its item is in a batch, nothing is written; after that, the item is
        written with the others.

        Raises:
            Exception: the refusal of this item, or what `write` raised.
        """
        if self._alone():
            return _result((await self._write([item]))[0])
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            # An empty context: the first caller's context variables must not apply to other callers' items.
            self._writer = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return await future

    async def _run(self) -> None:
        """Write batches until no item waits."""
        try:
            while batch := self._next():
                await self._write_batch(batch)
        finally:
            self._writer = None
            # If the task was cancelled with the host, waiting items are never written.
            for _, waiting in self._waiting:
                waiting.cancel()
            self._waiting.clear()

    def _next(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        later: list[_Waiting[Item, Result]] = []
        keys: set[Hashable] = set()
        while self._waiting and len(batch) < self._limit:
            item, waiting = self._waiting.popleft()
            if waiting.done():
                continue
            key = None if self._key is None else self._key(item)
            if key is not None and key in keys:
                later.append((item, waiting))
                continue
            keys.add(key)
            batch.append((item, waiting))
        self._waiting.extendleft(reversed(later))
        return batch

    async def _write_batch(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            outcomes = await self._outcomes(batch)
        except asyncio.CancelledError:
            for _, waiting in batch:
                waiting.cancel()
            raise
        for (_, waiting), outcome in zip(batch, outcomes, strict=True):
            if waiting.done():
                continue
            if isinstance(outcome, Exception):
                waiting.set_exception(outcome)
            else:
                waiting.set_result(outcome)

    async def _outcomes(self, batch: Sequence[_Waiting[Item, Result]]) -> Sequence[Result | Exception]:
        try:
            outcomes = await self._write([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, Unavailable):
                return [error] * len(batch)
            return [(await self._outcomes([waiting]))[0] for waiting in batch]
        if len(outcomes) != len(batch):
            return [ValueError("the number of outcomes differs from the number of items")] * len(batch)
        return outcomes


def _result(outcome: Result | Exception) -> Result:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
