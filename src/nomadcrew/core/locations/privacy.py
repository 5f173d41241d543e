"""Decides which readers see which positions, for every route, broadcast and export.

A stored position is never shown as it is. Readers get a `VisiblePosition`, which only `visible_position`
creates.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.core.ids import UserId
from nomadcrew.core.locations.model import STALE_AFTER, Owner, Point, Privacy, Reader, Sharing, StoredPoint

DECIMALS = 2  # about a kilometre
# The times of an approximate track. The moment at which a track changes its cell tells one true coordinate, so the
# moment must be as vague as the cell: a kilometre is a walk of a quarter of an hour. Members who watch an
# approximate position live see the change when it happens.
TRACK_STEP = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_USER = UserId(UUID(int=0))
_ORDER = (Privacy.HIDDEN, Privacy.APPROXIMATE, Privacy.PRECISE)


class VisiblePosition(Struct, frozen=True):
    """A position as a reader may see it."""

    latitude: float
    longitude: float
    recorded_at: datetime
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


def any_member(now: datetime) -> Reader:
    """A reader without identity: sees what every member may see."""
    return Reader(_NO_USER, now)


def strictest(*levels: Privacy | None) -> Privacy:
    """The strictest level; None is ignored. Default: `PRECISE`."""
    return next((level for level in _ORDER if level in levels), Privacy.PRECISE)


def privacy_when_reported(requested: Privacy, owner: Owner, *, has_ended: bool, now: datetime) -> Privacy:
    """The privacy that a point reported now is stored under. It is never shown in more detail later.

    The statement that stores positions has the same rule in SQL, as `given_under`; a test compares both.
    """
    if has_ended or not _is_on(owner.sharing, now):
        return Privacy.HIDDEN
    return strictest(requested, _owner_privacy(owner))


def privacies_to_store(
    points: Sequence[Point], owner: Owner, *, shown_since: datetime | None, has_ended: bool, now: datetime
) -> list[Privacy]:
    """The privacy that each reported point is stored under: hidden if it was recorded while its owner was hidden.

    A phone may send such a point after its owner has become visible again, at `shown_since`.
    """
    limit = privacy_when_reported(Privacy.PRECISE, owner, has_ended=has_ended, now=now)
    return [
        Privacy.HIDDEN
        if shown_since is not None and point.recorded_at < shown_since
        else strictest(point.privacy, limit)
        for point in points
    ]


def visible_position(
    point: StoredPoint, owner: Owner, reader: Reader, *, has_ended: bool, now: datetime, of_track: bool = False
) -> VisiblePosition | None:
    """The stored position of `owner` as `reader` may see it; None if it is hidden.

    Args:
        has_ended: the trip is completed, cancelled or deleted.
        of_track: the point is part of a track. Old points are visible, but none from before the reader joined;
            approximate points have the time at which their `TRACK_STEP` began.
    """
    if reader.joined_at is None:
        return None
    if reader.user_id == owner.user_id:
        return _precise(point)
    if has_ended or owner.joined_at is None or not _is_on(owner.sharing, now):
        return None
    if point.received_at < owner.joined_at:
        return None  # from an earlier membership
    if point.recorded_at < reader.joined_at if of_track else now - point.recorded_at >= STALE_AFTER:
        return None
    match strictest(point.privacy, _owner_privacy(owner)):
        case Privacy.HIDDEN:
            return None
        case Privacy.APPROXIMATE:
            position = _approximate(point)
            return replace(position, recorded_at=track_step(point.recorded_at)) if of_track else position
        case Privacy.PRECISE:  # pragma: no branch — the levels are exhausted
            return _precise(point)


def _is_on(sharing: Sharing | None, now: datetime) -> bool:
    return sharing is not None and sharing.is_on(now)


def _owner_privacy(owner: Owner) -> Privacy:
    if owner.is_ghost:
        return Privacy.HIDDEN
    return strictest(owner.preference, None if owner.sharing is None else owner.sharing.privacy)


def _precise(point: StoredPoint) -> VisiblePosition:
    return VisiblePosition(
        point.latitude,
        point.longitude,
        point.recorded_at,
        point.privacy,
        point.accuracy_m,
        point.speed_mps,
        point.heading_deg,
    )


def track_step(moment: datetime) -> datetime:
    """The start of the `TRACK_STEP` of a time."""
    return moment - (moment - _EPOCH) % TRACK_STEP


def _approximate(point: StoredPoint) -> VisiblePosition:
    return VisiblePosition(
        round(point.latitude, DECIMALS), round(point.longitude, DECIMALS), point.recorded_at, Privacy.APPROXIMATE
    )
