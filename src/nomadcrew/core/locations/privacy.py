"""Who sees what of a position: the one place that decides it, for everything that shows, tells or exports one.

What is stored is never shown as it is. A reader is shown a `Seen`, which only `seen` makes.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from nomadcrew.core.ids import UserId
from nomadcrew.core.locations.model import STALE_AFTER, Owner, Point, Privacy, Reader, Sharing, StoredPoint

DECIMALS = 2  # about a kilometre
_ANYBODY = UserId(UUID(int=0))
_ORDER = (Privacy.HIDDEN, Privacy.APPROXIMATE, Privacy.PRECISE)


@dataclass(frozen=True, slots=True)
class Seen:
    """A position as somebody may see it."""

    latitude: float
    longitude: float
    recorded_at: datetime
    privacy: Privacy
    accuracy_m: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None


def anybody(now: datetime) -> Reader:
    """Whoever is on the trip and nobody in particular, for what all of the crew may see."""
    return Reader(_ANYBODY, now)


def strictest(*opinions: Privacy | None) -> Privacy:
    """The strictest opinion; who has none, None, decides nothing."""
    return min((opinion for opinion in opinions if opinion is not None), key=_ORDER.index, default=Privacy.PRECISE)


def given_under(asked: Privacy, owner: Owner, *, has_ended: bool, now: datetime) -> Privacy:
    """What a point that is reported now is stored under; it is never shown in more detail later.

    The statement that stores positions says the same in SQL, as `given_under`.
    """
    if has_ended or not _is_on(owner.sharing, now):
        return Privacy.HIDDEN
    return strictest(asked, _now_allowed(owner))


def stored_under(
    point: Point, owner: Owner, *, shown_since: datetime | None, has_ended: bool, now: datetime
) -> Privacy:
    """What a reported point is stored under: hidden where it was recorded before its owner could be seen again.

    So what happened while they hid is not readable later, though a phone sends it later.
    """
    if shown_since is not None and point.recorded_at < shown_since:
        return Privacy.HIDDEN
    return given_under(point.privacy, owner, has_ended=has_ended, now=now)


def seen(
    point: StoredPoint, owner: Owner, reader: Reader, *, has_ended: bool, now: datetime, of_track: bool = False
) -> Seen | None:
    """What `reader` may see of a stored position of `owner`, None where that is nothing.

    Args:
        has_ended: whether the trip is over, cancelled or gone.
        of_track: it is a point of a history: old ones may be shown, but none from before the reader came.
    """
    if reader.joined_at is None:
        return None
    if reader.user_id == owner.user_id:
        return _precisely(point)
    if has_ended or owner.joined_at is None or not _is_on(owner.sharing, now):
        return None
    if point.received_at < owner.joined_at:
        return None  # from an earlier time on the trip, which ended
    if point.recorded_at < reader.joined_at if of_track else now - point.recorded_at >= STALE_AFTER:
        return None
    match strictest(point.privacy, _now_allowed(owner)):
        case Privacy.HIDDEN:
            return None
        case Privacy.APPROXIMATE:
            return _roughly(point)
        case Privacy.PRECISE:
            return _precisely(point)


def _is_on(sharing: Sharing | None, now: datetime) -> bool:
    return sharing is not None and sharing.is_on(now)


def _now_allowed(owner: Owner) -> Privacy:
    if owner.is_ghost:
        return Privacy.HIDDEN
    return strictest(owner.preference, None if owner.sharing is None else owner.sharing.privacy)


def _precisely(point: StoredPoint) -> Seen:
    return Seen(
        point.latitude,
        point.longitude,
        point.recorded_at,
        point.privacy,
        point.accuracy_m,
        point.speed_mps,
        point.heading_deg,
    )


def _roughly(point: StoredPoint) -> Seen:
    return Seen(
        round(point.latitude, DECIMALS), round(point.longitude, DECIMALS), point.recorded_at, Privacy.APPROXIMATE
    )
