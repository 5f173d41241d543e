"""The texts of an archive that other programs read."""

import csv
import json
from datetime import UTC, date, datetime
from io import StringIO
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from nomadcrew.core.archives.model import ArchivedPlace, ArchivedPoint, ArchivedTodo, ArchivedTrip
from nomadcrew.core.archives.texts import GPX_END, csv_head, csv_todo, geojson, gpx_begin, gpx_point
from nomadcrew.core.ids import TodoId, TripId, UserId
from nomadcrew.core.todos.model import TodoStatus
from nomadcrew.core.trips.model import Status

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
GPX = "{http://www.topografix.com/GPX/1/1}"


def a_trip(name: str = "Porto", latitude: float = 41.15, longitude: float = -8.61) -> ArchivedTrip:
    return ArchivedTrip(
        TripId(uuid4()), name, Status.PLANNING, date(2026, 12, 1), date(2026, 12, 9), "Europe/Lisbon", AT, AT,
        destination_latitude=latitude, destination_longitude=longitude,
    )  # fmt: skip


def a_todo(text: str) -> ArchivedTodo:
    return ArchivedTodo(TodoId(uuid4()), text, TodoStatus.COMPLETE, UserId(uuid4()), AT, AT)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", '=cmd|"/C calc"!A0', "-2+3;=x"]
)
def test_a_spreadsheet_sees_no_formula(text: str) -> None:
    for names in ((text, text), ("Ana", None)):
        [row] = csv.reader(StringIO(csv_todo(a_todo(text), names), newline=""))
        assert row[0] == f"'{text}"
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for cell in row)


def test_other_cells_are_as_they_are() -> None:
    text = csv_head() + csv_todo(a_todo('a "quoted", text\nof two lines'), ("Ana", None))
    head, row = csv.reader(StringIO(text, newline=""))
    assert head == ["text", "status", "due_at", "created_by", "assignee", "created_at", "updated_at"]
    assert row == ['a "quoted", text\nof two lines', "COMPLETE", "", "Ana", "", *["2026-01-01T12:00:00Z"] * 2]


def test_a_track_is_valid_gpx() -> None:
    points = [ArchivedPoint(41.1, -8.6, AT), ArchivedPoint(-90.0, 180.0, AT)]
    text = gpx_begin(a_trip("<Porto> & \x00 co")) + "".join(map(gpx_point, points)) + GPX_END
    root = ElementTree.fromstring(text)
    assert (root.tag, root.get("version")) == (f"{GPX}gpx", "1.1")
    assert [child.tag for child in root] == [f"{GPX}metadata", f"{GPX}trk"]
    assert root.findtext(f"{GPX}trk/{GPX}name") == "<Porto> & co"
    found = root.findall(f"{GPX}trk/{GPX}trkseg/{GPX}trkpt")
    assert [(float(point.get("lat", "")), float(point.get("lon", ""))) for point in found] == [
        (41.1, -8.6),
        (-90.0, 180.0),
    ]
    assert [point.findtext(f"{GPX}time") for point in found] == ["2026-01-01T12:00:00Z"] * 2


def test_places_are_valid_geojson_with_the_longitude_first() -> None:
    place = ArchivedPlace(41.2, -8.7, "Station", 100.0, AT)
    collection = json.loads(geojson(a_trip(), place))
    assert collection["type"] == "FeatureCollection"
    assert [(feature["type"], feature["geometry"]) for feature in collection["features"]] == [
        ("Feature", {"type": "Point", "coordinates": [-8.61, 41.15]}),
        ("Feature", {"type": "Point", "coordinates": [-8.7, 41.2]}),
    ]
    assert [feature["properties"]["name"] for feature in collection["features"]] == ["Porto", "Station"]


def test_a_trip_without_a_destination_has_no_place() -> None:
    assert json.loads(geojson(a_trip(latitude=0, longitude=0), None))["features"] == []
