"""The entry of every Lambda function: builds its ports before the first event, then answers events with them."""

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
# Reserved at the end of an invocation for the answer.
MARGIN_S = 2.0


class Context(Protocol):
    """The fields read from Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


Entry = Callable[[Event, Any], Any]
MakePorts = Callable[[tuple[str, ...]], Ports]


def event_entry(
    answer: Callable[[Event, Context, Ports], Awaitable[Any]], ports: MakePorts, declared: tuple[str, ...]
) -> Entry:
    """A handler for AWS, with the declared ports."""
    return entry(answer, lambda: ports(declared))


def entry(answer: Callable[[Event, Context, T], Awaitable[Any]], make: Callable[[], T]) -> Entry:
    """A handler for AWS, which gets the result of `make`.

    `make` is called once. On Lambda it runs at import, since INIT has a full CPU and the first event does not.
    Elsewhere it runs at the first event, so that importing a function for its table needs no settings.
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
    """Seconds until the function must answer."""
    return context.get_remaining_time_in_millis() / 1000 - MARGIN_S
