"""Positions on PostgreSQL: a report is one statement; concurrent reports share the next one."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.errors import DomainError
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import (
    MAX_FIX_AGE,
    MAX_READ,
    MAX_SHARING_S,
    MAX_SPEED_MPS,
    MIN_AGREEING,
    MIN_INTERVAL_S,
    Accepted,
    ArrivalState,
    Crew,
    Member,
    Owner,
    Privacy,
    Reader,
    Report,
    Sharing,
    StoredPoint,
    Track,
)
from nomadcrew.core.locations.privacy import privacies_to_store
from nomadcrew.core.permissions import Rule

_SQL = statements("locations")
_Request = tuple[Report, Rule]


class PostgresPositions:
    """`Positions` in one database."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._accept = Batcher(self._store, alone=sql.in_transaction, key=_member)

    async def accept(self, report: Report, rule: Rule) -> Accepted:
        return await self._accept((report, rule))

    async def members_with_positions(self, access: Access) -> Crew:
        rows = await self._sql.fetch(_SQL["crew"], **gate(access))
        return crew_of(rows, access.caller)

    async def track(self, access: Access, user_id: UserId, *, start: datetime, end: datetime) -> Track:
        rows = await self._sql.fetch(
            _SQL["track"],
            **gate(access),
            user_id=user_id,
            start=start,
            end=end,
            max_points=MAX_READ,
        )
        return track_of(rows[0], user_id, access.caller, [stored_point(row) for row in rows[1:]])

    async def _store(self, requests: Sequence[_Request]) -> Sequence[Accepted | Exception]:
        # One rule for the batch: all reports have the same one.
        rule = requests[0][1]
        outcomes = await store_reports(self._sql, [(n, report) for n, (report, _) in enumerate(requests)], rule)
        return [outcomes[n] for n in range(len(requests))]


def _member(request: _Request) -> tuple[TripId, UserId]:
    report, _ = request
    return report.trip_id, report.user_id


class PostgresLocationHistory:
    """`LocationHistory` for hosts that store last positions elsewhere."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def store(self, points: Sequence[tuple[TripId, UserId, StoredPoint]]) -> None:
        if points:
            await self._sql.fetch(
                _SQL["keep_history"], points=json_param([_history_row(*point) for point in points])
            )

    async def track(
        self, trip_id: TripId, user_id: UserId, *, start: datetime, end: datetime
    ) -> Sequence[StoredPoint]:
        rows = await self._sql.fetch(
            _SQL["history"], trip_id=trip_id, user_id=user_id, start=start, end=end, max_points=MAX_READ
        )
        return [stored_point(row) for row in rows]


async def store_reports(
    sql: Sql, reports: Sequence[tuple[int, Report]], rule: Rule, *, points: bool = True
) -> Mapping[int, Accepted | Exception]:
    """The outcomes of numbered reports, at most one per user and trip.

    `points=False` stores only the sharing state of a report, for hosts that store positions elsewhere.
    """
    rows = await sql.fetch(
        _SQL["accept"],
        reports=json_param([_report_row(number, report, points=points) for number, report in reports]),
        min_rank=rule.min_rank,
        max_speed_mps=MAX_SPEED_MPS,
        min_interval_s=MIN_INTERVAL_S,
        min_agreeing=MIN_AGREEING,
        max_sharing_s=MAX_SHARING_S,
        fix_age_s=MAX_FIX_AGE.total_seconds(),
    )
    by_number = {row["n"]: row for row in rows}
    return {number: _outcome(by_number[number], report) for number, report in reports}


def crew_of(rows: Sequence[Row], caller: UserId) -> Crew:
    """A crew from its rows.

    Raises:
        DomainError: the refusal in the first row.
    """
    first = rows[0]
    raise_for_verdict(first["verdict"])
    members = [
        Member(
            owner_of(row, row["user_id"]),
            row["first_name"],
            row["last_name"],
            row["username"],
            None if row["recorded_at"] is None else stored_point(row),
        )
        for row in rows
    ]
    return Crew(Reader(caller, first["reader_joined_at"]), first["has_ended"], members)


def track_of(facts: Row, user_id: UserId, caller: UserId, points: Sequence[StoredPoint]) -> Track:
    """A track from its row of facts.

    Raises:
        DomainError: the refusal in the row.
    """
    raise_for_verdict(facts["verdict"])
    return Track(Reader(caller, facts["reader_joined_at"]), facts["has_ended"], owner_of(facts, user_id), points)


def owner_of(row: Row, user_id: UserId) -> Owner:
    sharing = sharing_of(row)
    return Owner(user_id, row["joined_at"], privacy_of(row["preference"]), row["is_ghost"], sharing)


def sharing_of(row: Row) -> Sharing | None:
    if row["is_enabled"] is None:
        return None
    return Sharing(row["is_enabled"], privacy_of(row["setting"]), row["expires_at"], row["ends_at"])


def privacy_of(text: str | None) -> Privacy | None:
    return None if text is None else Privacy(text)


def stored_point(row: Row) -> StoredPoint:
    return StoredPoint(
        row["latitude"],
        row["longitude"],
        row["recorded_at"],
        row["received_at"],
        Privacy(row["privacy"]),
        row["accuracy_m"],
        row["speed_mps"],
        row["heading_deg"],
    )


def _history_row(trip_id: TripId, user_id: UserId, point: StoredPoint) -> dict[str, Any]:
    return {
        "trip_id": trip_id,
        "user_id": user_id,
        "recorded_at": point.recorded_at,
        "latitude": point.latitude,
        "longitude": point.longitude,
        "accuracy_m": point.accuracy_m,
        "speed_mps": point.speed_mps,
        "heading_deg": point.heading_deg,
        "received_at": point.received_at,
        "privacy": point.privacy,
        "is_jump": point.is_jump,
    }


def _report_row(number: int, report: Report, *, points: bool) -> dict[str, Any]:
    return {
        "n": number,
        "trip_id": report.trip_id,
        "user_id": report.user_id,
        "is_enabled": report.is_enabled,
        "expires_at": report.expires_at,
        "event_id": report.event_id,
        "now": report.now,
        "points": [
            {
                "k": index,
                "latitude": point.latitude,
                "longitude": point.longitude,
                "accuracy_m": point.accuracy_m,
                "speed_mps": point.speed_mps,
                "heading_deg": point.heading_deg,
                "recorded_at": point.recorded_at,
                "privacy": point.privacy,
                "is_jump": index in report.jumps,
            }
            for index, point in enumerate(report.points if points else ())
        ],
    }


def _outcome(row: Row, report: Report) -> Accepted | Exception:
    try:
        raise_for_verdict(row["verdict"])
    except DomainError as refusal:
        return refusal
    sharing = Sharing(row["will_be_enabled"], privacy_of(row["setting"]), row["will_expire_at"], row["ends_at"])
    owner = Owner(report.user_id, row["joined_at"], privacy_of(row["preference"]), row["is_ghost"], sharing)
    newest = row["newest"]
    last = None if newest is None else report.as_stored(newest, Privacy(row["newest_privacy"]))
    return Accepted(
        Member(owner, row["first_name"], row["last_name"], row["username"], last),
        row["has_ended"],
        places_of(row),
        frozenset(json.loads(row["jumps"] or "[]")),
        privacies_to_store(
            report.points, owner, shown_since=row["shown_since"], has_ended=row["has_ended"], now=report.now
        ),
        moved=last is not None,
        has_events=row["has_told"],
        trusted_since=row["trusted_since"],
    )


def places_of(row: Row) -> ArrivalState:
    meeting = row["meeting_latitude"]
    return ArrivalState(
        (row["destination_latitude"], row["destination_longitude"]),
        None if meeting is None else (meeting, row["meeting_longitude"], row["meeting_radius_m"]),
        row["is_at_destination"],
        row["is_at_meeting_point"],
    )
