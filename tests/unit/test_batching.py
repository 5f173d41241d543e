"""What `Batcher` promises, with a writer that can be held up."""

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
    """Doubles numbers; waits for `gate`, refuses negative ones, and falls over at 13 and, for a while, at 99."""

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
    """Callers of each item, all of which have asked."""
    tasks = [asyncio.create_task(batch(item)) for item in items]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_one_is_written_goes_into_the_next() -> None:
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


async def test_a_refusal_reaches_whom_it_is_about() -> None:
    writer = Writer()
    batch = batcher(writer)
    writer.gate.set()
    answers = await asyncio.gather(*await ask(batch, 1, -2, 3), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], NotTripMember)


async def test_an_outage_reaches_everybody_it_met_and_nobody_later() -> None:
    writer = Writer()
    batch = batcher(writer)
    await_first = await ask(batch, 1)
    met = await ask(batch, 2, 99)
    writer.gate.set()
    assert await asyncio.gather(*await_first) == [2]
    answers = await asyncio.gather(*met, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    assert writer.batches == [[1], [2, 99]]
    assert await batch(5) == 10


async def test_an_item_that_breaks_the_statement_breaks_it_for_itself() -> None:
    writer = Writer()
    batch = batcher(writer)
    writer.gate.set()
    answers = await asyncio.gather(*await ask(batch, 1, 13, 3), return_exceptions=True)
    assert [answers[0], answers[2]] == [2, 6]
    assert isinstance(answers[1], ZeroDivisionError)
    assert writer.batches == [[1, 13, 3], [1], [13], [3]]


async def test_a_caller_that_leaves_before_its_turn_writes_nothing_and_takes_nobody_along() -> None:
    writer = Writer()
    batch = batcher(writer)
    first = await ask(batch, 1)
    leaving, staying = await ask(batch, 2, 3)
    leaving.cancel()
    await asyncio.sleep(0)
    writer.gate.set()
    assert await asyncio.gather(*first, staying) == [2, 6]
    assert writer.batches == [[1], [3]]
    assert leaving.cancelled()


async def test_a_caller_that_leaves_while_it_is_written_takes_nobody_along() -> None:
    writer = Writer()
    batch = batcher(writer)
    leaving, staying = await ask(batch, 1, 2)
    leaving.cancel()
    await asyncio.sleep(0)
    writer.gate.set()
    assert await staying == 4
    assert writer.batches == [[1, 2]]


async def test_whoever_is_in_a_transaction_is_written_in_it() -> None:
    writer = Writer()
    batch = batcher(writer, alone=True)
    writer.gate.set()
    note.set("in a transaction")
    assert await batch(4) == 8
    with pytest.raises(NotTripMember):
        await batch(-4)
    assert writer.contexts == ["in a transaction", "in a transaction"]


async def test_the_first_callers_context_is_not_the_others() -> None:
    writer = Writer()
    batch = batcher(writer)
    writer.gate.set()
    note.set("somebody's")
    assert await batch(1) == 2
    assert writer.contexts == ["nothing"]


async def test_an_answer_too_few_is_everybodys_error() -> None:
    async def forgetful(items: Sequence[int]) -> Sequence[int | Exception]:
        return [Invalid() for _ in items[1:]]

    batch: Batcher[int, int] = Batcher(forgetful, alone=lambda: False)
    answers = await asyncio.gather(*await ask(batch, 1, 2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]


async def test_when_the_host_ends_nobody_is_left_waiting() -> None:
    writer = Writer()
    batch = batcher(writer, limit=1)
    tasks = await ask(batch, 1, 2)
    [running] = [task for task in asyncio.all_tasks() if "Batcher._run" in repr(task)]
    running.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 2


async def test_ending_while_a_broken_batch_is_written_piecemeal_leaves_nobody_waiting_either() -> None:
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
