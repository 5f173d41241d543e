"""The signal that wakes a loop."""

import asyncio

from nomadcrew.hosts.machine.signal import Signal

HOUR_S = 3_600.0


async def test_a_signal_wakes_the_loop_that_waits() -> None:
    signal = Signal()
    waiting = asyncio.create_task(signal.wait(HOUR_S))
    await asyncio.sleep(0)
    signal.set()
    signal.set()
    await waiting
    assert signal.is_set()


async def test_a_signal_that_is_set_already_is_not_waited_for() -> None:
    signal = Signal()
    signal.set()
    await signal.wait(HOUR_S)
    signal.clear()
    assert not signal.is_set()


async def test_the_loop_goes_on_after_a_while() -> None:
    signal = Signal()
    await signal.wait(0.001)
    assert not signal.is_set()
