"""`Batcher`, with a writer that tests can block."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import pytest

from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.core.errors import Invalid, NotTripMember, Unavailable

note: ContextVar[str] = ContextVar("note", default="nothing")


@dataclass
class Writer:
    """Doubles numbers after `gate` opens; refuses negative ones, crashes at 13, and is unavailable at 99."""

    batches: list[list[int]] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    together: int = 0

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        self.contexts.append(note.get())
        self.together += 1
        assert self.together == 1
        try:
            await self.gate.wait()
        finally:
            self.together -= 1
        if 13 in items:
            raise ZeroDivisionError
        if 99 in items:
            raise Unavailable
        return [NotTripMember() if item < 0 else item * 2 for item in items]


def batcher(writer: Writer, *, limit: int = 100, alone: bool = False) -> Batcher[int, int]:
    return Batcher(writer, alone=lambda: alone, limit=limit)


async def ask(batch: Batcher[int, int], *items: int) -> list["asyncio.Task[int]"]:
    """Start a caller per item, and wait until all have called."""
    tasks = [asyncio.create_task(batch(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_calls_during_a_write_form_the_next_batch() -> None:
    writer = Writer()
    batch = batcher(writer)
    first = await ask(batch, 1)
    others = await ask(batch, 2, 3, 4)
    writer.gate.set()
    assert await asyncio.gather(*first, *others) == [2, 4, 6, 8]
    assert writer.batches == [[1], [2, 3, 4]]


async def test_a_batch_is_bounded() -> None:
    writer = Writer()
    batch = batcher(writer, limit=2)
    tasks = await ask(batch, 1, 2, 3, 4, 5)
    writer.gate.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert writer.batches == [[1, 2], [3, 4], [5]]


async def test_a_refusal_reaches_its_caller_only() -> None:
    writer = Writer()
    batch = batcher(writer)
    writer.gate.set()
    answers = await asyncio.gather(*await ask(batch, 1, -2, 3), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], NotTripMember)


async def test_an_outage_reaches_the_callers_of_its_batch_only() -> None:
    writer = Writer()
    batch = batcher(writer)
    first = await ask(batch, 1)
    failing = await ask(batch, 2, 99)
    writer.gate.set()
    assert await asyncio.gather(*first) == [2]
    answers = await asyncio.gather(*failing, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert writer.batches == [[1], [2, 99]]
    assert await batch(5) == 10


async def test_an_item_that_breaks_the_statement_fails_alone() -> None:
    writer = Writer()
    batch = batcher(writer)
    writer.gate.set()
    answers = await asyncio.gather(*await ask(batch, 1, 13, 3), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], ZeroDivisionError)
    assert writer.batches == [[1, 13, 3], [1], [13], [3]]


async def test_a_caller_cancelled_before_the_write_is_not_written() -> None:
    writer = Writer()
    batch = batcher(writer)
    first = await ask(batch, 1)
    cancelled, other = await ask(batch, 2, 3)
    cancelled.cancel()
    await asyncio.sleep(0)
    writer.gate.set()
    assert await asyncio.gather(*first, other) == [2, 6]
    assert writer.batches == [[1], [3]]
    assert cancelled.cancelled()


async def test_a_caller_cancelled_during_the_write_does_not_affect_others() -> None:
    writer = Writer()
    batch = batcher(writer)
    cancelled, other = await ask(batch, 1, 2)
    cancelled.cancel()
    await asyncio.sleep(0)
    writer.gate.set()
    assert await other == 4
    assert writer.batches == [[1, 2]]


async def test_a_caller_in_a_transaction_writes_alone_in_its_context() -> None:
    writer = Writer()
    batch = batcher(writer, alone=True)
    writer.gate.set()
    note.set("in a transaction")
    assert await batch(4) == 8
    with pytest.raises(NotTripMember):
        await batch(-4)
    assert writer.contexts == ["in a transaction", "in a transaction"]


async def test_a_batch_does_not_run_in_the_context_of_its_first_caller() -> None:
    writer = Writer()
    batch = batcher(writer)
    writer.gate.set()
    note.set("the first caller's")
    assert await batch(1) == 2
    assert writer.contexts == ["nothing"]


async def test_a_missing_result_is_an_error_for_every_caller() -> None:
    async def incomplete(items: Sequence[int]) -> Sequence[int | Exception]:
        return [Invalid() for _ in items[1:]]

    batch: Batcher[int, int] = Batcher(incomplete, alone=lambda: False)
    answers = await asyncio.gather(*await ask(batch, 1, 2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]


async def test_at_the_end_of_the_host_every_caller_is_cancelled() -> None:
    writer = Writer()
    batch = batcher(writer, limit=1)
    tasks = await ask(batch, 1, 2)
    [running] = [task for task in asyncio.all_tasks() if "Batcher._run" in repr(task)]
    running.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2


async def test_cancellation_during_single_writes_also_cancels_every_caller() -> None:
    stuck = asyncio.Event()

    async def write(items: Sequence[int]) -> Sequence[int | Exception]:
        if len(items) > 1:
            raise ZeroDivisionError
        await stuck.wait()
        return list(items)

    batch: Batcher[int, int] = Batcher(write, alone=lambda: False)
    tasks = await ask(batch, 1, 2)
    [running] = [task for task in asyncio.all_tasks() if "Batcher._run" in repr(task)]
    running.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2


async def test_items_with_one_key_are_written_one_after_the_other() -> None:
    writer = Writer()
    batch: Batcher[int, int] = Batcher(writer, alone=lambda: False, key=lambda item: item % 10, limit=3)
    first = await ask(batch, 1)
    tasks = await ask(batch, 12, 22, 3, 32, 4, 5)
    writer.gate.set()
    assert await asyncio.gather(*first, *tasks) == [2, 24, 44, 6, 64, 8, 10]
    assert writer.batches == [[1], [12, 3, 4], [22, 5], [32]]
