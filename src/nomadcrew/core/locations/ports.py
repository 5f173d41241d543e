"""What positions need from whatever stores them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.locations.arrival import Change
from nomadcrew.core.locations.model import (
    Accepted,
    Carried,
    Crew,
    MeetingPoint,
    OwnSettings,
    Report,
    StoredPoint,
    Track,
    View,
)
from nomadcrew.core.permissions import Rule


class Positions(Protocol):
    """Last positions, and a history of thirty days. What it returns is as stored; `privacy.seen` says who sees it.

    Every method raises `NotOnboarded`, `NotTripMember` and `NotFound` (a deleted trip).
    """

    async def accept(self, report: Report, rule: Rule) -> Accepted:
        """Store a report; its last position, and what it says about sharing, are there when this returns.

        A point goes by when it was recorded, whatever order it comes in, and the same one again is the same point:
        a last position only moves forward in that time. Points that are too fast after the last position become
        nobody's last position. What is given under `hidden` has no history. Reporting on a trip for the first time
        turns sharing on there; after that it stays as it was last said. That it changed is told in an event.
        """
        ...

    async def crew(self, trip_id: TripId, caller: UserId, rule: Rule) -> Crew:
        """The trip's ACTIVE members, longest first, with their last positions."""
        ...

    async def track(
        self, trip_id: TripId, user_id: UserId, caller: UserId, rule: Rule, *, start: datetime, end: datetime
    ) -> Track:
        """A member's points from `start` to before `end` without jumps, thinned evenly if they are very many.

        Raises:
            NotFound: also where `user_id` is not on the trip.
        """
        ...


class LocationStream(Protocol):
    """Carries what was accepted to whoever tells the crew of it, and keeps its history where nobody has."""

    async def carry(self, report: Report, accepted: Accepted) -> bool:
        """Have the crew told what they may know of an accepted report; the same again is told again at worst.

        True where that put something in the outbox.

        Reports of one trip are told in the order they were carried in.

        Raises:
            Unavailable: it is not carried; the same report may be sent again.
        """
        ...


class CarriedPositions(Protocol):
    """What a stream's consumer does with what it carried, where that is a function of its own."""

    async def keep(self, carried: Sequence[Carried]) -> Sequence[tuple[TripId, Accepted]]:
        """Keep the history of reports; those whose last position is still of one of them, as they are now.

        The same again changes nothing. Whoever is not on the trip any more is left out.

        Raises:
            Unavailable: not all of it is kept; do it again.
        """
        ...


class LastPositions(Protocol):
    """The last position of each member, as stored. Raises `Unavailable` and nothing else."""

    async def get(self, trip_id: TripId, user_id: UserId) -> StoredPoint | None: ...

    async def of(self, trip_id: TripId) -> Mapping[UserId, StoredPoint]:
        """Everybody's who was ever on the trip, for thirty days."""
        ...

    async def keep_newest(self, trip_id: TripId, user_id: UserId, point: StoredPoint) -> bool:
        """Store a point unless one recorded at the same time or later is held; whether it was stored."""
        ...


class LocationHistory(Protocol):
    """Thirty days of points, as stored. Raises `Unavailable` and nothing else."""

    async def keep(self, points: Sequence[tuple[TripId, UserId, StoredPoint]]) -> None:
        """Store points, which may be of any time and come in any order; the same again is the same point."""
        ...

    async def track(
        self, trip_id: TripId, user_id: UserId, *, start: datetime, end: datetime
    ) -> Sequence[StoredPoint]:
        """Points from `start` to before `end` without jumps, oldest first, thinned evenly above `MAX_READ`."""
        ...


class LocationSharing(Protocol):
    """What people share, and what follows from it. Events of a write are stored in its transaction."""

    async def own(self, caller: UserId) -> OwnSettings:
        """The caller's settings, with each trip of theirs that goes on.

        Raises:
            NotOnboarded: no profile.
        """
        ...

    async def shared_trips(self, caller: UserId, *, now: datetime) -> Sequence[TripId]:
        """The trips on which the caller shares their position now; none for somebody unknown."""
        ...

    async def arrived(
        self, trip_id: TripId, user_id: UserId, change: Change, event_id: EventId, *, name: str, now: datetime
    ) -> None:
        """Keep that somebody came or left, and tell of a coming; what is known changes and tells nothing."""
        ...

    async def change(
        self,
        trip_id: TripId,
        caller: UserId,
        rule: Rule,
        *,
        is_enabled: bool | None,
        expires_at: datetime | None,
        privacy: str | None,
        keep_privacy: bool,
        event_id: EventId,
        now: datetime,
    ) -> None:
        """Change what the caller shares on a trip; None leaves sharing as it is, `keep_privacy` its privacy.

        Raises:
            NotOnboarded, NotTripMember, NotFound: as ever.
        """
        ...


class PositionViews(Protocol):
    """Who was shown whose position, by the hour, kept as long as positions are."""

    async def note(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        """Keep that each of `viewers` was shown the positions of all `owners`, but nobody their own.

        The same again in the same hour is one view. Whoever is gone by now is passed over.

        Raises:
            Unavailable: not all of it is kept; it may be noted again.
        """
        ...

    async def of(self, trip_id: TripId, caller: UserId, rule: Rule, *, limit: int, offset: int) -> Sequence[View]:
        """Who was shown the caller's position on the trip, newest first.

        Raises:
            NotOnboarded, NotTripMember, NotFound: as ever.
        """
        ...


class MeetingPoints(Protocol):
    """Where a trip's members meet; at most one place a trip. Raises as `Positions` does."""

    async def put(
        self, trip_id: TripId, caller: UserId, rule: Rule, point: MeetingPoint, event_id: EventId
    ) -> None:
        """Set the place. A new one has nobody there yet; the same again changes and tells nothing."""
        ...

    async def get(self, trip_id: TripId, caller: UserId, rule: Rule) -> MeetingPoint:
        """The place.

        Raises:
            NotFound: also where there is none.
        """
        ...

    async def clear(self, trip_id: TripId, caller: UserId, rule: Rule, event_id: EventId, *, now: datetime) -> None:
        """Have none any more; where there is none, nothing happens."""
        ...
