"""Time zones of destinations, and the days there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from nomadcrew.core.errors import Invalid

if TYPE_CHECKING:
    from datetime import date, tzinfo

MAX_NAME = 64
# Of trips without a destination.
DEFAULT = "UTC"


class TimeZones(Protocol):
    def at(self, latitude: float, longitude: float) -> str:
        """The IANA name of the time zone at coordinates in WGS-84 decimal degrees, also at sea."""
        ...


def zone_named(name: str) -> tzinfo:
    """The time zone of that IANA name. `zoneinfo` is imported here: few requests need it, and it slows every start.

    Raises:
        KeyError, OSError, ValueError: the time zone is unknown.
    """
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def check_timezone(name: str) -> None:
    """Check the name of a time zone.

    Raises:
        Invalid: the name is unknown.
    """
    if not _is_zone(name):
        raise Invalid("`timezone` must be an IANA time zone, such as Europe/Lisbon.", code="invalid_time_zone")


def _is_zone(name: str) -> bool:
    if not name.isascii() or len(name) > MAX_NAME:
        return False
    try:
        zone_named(name)
    except (KeyError, OSError, ValueError):
        return False
    return True


def local_day(moment: datetime, timezone: str) -> date:
    """The calendar day in a time zone at a moment."""
    return moment.astimezone(zone_named(timezone)).date()


def instant(local: datetime, timezone: str) -> datetime:
    """The moment, in UTC, at which clocks in a time zone show `local`.

    Of a time that comes twice it is the first; a time that clocks skip is moved on by the length of the gap.
    """
    return local.replace(tzinfo=zone_named(timezone)).astimezone(UTC)
