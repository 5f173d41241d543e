"""Ports of positions, sharing, views and meeting points."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.locations.arrival import Change
from nomadcrew.core.locations.model import (
    Accepted,
    Crew,
    LocationRecord,
    MeetingPoint,
    OwnSettings,
    Report,
    Rival,
    StoredPoint,
    Track,
    View,
)
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule


class Positions(Protocol):
    """Last positions, and a history of thirty days.

    Returns positions as stored; `privacy.visible_position` decides who sees them.

    Every method raises `NotOnboarded`, `NotTripMember` and `NotFound` (a deleted trip).
    """

    async def accept(self, report: Report, rule: Rule) -> Accepted:
        """Store a report. Its last position and its change of sharing are durable when this returns.

        Points are ordered by `recorded_at`, in any order of arrival, and a repeated point is stored once: a last
        position only moves forward in that time. A point that is too fast after the last position never becomes the
        last position. Points stored under `hidden` have no history. The first report on a trip turns sharing on;
        later reports change it only on request. A change of sharing causes an event.
        """
        ...

    async def members_with_positions(self, access: Access) -> Crew:
        """The trip's ACTIVE members with their last positions, oldest membership first."""
        ...

    async def track(self, access: Access, user_id: UserId, *, start: datetime, end: datetime) -> Track:
        """A member's points in [`start`, `end`) without jumps, thinned evenly above `MAX_READ`.

        Raises:
            NotFound: also if `user_id` is not on the trip.
        """
        ...


class LocationStream(Protocol):
    """Publishes accepted reports to the consumer that broadcasts them and, on AWS, stores their history."""

    async def publish(self, report: Report, accepted: Accepted) -> bool:
        """Publish a report. A repeat is broadcast again at worst. True if it put an event in the outbox.

        Reports of one trip are broadcast in the order of publication.

        Raises:
            Unavailable: the report is not published; the client may send it again.
        """
        ...


class StreamedPositions(Protocol):
    """Stores the records of the location stream, in the function that consumes it."""

    async def store(self, carried: Sequence[LocationRecord]) -> Sequence[tuple[TripId, Accepted]]:
        """Store the history of records. Returns the members whose last position is from one of them.

        Safe to repeat. Former members are left out.

        Raises:
            Unavailable: some records are not stored; repeat the call.
        """
        ...


class LastPositions(Protocol):
    """The last position of each member, as stored. Raises only `Unavailable`."""

    async def get(self, trip_id: TripId, user_id: UserId) -> StoredPoint | None: ...

    async def list_for_trip(self, trip_id: TripId) -> Mapping[UserId, StoredPoint]:
        """The last positions of present and former members, retained for thirty days."""
        ...

    async def store_if_newer(self, trip_id: TripId, user_id: UserId, point: StoredPoint) -> bool:
        """Store a point unless the stored one is as new or newer, by `recorded_at`. True if it was stored.

        A hidden point also replaces a visible one of the same moment.

        The stored point has no rival.
        """
        ...

    async def store_rival(self, trip_id: TripId, user_id: UserId, last: StoredPoint, rival: Rival) -> None:
        """Store the rival of a last position, unless another position is the last one by now."""
        ...


class LocationHistory(Protocol):
    """Thirty days of points, as stored. Raises only `Unavailable`."""

    async def store(self, points: Sequence[tuple[TripId, UserId, StoredPoint]]) -> None:
        """Store points of any time, in any order. A repeated point is stored once."""
        ...

    async def track(
        self, trip_id: TripId, user_id: UserId, *, start: datetime, end: datetime
    ) -> Sequence[StoredPoint]:
        """Points in [`start`, `end`) without jumps, oldest first, thinned evenly above `MAX_READ`."""
        ...


class LocationSharing(Protocol):
    """Members' sharing and arrivals. Events of a write are stored in its transaction."""

    async def own_settings(self, caller: UserId) -> OwnSettings:
        """The caller's settings, with each trip that has not ended.

        Raises:
            NotOnboarded: the caller has no profile.
        """
        ...

    async def shared_trips(self, caller: UserId, *, now: datetime) -> Sequence[TripId]:
        """The trips on which the caller shares positions now; none for an unknown user."""
        ...

    async def record_arrival(
        self, trip_id: TripId, user_id: UserId, change: Change, event_id: EventId, *, name: str, now: datetime
    ) -> None:
        """Store an arrival or departure; an arrival causes an event. A known state changes nothing."""
        ...

    async def change_sharing(
        self,
        command: Command,
        *,
        is_enabled: bool | None,
        expires_at: datetime | None,
        privacy: str | None,
        keep_privacy: bool,
    ) -> None:
        """Change the caller's sharing on a trip. `is_enabled` None leaves sharing unchanged, `keep_privacy` the
        privacy.

        Raises:
            NotOnboarded, NotTripMember, NotFound: as in `Positions`.
        """
        ...


class PositionViews(Protocol):
    """Views: the members who saw a member's position, by hour, retained as long as positions."""

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        """Record that each viewer saw the positions of all owners, except the viewer's own.

        Repeats within an hour are one view. Deleted users are skipped.

        Raises:
            Unavailable: some views are not recorded; the call may be repeated.
        """
        ...

    async def list_for_owner(
        self, access: Access, *, limit: int, offset: int = 0, after: After | None = None
    ) -> Sequence[View]:
        """The views of the caller's position on the trip below `after`, newest first.

        Raises:
            NotOnboarded, NotTripMember, NotFound: as in `Positions`.
        """
        ...


class MeetingPoints(Protocol):
    """Meeting points, at most one per trip. Raises as `Positions` does."""

    async def put(self, access: Access, point: MeetingPoint, event_id: EventId) -> None:
        """Set the meeting point. A new one resets its arrivals; the same one changes nothing, without an event."""
        ...

    async def get(self, access: Access) -> MeetingPoint:
        """The meeting point.

        Raises:
            NotFound: also if the trip has none.
        """
        ...

    async def clear(self, command: Command) -> None:
        """Remove the meeting point, if there is one."""
        ...
