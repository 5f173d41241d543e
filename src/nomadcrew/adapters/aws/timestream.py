"""Location history in Timestream for LiveAnalytics, for accounts that still have it.

A point is a record of several measures. Its address is asked for first, as the service wants it; the same record
again is the same record, and one that is too old for the table is none.
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
RECORDS = 100  # that a call may write
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = ("latitude", "longitude", "received", "privacy", "accuracy_m", "speed_mps", "heading_deg")

MakeClient = Callable[[str], AwsClient]


class Cells:
    """Clients of the part of the service that serves this account, by an address that is asked for now and then."""

    def __init__(self, discovery: AwsClient, client_at: MakeClient, clock: Callable[[], datetime]) -> None:
        """`client_at` makes a client of an address."""
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
    """`LocationHistory` in a table; what was just kept may be read a moment later only."""

    def __init__(self, ingest: Cells, query: Cells, *, database: str, table: str) -> None:
        self._ingest = ingest
        self._query = query
        self._database = database
        self._table = table

    async def keep(self, points: Sequence[tuple[TripId, UserId, StoredPoint]]) -> None:
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
                # The others of the call are written. What was here before, or is too old, no repeat can write.
                refused = len(error.body.get("RejectedRecords") or ())
                log.warning("points were not kept", extra={"fields": {"count": refused}})

    async def track(
        self, trip_id: TripId, user_id: UserId, *, start: datetime, end: datetime
    ) -> Sequence[StoredPoint]:
        # Ids are UUIDs and moments numbers: nothing that anybody wrote stands in it.
        columns = ", ".join(_COLUMNS)
        question = (
            f'SELECT time, {columns} FROM "{self._database}"."{self._table}"'  # noqa: S608
            f" WHERE measure_name = 'position' AND trip_id = '{trip_id}' AND user_id = '{user_id}' AND NOT is_jump"
            f" AND time >= from_nanoseconds({_micros(start)}000) AND time < from_nanoseconds({_micros(end)}000)"
            " ORDER BY time"
        )  # fmt: skip
        return evenly([_point(row) async for row in self._rows(question)], MAX_READ)

    async def _rows(self, question: str) -> AsyncIterator[Sequence[str | None]]:
        more: dict[str, str] = {}
        while True:
            page = await self._query.call("Query", {"QueryString": question, **more})
            for row in page["Rows"]:
                yield [one.get("ScalarValue") for one in row["Data"]]
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
    # Nine digits of a second, in UTC without saying so.
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
