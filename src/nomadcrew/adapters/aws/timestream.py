"""Location history in Timestream for LiveAnalytics, for accounts that still have access.

A point is a record with several measures. The endpoint has to be discovered first. Writing a record again has no
effect; records older than the table's retention are rejected.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from nomadcrew.adapters.aws.dynamodb.location_history import evenly
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.locations.model import MAX_READ, Privacy, StoredPoint

log = logging.getLogger("nomadcrew.timestream")

COMMON = {"MeasureName": "position", "MeasureValueType": "MULTI", "TimeUnit": "MICROSECONDS"}
RECORDS = 100  # per call
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = ("latitude", "longitude", "received", "privacy", "accuracy_m", "speed_mps", "heading_deg")

MakeClient = Callable[[str], AwsClient]


class Cells:
    """Clients of the cell that serves this account; its address is discovered and cached."""

    def __init__(self, discovery: AwsClient, client_at: MakeClient, clock: Callable[[], datetime]) -> None:
        """`client_at` creates a client for an address."""
        self._discovery = discovery
        self._client_at = client_at
        self._clock = clock
        self._client: AwsClient | None = None
        self._until: datetime | None = None

    async def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        now = self._clock()
        if self._client is None or self._until is None or now >= self._until:
            [endpoint, *_] = (await self._discovery.call("DescribeEndpoints", {}))["Endpoints"]
            self._client = self._client_at(endpoint["Address"])
            self._until = now + timedelta(minutes=endpoint["CachePeriodInMinutes"])
        return await self._client.call(operation, body)


class TimestreamLocationHistory:
    """`LocationHistory` in a table; new points become readable after a moment."""

    def __init__(self, ingest: Cells, query: Cells, *, database: str, table: str) -> None:
        self._ingest = ingest
        self._query = query
        self._database = database
        self._table = table

    async def store(self, points: Sequence[tuple[TripId, UserId, StoredPoint]]) -> None:
        records = [_record(*point) for point in points]
        for first in range(0, len(records), RECORDS):
            body = {
                "DatabaseName": self._database,
                "TableName": self._table,
                "CommonAttributes": COMMON,
                "Records": records[first : first + RECORDS],
            }
            try:
                await self._ingest.call("WriteRecords", body)
            except AwsError as error:
                if error.code != "RejectedRecordsException":
                    raise
                # The call's other records are written. No retry can write the rejected ones: duplicates or too old.
                rejected = len(error.body.get("RejectedRecords") or ())
                log.warning("points not stored", extra={"fields": {"count": rejected}})

    async def track(
        self, trip_id: TripId, user_id: UserId, *, start: datetime, end: datetime
    ) -> Sequence[StoredPoint]:
        # No injection: the ids are UUIDs, and the times are numbers.
        columns = ", ".join(_COLUMNS)
        query = (
            f'SELECT time, {columns} FROM "{self._database}"."{self._table}"'  # noqa: S608
            f" WHERE measure_name = 'position' AND trip_id = '{trip_id}' AND user_id = '{user_id}' AND NOT is_jump"
            f" AND time >= from_nanoseconds({_micros(start)}000) AND time < from_nanoseconds({_micros(end)}000)"
            " ORDER BY time"
        )  # fmt: skip
        return evenly([_point(row) async for row in self._rows(query)], MAX_READ)

    async def _rows(self, query: str) -> AsyncIterator[Sequence[str | None]]:
        more: dict[str, str] = {}
        while True:
            page = await self._query.call("Query", {"QueryString": query, **more})
            for row in page["Rows"]:
                yield [cell.get("ScalarValue") for cell in row["Data"]]
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}


def _record(trip_id: TripId, user_id: UserId, point: StoredPoint) -> dict[str, Any]:
    return {
        "Dimensions": [{"Name": "trip_id", "Value": str(trip_id)}, {"Name": "user_id", "Value": str(user_id)}],
        "Time": str(_micros(point.recorded_at)),
        "MeasureValues": list(_measures(point)),
    }


def _measures(point: StoredPoint) -> Iterator[dict[str, str]]:
    yield {"Name": "latitude", "Value": repr(point.latitude), "Type": "DOUBLE"}
    yield {"Name": "longitude", "Value": repr(point.longitude), "Type": "DOUBLE"}
    yield {"Name": "received", "Value": str(_micros(point.received_at)), "Type": "BIGINT"}
    yield {"Name": "privacy", "Value": point.privacy, "Type": "VARCHAR"}
    yield {"Name": "is_jump", "Value": str(point.is_jump).lower(), "Type": "BOOLEAN"}
    measured = {"accuracy_m": point.accuracy_m, "speed_mps": point.speed_mps, "heading_deg": point.heading_deg}
    for name, value in measured.items():
        if value is not None:
            yield {"Name": name, "Value": repr(value), "Type": "DOUBLE"}


def _point(row: Sequence[str | None]) -> StoredPoint:
    time, latitude, longitude, received, privacy, *measured = row
    assert time is not None
    assert latitude is not None
    assert longitude is not None
    assert received is not None
    assert privacy is not None
    # Nine digits of a second, in UTC without a zone.
    recorded_at = datetime.fromisoformat(time[:26]).replace(tzinfo=UTC)
    accuracy_m, speed_mps, heading_deg = (None if value is None else float(value) for value in measured)
    return StoredPoint(
        float(latitude),
        float(longitude),
        recorded_at,
        _EPOCH + int(received) * _MICROSECOND,
        Privacy(privacy),
        accuracy_m,
        speed_mps,
        heading_deg,
    )


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
