"""Time as the product sees it: aware, UTC, microseconds."""

from datetime import UTC, date, datetime, time
from typing import Protocol


class Clock(Protocol):
    """Tells the current time, aware and in UTC."""

    def __call__(self) -> datetime: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


def midnight(day: date) -> datetime:
    """How a calendar date travels on the wire: midnight UTC."""
    return datetime.combine(day, time(), UTC)
