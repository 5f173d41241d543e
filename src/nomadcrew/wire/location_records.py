"""Reports on their way through the location stream."""

import msgspec

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import Accepted, Carried, Privacy, Report

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Carried).decode


class NotCarried(Hopeless):
    """A record is no report, and will not become one."""


def carried_of(report: Report, accepted: Accepted) -> Carried:
    """What of an accepted report is carried: what nobody may ever see goes nowhere."""
    points = [
        report.as_stored(place, privacy, is_jump=place in accepted.jumps)
        for place, privacy in enumerate(accepted.stored_under)
        if privacy is not Privacy.HIDDEN
    ]
    return Carried(report.trip_id, report.user_id, points)


def pack_carried(carried: Carried) -> str:
    return _encode(carried).decode()


def unpack_carried(text: str) -> Carried:
    """The report in a record.

    Raises:
        NotCarried: there is none.
    """
    try:
        found = _decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NotCarried(type(error).__name__) from error
    return Carried(TripId(found.trip_id), UserId(found.user_id), found.points)
