"""Positions with last positions and history in DynamoDB tables, and a stream in between.

Visibility and the effects of a report on sharing are decided in SQL, with one statement per report.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from nomadcrew.adapters.postgres.positions import (
    crew_of,
    owner_of,
    places_of,
    store_reports,
    track_of,
)
from nomadcrew.adapters.postgres.sql import Sql, gate, statements
from nomadcrew.core.access import Access
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import (
    MAX_READ,
    Accepted,
    Crew,
    LocationRecord,
    Member,
    Privacy,
    Report,
    StoredPoint,
    Track,
)
from nomadcrew.core.locations.ports import LastPositions, LocationHistory
from nomadcrew.core.locations.privacy import privacy_when_reported
from nomadcrew.core.locations.reports import weighed
from nomadcrew.core.permissions import Rule

_SQL = statements("locations")


class DynamoPositions:
    """`Positions`; the stream's consumer stores the history of a report."""

    def __init__(self, sql: Sql, last: LastPositions, history: LocationHistory) -> None:
        self._sql = sql
        self._last = last
        self._history = history

    async def accept(self, report: Report, rule: Rule) -> Accepted:
        verdicts, previous = await asyncio.gather(
            store_reports(self._sql, [(0, report)], rule, points=False),
            self._last.get(report.trip_id, report.user_id),
        )
        accepted = verdicts[0]
        if isinstance(accepted, Exception):
            raise accepted
        ruled = weighed(report, accepted.stored_under, previous, accepted.trusted_since)
        accepted = replace(accepted, jumps=ruled.jumps)
        if ruled.newest is None:
            if previous is not None and ruled.rival is not None:
                await self._last.store_rival(report.trip_id, report.user_id, previous, ruled.rival)
            return accepted
        last = report.as_stored(ruled.newest, accepted.stored_under[ruled.newest])
        stored = replace(accepted, member=replace(accepted.member, last=last), moved=True)
        if previous is not None and _hides_visible(previous, stored, report.now):
            # Insert the event first: after the position is stored, a retry would find nothing to hide.
            await self._sql.fetch(
                _SQL["hidden"],
                event_id=report.event_id,
                trip_id=report.trip_id,
                user_id=report.user_id,
                now=report.now,
            )
            accepted, stored = replace(accepted, has_events=True), replace(stored, has_events=True)
        return stored if await self._last.store_if_newer(report.trip_id, report.user_id, last) else accepted

    async def members_with_positions(self, access: Access) -> Crew:
        rows, last = await asyncio.gather(
            self._sql.fetch(_SQL["crew"], **gate(access)),
            self._last.list_for_trip(access.trip_id),
        )
        crew = crew_of(rows, access.caller)
        return replace(
            crew,
            members=[
                replace(member, last=_current(member, last.get(member.owner.user_id))) for member in crew.members
            ],
        )

    async def track(self, access: Access, user_id: UserId, *, start: datetime, end: datetime) -> Track:
        (facts, *_), points = await asyncio.gather(
            self._sql.fetch(
                _SQL["track"],
                **gate(access),
                user_id=user_id,
                # Only the facts: the points are in the history's table.
                start=end,
                end=end,
                max_points=MAX_READ,
            ),
            self._history.track(access.trip_id, user_id, start=start, end=end),
        )
        return track_of(facts, user_id, access.caller, points)


class DynamoStreamedPositions:
    """`StreamedPositions` on the same tables."""

    def __init__(self, sql: Sql, last: LastPositions, history: LocationHistory) -> None:
        self._sql = sql
        self._last = last
        self._history = history

    async def store(self, carried: Sequence[LocationRecord]) -> Sequence[tuple[TripId, Accepted]]:
        members = list(dict.fromkeys((record.trip_id, record.user_id) for record in carried))
        if not members:
            return []
        _, rows, last = await asyncio.gather(
            self._history.store(
                [(record.trip_id, record.user_id, point) for record in carried for point in record.points]
            ),
            self._sql.fetch(_SQL["members_now"], members=json.dumps(
                [{"n": n, "trip_id": str(trip), "user_id": str(user)} for n, (trip, user) in enumerate(members)]
            )),
            asyncio.gather(*(self._last.get(*member) for member in members)),
        )  # fmt: skip
        moments: dict[tuple[TripId, UserId], set[datetime]] = {member: set() for member in members}
        for record in carried:
            moments[record.trip_id, record.user_id].update(point.recorded_at for point in record.points)
        latest = []
        for row in rows:
            trip_id, user_id = member = members[row["n"]]
            previous = last[row["n"]]
            # Another report has a newer position, which is broadcast with that report.
            if previous is None or previous.recorded_at not in moments[member]:
                continue
            member_now = Member(
                owner_of(row, user_id), row["first_name"], row["last_name"], row["username"], previous
            )
            latest.append(
                (trip_id, Accepted(member_now, row["has_ended"], places_of(row), frozenset(), (), moved=True))
            )
        return latest


def _hides_visible(previous: StoredPoint, stored: Accepted, now: datetime) -> bool:
    """True if a hidden position replaces a visible one, and no event says so yet."""
    last = stored.member.last
    if (
        stored.has_events
        or last is None
        or last.privacy is not Privacy.HIDDEN
        or previous.privacy is Privacy.HIDDEN
    ):
        return False
    # A member who is hidden by their settings was removed from clients before.
    allowed = privacy_when_reported(Privacy.PRECISE, stored.member.owner, has_ended=stored.has_ended, now=now)
    return allowed is not Privacy.HIDDEN


def _current(member: Member, last: StoredPoint | None) -> StoredPoint | None:
    """A member's last position, unless it is from an earlier membership of the trip."""
    joined_at = member.owner.joined_at
    return last if last is not None and joined_at is not None and last.received_at >= joined_at else None
