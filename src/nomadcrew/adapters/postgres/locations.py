"""Location sharing, position views and meeting points, on PostgreSQL."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import product

from nomadcrew.adapters.postgres.positions import privacy_of, sharing_of
from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, after_columns, gate, json_param, statements
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotOnboarded
from nomadcrew.core.ids import EventId, TripId, UserId
from nomadcrew.core.locations.arrival import Change
from nomadcrew.core.locations.model import MAX_SHARING_S, MeetingPoint, OwnSettings, TripSharing, View
from nomadcrew.core.names import display_name
from nomadcrew.core.pages import After
from nomadcrew.core.trips.model import MAX_TRIPS_PER_USER

_SQL = statements("locations")
# Views stored recently, so that a client that polls every few seconds causes one write per hour.
REMEMBERED = 10_000
_View = tuple[TripId, UserId, UserId, datetime]


class PostgresLocationSharing:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def own_settings(self, caller: UserId) -> OwnSettings:
        rows = await self._sql.fetch(_SQL["own"], caller=caller, max_trips=MAX_TRIPS_PER_USER)
        if not rows:
            raise NotOnboarded
        trips = [
            TripSharing(row["trip_id"], row["trip_name"], sharing_of(row))
            for row in rows
            if row["trip_id"] is not None
        ]
        return OwnSettings(privacy_of(rows[0]["preference"]), rows[0]["is_ghost"], trips)

    async def shared_trips(self, caller: UserId, *, now: datetime) -> Sequence[TripId]:
        rows = await self._sql.fetch(_SQL["shared_trips"], caller=caller, now=now, max_trips=MAX_TRIPS_PER_USER)
        return [row["trip_id"] for row in rows]

    async def record_arrival(
        self, trip_id: TripId, user_id: UserId, change: Change, event_id: EventId, *, name: str, now: datetime
    ) -> None:
        await self._sql.fetch(
            _SQL["arrived"],
            trip_id=trip_id,
            user_id=user_id,
            place=change.place,
            is_there=change.is_there,
            event_id=event_id,
            name=name,
            now=now,
        )

    async def change_sharing(
        self,
        command: Command,
        *,
        is_enabled: bool | None,
        expires_at: datetime | None,
        privacy: str | None,
        keep_privacy: bool,
    ) -> None:
        [row] = await self._sql.fetch(
            _SQL["change"],
            **gate(command),
            is_enabled=is_enabled,
            expires_at=expires_at,
            privacy=privacy,
            keep_privacy=keep_privacy,
            max_sharing_s=MAX_SHARING_S,
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"])


class PostgresPositionViews:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._stored: OrderedDict[_View, None] = OrderedDict()

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        hour = now.replace(minute=0, second=0, microsecond=0)
        views = [(trip_id, owner, viewer, hour) for owner, viewer in product(owners, viewers) if owner != viewer]
        new = [view for view in views if view not in self._stored]
        if not new:
            return
        await self._sql.fetch(
            _SQL["note_views"],
            trip_id=trip_id,
            viewers=_texts(viewer for _, _, viewer, _ in new),
            owners=_texts(owner for _, owner, _, _ in new),
            hour=hour,
        )
        self._stored.update(dict.fromkeys(new))
        while len(self._stored) > REMEMBERED:
            self._stored.popitem(last=False)

    async def list_for_owner(
        self, access: Access, *, limit: int, offset: int = 0, after: After | None = None
    ) -> Sequence[View]:
        rows = await self._sql.fetch(
            _SQL["views"],
            **gate(access),
            limit=limit,
            offset=offset,
            **after_columns(after),
        )
        raise_for_verdict(rows[0]["verdict"])
        return [
            View(row["viewer_id"], display_name(row["first_name"], row["last_name"], row["username"]), row["hour"])
            for row in rows
            if row["viewer_id"] is not None
        ]


def _texts(ids: Iterable[UserId]) -> str:
    """The distinct ids, as a JSON array."""
    return json_param(list(dict.fromkeys(ids)))


class PostgresMeetingPoints:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def put(self, access: Access, point: MeetingPoint, event_id: EventId) -> None:
        [row] = await self._sql.fetch(
            _SQL["put_meeting_point"],
            **gate(access),
            latitude=point.latitude,
            longitude=point.longitude,
            name=point.name,
            radius_m=point.radius_m,
            event_id=event_id,
            now=point.set_at,
        )
        raise_for_verdict(row["verdict"])

    async def get(self, access: Access) -> MeetingPoint:
        [row] = await self._sql.fetch(_SQL["meeting_point"], **gate(access))
        raise_for_verdict(row["verdict"])
        return MeetingPoint(
            row["latitude"], row["longitude"], row["name"], row["radius_m"], row["set_by"], row["set_at"]
        )

    async def clear(self, command: Command) -> None:
        [row] = await self._sql.fetch(
            _SQL["clear_meeting_point"],
            **gate(command),
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"])
