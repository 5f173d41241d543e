"""The texts of an archive that other programs read: a track, places, to-dos."""

import csv
import html
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from nomadcrew.core.archives.model import ArchivedPlace, ArchivedPoint, ArchivedTodo, ArchivedTrip
from nomadcrew.core.text import visible_line

GPX_END = "</trkseg></trk></gpx>\n"
# A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection); a quote makes it a text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_COLUMNS = ("text", "status", "due_at", "created_by", "assignee", "created_at", "updated_at")


def gpx_begin(trip: ArchivedTrip) -> str:
    """The beginning of a track in GPX 1.1 with one segment, which `GPX_END` ends."""
    name = html.escape(visible_line(trip.name), quote=False)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="NomadCrew" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<metadata><name>{name}</name></metadata><trk><name>{name}</name><trkseg>\n"
    )


def gpx_point(point: ArchivedPoint) -> str:
    return (
        f'<trkpt lat="{point.latitude:.7f}" lon="{point.longitude:.7f}">'
        f"<time>{_utc(point.recorded_at)}</time></trkpt>\n"
    )


def geojson(trip: ArchivedTrip, meeting_point: ArchivedPlace | None) -> bytes:
    """Destination and meeting point as a FeatureCollection (RFC 7946)."""
    features: list[dict[str, Any]] = []
    # Clients send zeros for a trip without a destination.
    if trip.destination_latitude or trip.destination_longitude:
        features.append(
            _feature(
                trip.destination_longitude,
                trip.destination_latitude,
                kind="destination",
                name=trip.destination_name or trip.destination_address or trip.name,
                address=trip.destination_address,
            )
        )
    if meeting_point is not None:
        features.append(
            _feature(
                meeting_point.longitude,
                meeting_point.latitude,
                kind="meeting point",
                name=meeting_point.name,
                radius_m=meeting_point.radius_m,
            )
        )
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, ensure_ascii=False, indent=1).encode()


def csv_head() -> str:
    return _csv_line(_COLUMNS)


def csv_todo(todo: ArchivedTodo, names: Sequence[str | None]) -> str:
    """A to-do as a line of CSV (RFC 4180). `names` are those of its creator and its assignee."""
    creator, assignee = names
    cells = (todo.text, todo.status, todo.due_at, creator, assignee, todo.created_at, todo.updated_at)
    return _csv_line([_cell(value) for value in cells])


def _feature(longitude: float, latitude: float, **properties: object) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
        "properties": properties,
    }


def _cell(value: object) -> str:
    text = "" if value is None else _utc(value) if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _csv_line(cells: Iterable[str]) -> str:
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
