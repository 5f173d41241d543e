"""The product's time: aware, UTC, in microseconds."""

from datetime import UTC, date, datetime, time
from typing import Protocol


class Clock(Protocol):
    """Returns the current time, aware and in UTC."""

    def __call__(self) -> datetime: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


def midnight(day: date) -> datetime:
    """A calendar date's form on the wire: midnight UTC."""
    return datetime.combine(day, time(), UTC)
