"""The product's time: aware, UTC, in microseconds."""

from datetime import UTC, date, datetime, time
from typing import Protocol

from nomadcrew.core.errors import Invalid


class Clock(Protocol):
    """Returns the current time, aware and in UTC."""

    def __call__(self) -> datetime: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


def in_utc(moment: datetime, name: str) -> datetime:
    """The time that a client sent as `name`, in UTC.

    Raises:
        Invalid: it is before year 1 or after year 9999 in UTC.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Invalid(f"`{name}` is out of range.", code="invalid_request_payload") from None


def midnight(day: date) -> datetime:
    """A calendar date's form on the wire: midnight UTC."""
    return datetime.combine(day, time(), UTC)
