"""What every Lambda function is: an event in, an answer out, by way of what was made before the first event."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Protocol, TypeVar

from nomadcrew.adapters.aws import telemetry
from nomadcrew.core.ports import Ports

T = TypeVar("T")
Event = dict[str, Any]
# What is left to a function for saying how it went.
MARGIN_S = 2.0


class Context(Protocol):
    """What Lambda says about a call, as far as we ask."""

    def get_remaining_time_in_millis(self) -> int: ...


Entry = Callable[[Event, Any], Any]
MakePorts = Callable[[tuple[str, ...]], Ports]


def event_entry(
    answer: Callable[[Event, Context, Ports], Awaitable[Any]], ports: MakePorts, declared: tuple[str, ...]
) -> Entry:
    """What AWS calls, with the declared ports."""
    return entry(answer, lambda: ports(declared))


def entry(answer: Callable[[Event, Context, T], Awaitable[Any]], make: Callable[[], T]) -> Entry:
    """What AWS calls, with what `make` makes.

    That is called once: in Lambda at once, for INIT has a whole processor and the first event has not; elsewhere at
    the first event, so that whoever imports a function for its table needs no settings.
    """

    @cache
    def wired() -> tuple[asyncio.AbstractEventLoop, T]:
        return asyncio.new_event_loop(), make()

    invocations = telemetry.invocations()

    def handler(event: Event, context: Context) -> Any:
        loop, made = wired()
        with invocations.of(context):
            return loop.run_until_complete(answer(event, context, made))

    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        wired()
        gc.freeze()
    return handler


def seconds_left(context: Context) -> float:
    """For how long a function may go on and still answer."""
    return context.get_remaining_time_in_millis() / 1000 - MARGIN_S
