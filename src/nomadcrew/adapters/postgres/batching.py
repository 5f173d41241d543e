"""Natural micro-batching: one statement in flight, and what comes meanwhile goes into the next.

A caller on an idle system does not wait for others, and on a busy one a commit is shared by many: durable writes
double, and nobody's takes longer. Each caller returns once its own item is committed.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from nomadcrew.core.errors import Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

LIMIT = 100

# An item and who waits for it.
_Waiting = tuple[Item, asyncio.Future[Result]]


class Batcher(Generic[Item, Result]):
    """Gathers items for `write`, which commits a batch and returns a result, or a refusal, for each item in order.

    What `write` raises as an outage reaches everyone in the batch. Anything else it raises is the fault of some
    item and has undone the batch: its items are then written one by one, so that it reaches whose it is.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        alone: Callable[[], bool],
        limit: int = LIMIT,
    ) -> None:
        """`alone` says whether the caller is in a transaction, which its item then has to be part of.

        A batch holds at most `limit` items.
        """
        self._write = write
        self._alone = alone
        self._limit = limit
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """What was written for `item`, once it is committed.

        A caller that is cancelled before its item was taken up has written nothing; after that its item is written
        with the others, and nobody is told.

        Raises:
            Exception: the refusal of this item, or what `write` raised.
        """
        if self._alone():
            return _result((await self._write([item]))[0])
        mine: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, mine))
        if self._writer is None:
            # In a context of its own: the first caller's, with whatever is noted there, is not the others'.
            self._writer = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return await mine

    async def _run(self) -> None:
        """Write until nobody waits."""
        try:
            while batch := self._next():
                await self._settle(batch)
        finally:
            self._writer = None
            # Ended from outside, with the host: nobody will write what waits.
            for _, waiting in self._waiting:
                waiting.cancel()
            self._waiting.clear()

    def _next(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        while self._waiting and len(batch) < self._limit:
            item, waiting = self._waiting.popleft()
            if not waiting.done():
                batch.append((item, waiting))
        return batch

    async def _settle(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
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
            return [(await self._outcomes([one]))[0] for one in batch]
        if len(outcomes) != len(batch):
            return [ValueError("a batch was answered with too many or too few outcomes")] * len(batch)
        return outcomes


def _result(outcome: Result | Exception) -> Result:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
