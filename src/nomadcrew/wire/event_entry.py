"""The Lambda host of functions that no HTTP request calls: an event in, an answer out."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Protocol

from nomadcrew import telemetry
from nomadcrew.core.ports import Ports

Event = dict[str, Any]
# What is left to a function for saying how it went.
MARGIN_S = 2.0


class Context(Protocol):
    """What Lambda says about a call, as far as we ask."""

    def get_remaining_time_in_millis(self) -> int: ...


Entry = Callable[[Event, Context], Any]
MakePorts = Callable[[tuple[str, ...]], Ports]


def event_entry(
    answer: Callable[[Event, Context, Ports], Awaitable[Any]], ports: MakePorts, declared: tuple[str, ...]
) -> Entry:
    """What AWS calls. The declared ports are made as for `lambda_entry`."""

    @cache
    def wired() -> tuple[asyncio.AbstractEventLoop, Ports]:
        return asyncio.new_event_loop(), ports(declared)

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
