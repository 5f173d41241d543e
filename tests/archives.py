"""Archives of trips, for tests."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

# Ids, and the members that an import does not restore: rights, and positions, which no store keeps for longer.
_IDS = {"id", "replyToId", "optionId", "todoId", "file", "exportedAt", "exportedBy"}
_RIGHTS = {"role", "joinedAt", "positions", "assigneeId"}

_AT = "2026-01-01T00:00:00Z"
# The least that an archive needs.
TRIP: dict[str, Any] = {
    "format": "nomadcrew-trip",
    "version": 1,
    "trip": {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "Porto",
        "status": "PLANNING",
        "startDate": "2026-12-01",
        "endDate": "2026-12-09",
        "timezone": "Europe/Lisbon",
        "createdAt": _AT,
        "updatedAt": _AT,
    },
}
PERSON = {"id": "00000000-0000-0000-0000-00000000000a", "name": "Ana"}


def a_message(number: int, text: str = "hello", **fields: object) -> dict[str, Any]:
    """A message of `PERSON` in an archive, at that second."""
    id_ = f"00000000-0000-0000-0001-{number:012x}"
    created_at = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    return {"id": id_, "text": text, "createdAt": created_at, "author": PERSON["id"], **fields}


def content(archive: bytes) -> dict[str, Any]:
    """The `trip.json` of an archive."""
    with zipfile.ZipFile(BytesIO(archive)) as file:
        return dict(json.loads(file.read("trip.json")))


def rezipped(archive: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The archive with changed entries."""
    target = BytesIO()
    with zipfile.ZipFile(BytesIO(archive)) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target.getvalue()


def zipped(trip: object, **files: bytes) -> bytes:
    """An archive with this `trip.json` and files."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("trip.json", trip if isinstance(trip, bytes) else json.dumps(trip))
        for name, data in files.items():
            new.writestr(name, data, zipfile.ZIP_STORED)
    return target.getvalue()


def comparable(trip: dict[str, Any]) -> Any:
    """The content without ids and rights: people by their names, references by the place of what they name."""
    names = {person["id"]: person["name"] for person in trip["people"]}
    places = {
        item["id"]: f"{kind} {number}"
        for kind in ("todos", "polls", "documents", "photos", "messages")
        for number, item in enumerate(trip[kind])
    }
    for poll in trip["polls"]:
        places |= {option["id"]: f"option {number}" for number, option in enumerate(poll["options"])}

    def plain(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            kept = {name: plain(item, name) for name, item in value.items() if name not in _IDS | _RIGHTS}
            kept |= {name: places.get(value[name]) for name in ("replyToId", "optionId", "todoId") if name in value}
            return kept
        if isinstance(value, list):
            items = [plain(item) for item in value]
            return sorted(items, key=json.dumps) if key in ("votes", "reactions", "people") else items
        return names.get(value, value) if isinstance(value, str) else value

    owner = {"createdBy": None}  # the importer
    return plain(trip | {"trip": trip["trip"] | owner})
