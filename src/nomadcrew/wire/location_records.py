"""Records of the location stream: accepted position reports."""

import msgspec

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import Accepted, LocationRecord, Privacy, Report

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LocationRecord).decode


class NotALocationRecord(PermanentFailure):
    """A record is not a position report; retrying cannot help."""


def record_of(report: Report, accepted: Accepted) -> LocationRecord:
    """The record of an accepted report, without its hidden points."""
    points = [
        report.as_stored(index, privacy, is_jump=index in accepted.jumps)
        for index, privacy in enumerate(accepted.stored_under)
        if privacy is not Privacy.HIDDEN
    ]
    return LocationRecord(report.trip_id, report.user_id, points)


def pack_record(carried: LocationRecord) -> str:
    return _encode(carried).decode()


def unpack_record(text: str) -> LocationRecord:
    """Decode a record.

    Raises:
        NotALocationRecord: the text is not a record.
    """
    try:
        record = _decode(text)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NotALocationRecord(type(error).__name__) from error
    return LocationRecord(TripId(record.trip_id), UserId(record.user_id), record.points)
