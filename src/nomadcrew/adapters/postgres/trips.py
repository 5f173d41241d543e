"""Trips on PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from operator import itemgetter
from typing import Any

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, after_columns, gate, json_param, statements
from nomadcrew.adapters.postgres.text_keys import search_columns
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotOnboarded
from nomadcrew.core.ids import EventId, MembershipId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Role
from nomadcrew.core.retention import FINGERPRINT_RETENTION
from nomadcrew.core.text import search_key
from nomadcrew.core.trips.model import (
    MAX_LISTED_MEMBERS,
    MAX_TRIPS_PER_USER,
    TRANSITIONS,
    InvalidTransition,
    NewTrip,
    Status,
    Trip,
    TripCard,
    TripChange,
    TripMember,
    TripPage,
    TripSearch,
)

_SQL = statements("trips")
_trip_columns = itemgetter(*(name for name in Trip.__struct_fields__ if name != "members"))
_card_columns = itemgetter("id", "start_date", "member_count", "part")  # in the order of `TripCard`
_member_columns = itemgetter(  # in the order of `TripMember`
    "membership_id", "trip_id", "user_id", "role", "membership_status", "member_since", "member_updated_at",
    "email", "username", "first_name", "last_name", "avatar_url",
)  # fmt: skip


class PostgresTrips:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def add(
        self,
        trip_id: TripId,
        membership_id: MembershipId,
        event_id: EventId,
        new: NewTrip,
        caller: UserId,
        *,
        now: datetime,
        fingerprint: bytes,
    ) -> Trip:
        [row] = await self._sql.fetch(
            _SQL["add"],
            id=trip_id,
            membership_id=membership_id,
            event_id=event_id,
            caller=caller,
            now=now,
            fingerprint=fingerprint,
            kept_until=now + FINGERPRINT_RETENTION,
            max_trips=MAX_TRIPS_PER_USER,
            **_new_columns(new),
            **search_columns(destination_name=new.destination_name, destination_address=new.destination_address),
        )
        if raise_for_verdict(row["verdict"], "replayed") == "replayed":
            stored = _grouped(await self._sql.fetch(_SQL["replayed"], fingerprint=fingerprint, caller=caller))
            if stored:
                return stored[0]
        owner = TripMember(
            membership_id, trip_id, caller, Role.OWNER, "ACTIVE", now, now,
            row["email"], row["username"], row["first_name"], row["last_name"], row["avatar_url"],
        )  # fmt: skip
        return Trip(
            id=trip_id, created_by=caller, created_at=now, updated_at=now, member_count=1, members=[owner],
            **_new_columns(new),
        )  # fmt: skip

    async def list_for_user(
        self, caller: UserId, *, limit: int = MAX_TRIPS_PER_USER, after: After | None = None
    ) -> TripPage:
        rows = await self._sql.fetch(
            _SQL["of"],
            caller=caller,
            limit=limit,
            max_members=MAX_LISTED_MEMBERS,
            **_after_columns(after),
        )
        if not rows:
            raise NotOnboarded
        trips = _cards(rows)
        if len(trips) < limit and sum(trip.member_count for trip in trips) < MAX_LISTED_MEMBERS:
            return TripPage(trips, None)
        return TripPage(trips, _end(trips))

    async def search(self, access: Access, search: TripSearch, *, after: After | None = None) -> TripPage:
        rows = await self._sql.fetch(
            _SQL["search"],
            **gate(access),
            destination=None if search.destination is None else search_key(search.destination),
            start_from=search.start_from,
            start_to=search.start_to,
            end_to=search.end_to,
            limit=search.limit,
            offset=0 if after else search.offset,
            **_after_columns(after),
        )
        raise_for_verdict(rows[0]["verdict"])
        trips = _cards(rows)
        return TripPage(trips, _end(trips) if len(trips) == search.limit else None)

    async def card(self, access: Access) -> str:
        rows = await self._sql.fetch(_SQL["card"], **gate(access))
        raise_for_verdict(rows[0]["verdict"])
        return "".join([row["part"] for row in rows])

    async def get(self, access: Access) -> Trip:
        rows = await self._sql.fetch(_SQL["one"], **gate(access))
        raise_for_verdict(rows[0]["verdict"])
        return _grouped(rows)[0]

    async def change(
        self,
        access: Access,
        change: TripChange,
        *,
        must_move: bool,
        event_ids: tuple[EventId, EventId],
        now: datetime,
    ) -> Trip:
        rows = await self._sql.fetch(
            _SQL["change"],
            **gate(access),
            name=change.name,
            description=change.description,
            destination_place_id=change.destination_place_id,
            destination_address=change.destination_address,
            destination_name=change.destination_name,
            **search_columns(
                destination_name=change.destination_name, destination_address=change.destination_address
            ),
            destination_latitude=change.destination_latitude,
            destination_longitude=change.destination_longitude,
            start_date=change.start_date,
            end_date=change.end_date,
            status=change.status,
            timezone=change.timezone,
            destination_timezone=change.destination_timezone,
            must_move=must_move,
            allowed_from=_allowed_from(change.status),
            event_id=event_ids[0],
            status_event_id=event_ids[1],
            now=now,
        )
        if raise_for_verdict(rows[0]["verdict"], "invalid_status_transition") != "ok":
            raise InvalidTransition(rows[0]["old_status"], str(change.status))
        return _grouped(rows)[0]

    async def delete(self, command: Command) -> None:
        [row] = await self._sql.fetch(
            _SQL["delete"],
            **gate(command),
            event_id=command.event_id,
            now=command.now,
        )
        raise_for_verdict(row["verdict"])


def _after_columns(after: After | None) -> dict[str, object]:
    """The parameters of a statement that lists trips below `after`, which sorts by dates."""
    return after_columns(after) | {"after_at": None if after is None else after.at.date()}


def _cards(rows: Sequence[Row]) -> list[TripCard]:
    """Cards from rows of their parts, sorted by trip."""
    cards: list[TripCard] = []
    for card in map(TripCard._make, map(_card_columns, rows)):
        if cards and cards[-1].id == card.id:
            cards[-1] = cards[-1]._replace(body=cards[-1].body + card.body)
        elif card.id is not None:
            cards.append(card)
    return cards


def _end(trips: Sequence[TripCard]) -> After:
    return After(datetime.combine(trips[-1].start_date, time(), UTC), trips[-1].id)


def _new_columns(new: NewTrip) -> dict[str, Any]:
    return {name: getattr(new, name) for name in NewTrip.__struct_fields__}


def _allowed_from(status: Status | None) -> str:
    """The statuses that may change to `status`, as a JSON array."""
    return json_param([old for old, following in TRANSITIONS.items() if status in following])


def _grouped(rows: Sequence[Row]) -> list[Trip]:
    """Trips from rows of members, sorted by trip; only the caller's row has the columns of the trip."""
    trips: list[Trip] = []
    crew: list[TripMember] = []
    crew_of: TripId | None = None
    for row in rows:
        trip_id = row["trip_id"]
        if trip_id is None:
            continue
        if trip_id != crew_of:
            crew, crew_of = [], trip_id
        if row["id"] is not None:
            trips.append(Trip(*(*_trip_columns(row), crew)))
        crew.append(TripMember._make(_member_columns(row)))
    return trips
