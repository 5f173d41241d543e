"""Records of the location stream: accepted position reports."""

import msgspec

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import Accepted, Carried, Privacy, Report

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Carried).decode


class NotCarried(Hopeless):
    """A record is not a position report; retrying cannot help."""


def carried_of(report: Report, accepted: Accepted) -> Carried:
    """The record of an accepted report, without its hidden points."""
    points = [
        report.as_stored(index, privacy, is_jump=index in accepted.jumps)
        for index, privacy in enumerate(accepted.stored_under)
        if privacy is not Privacy.HIDDEN
    ]
    return Carried(report.trip_id, report.user_id, points)


def pack_carried(carried: Carried) -> str:
    return _encode(carried).decode()


def unpack_carried(text: str) -> Carried:
    """Decode a record.

    Raises:
        NotCarried: the text is not a record.
    """
    try:
        record = _decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NotCarried(type(error).__name__) from error
    return Carried(TripId(record.trip_id), UserId(record.user_id), record.points)
