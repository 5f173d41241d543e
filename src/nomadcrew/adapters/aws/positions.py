"""Positions where last ones and history are in tables of their own, and a stream runs between the two.

What decides who sees a position, and what follows from a report for sharing, is in SQL: one statement a report.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from nomadcrew.adapters.postgres.positions import (
    crew_of,
    owner_of,
    places_of,
    store_reports,
    track_of,
)
from nomadcrew.adapters.postgres.sql import Sql, statements
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import (
    MAX_READ,
    Accepted,
    Carried,
    Crew,
    Member,
    Point,
    Privacy,
    Report,
    StoredPoint,
    Track,
)
from nomadcrew.core.locations.ports import LastPositions, LocationHistory
from nomadcrew.core.locations.privacy import given_under
from nomadcrew.core.locations.reports import too_fast
from nomadcrew.core.permissions import Rule

_SQL = statements("locations")


class TablePositions:
    """`Positions`; the history of a report is kept by whoever consumes the stream it is carried in."""

    def __init__(self, sql: Sql, last: LastPositions, history: LocationHistory) -> None:
        self._sql = sql
        self._last = last
        self._history = history

    async def accept(self, report: Report, rule: Rule) -> Accepted:
        verdicts, held = await asyncio.gather(
            store_reports(self._sql, [(0, report)], rule, points=False),
            self._last.get(report.trip_id, report.user_id),
        )
        accepted = verdicts[0]
        if isinstance(accepted, Exception):
            raise accepted
        jumps = report.jumps | {
            place for place, point in enumerate(report.points) if held is not None and _is_jump(held, point)
        }
        newest = max(
            (
                (point.recorded_at, place)
                for place, point in enumerate(report.points)
                if place not in jumps and (held is None or point.recorded_at > held.recorded_at)
            ),
            default=None,
        )
        if newest is None:
            return replace(accepted, jumps=frozenset(jumps))
        place = newest[1]
        last = report.as_stored(place, accepted.stored_under[place])
        stored = replace(accepted, member=replace(accepted.member, last=last), jumps=frozenset(jumps), moved=True)
        if held is not None and _takes_away(held, stored, report.now):
            # First: once the position is kept, a repeat after an outage finds nothing that it takes away.
            await self._sql.fetch(
                _SQL["hidden"],
                event_id=report.event_id,
                trip_id=report.trip_id,
                user_id=report.user_id,
                now=report.now,
            )
            accepted, stored = replace(accepted, has_told=True), replace(stored, has_told=True)
        if not await self._last.keep_newest(report.trip_id, report.user_id, last):
            return replace(accepted, jumps=frozenset(jumps))
        return stored

    async def crew(self, trip_id: TripId, caller: UserId, rule: Rule) -> Crew:
        rows, last = await asyncio.gather(
            self._sql.fetch(_SQL["crew"], trip_id=trip_id, caller=caller, min_rank=rule.min_rank),
            self._last.of(trip_id),
        )
        crew = crew_of(rows, caller)
        return replace(
            crew,
            members=[replace(member, last=_of(member, last.get(member.owner.user_id))) for member in crew.members],
        )

    async def track(
        self, trip_id: TripId, user_id: UserId, caller: UserId, rule: Rule, *, start: datetime, end: datetime
    ) -> Track:
        (facts, *_), points = await asyncio.gather(
            self._sql.fetch(
                _SQL["track"],
                trip_id=trip_id,
                user_id=user_id,
                caller=caller,
                min_rank=rule.min_rank,
                # The facts alone: the points are elsewhere.
                start=end,
                end=end,
                max_points=MAX_READ,
            ),
            self._history.track(trip_id, user_id, start=start, end=end),
        )
        return track_of(facts, user_id, caller, points)


class KeptPositions:
    """`CarriedPositions` on the same tables."""

    def __init__(self, sql: Sql, last: LastPositions, history: LocationHistory) -> None:
        self._sql = sql
        self._last = last
        self._history = history

    async def keep(self, carried: Sequence[Carried]) -> Sequence[tuple[TripId, Accepted]]:
        members = list(dict.fromkeys((one.trip_id, one.user_id) for one in carried))
        if not members:
            return []
        _, rows, last = await asyncio.gather(
            self._history.keep([(one.trip_id, one.user_id, point) for one in carried for point in one.points]),
            self._sql.fetch(_SQL["members_now"], members=json.dumps(
                [{"n": n, "trip_id": str(trip), "user_id": str(user)} for n, (trip, user) in enumerate(members)]
            )),
            asyncio.gather(*(self._last.get(*member) for member in members)),
        )  # fmt: skip
        moments: dict[tuple[TripId, UserId], set[datetime]] = {member: set() for member in members}
        for one in carried:
            moments[one.trip_id, one.user_id].update(point.recorded_at for point in one.points)
        found = []
        for row in rows:
            trip_id, user_id = member = members[row["n"]]
            held = last[row["n"]]
            # A later report may have been faster: it is told where that one is told.
            if held is None or held.recorded_at not in moments[member]:
                continue
            who = Member(owner_of(row, user_id), row["first_name"], row["last_name"], row["username"], held)
            found.append((trip_id, Accepted(who, row["has_ended"], places_of(row), frozenset(), (), moved=True)))
        return found


def _takes_away(held: StoredPoint, stored: Accepted, now: datetime) -> bool:
    """Whether a last position that was seen has given way to one that is not, and nobody has been told of it."""
    last = stored.member.last
    if stored.has_told or last is None or last.privacy is not Privacy.HIDDEN or held.privacy is Privacy.HIDDEN:
        return False
    # Who is hidden whatever their phone says has been taken away before.
    allowed = given_under(Privacy.PRECISE, stored.member.owner, has_ended=stored.has_ended, now=now)
    return allowed is not Privacy.HIDDEN


def _is_jump(held: StoredPoint, point: Point) -> bool:
    """Whether a point is too fast after the last position; one from before it says nothing."""
    return point.recorded_at > held.recorded_at and too_fast(
        (held.latitude, held.longitude), held.recorded_at, (point.latitude, point.longitude), point.recorded_at
    )


def _of(member: Member, last: StoredPoint | None) -> StoredPoint | None:
    """A member's last position, but none from an earlier time on the trip."""
    joined_at = member.owner.joined_at
    return last if last is not None and joined_at is not None and last.received_at >= joined_at else None
