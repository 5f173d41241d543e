"""An item of an archive that the product could not have made is refused, with its key and number."""

import io
import json
from typing import Any

import pytest

from nomadcrew.core.archives import survey as surveying
from nomadcrew.core.archives.contents import items_of
from nomadcrew.core.archives.errors import ArchiveTooLarge, BadArchive
from nomadcrew.core.archives.model import ArchivedMessage
from nomadcrew.core.archives.restored import Restored
from nomadcrew.core.archives.survey import survey
from nomadcrew.core.archives.unpacking import Entry, Unpacking
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.core.pictures.model import TooManyPhotos
from nomadcrew.web.file_types import file_kind
from tests.archives import PERSON, TRIP, a_message, zipped

AT = "2026-01-01T00:00:00Z"
ME = PERSON["id"]


def id_(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


TODO = {"id": id_(1), "text": "pack", "status": "COMPLETE", "createdBy": ME, "createdAt": AT, "updatedAt": AT}
VOTE = {"userId": ME, "createdAt": AT}
OPTIONS = [{"id": id_(n), "text": f"{n}", "createdBy": ME, "createdAt": AT, "votes": [VOTE]} for n in (1, 2)]
POLL = {
    "id": id_(1), "question": "How?", "kind": "choice", "ballot": "open", "status": "ACTIVE", "createdBy": ME,
    "createdAt": AT, "updatedAt": AT, "expiresAt": "2026-01-02T00:00:00Z", "options": OPTIONS,
    "allowMultipleVotes": True,
}  # fmt: skip
DOCUMENT = {
    "id": id_(1), "type": "other", "name": "Map", "mediaType": "application/pdf", "sizeBytes": 10, "createdAt": AT,
    "updatedAt": AT, "createdBy": ME,
}  # fmt: skip
PHOTO = {"id": id_(1), "mediaType": "image/jpeg", "sizeBytes": 10, "createdAt": AT, "createdBy": ME}
PLACE = {"latitude": 1, "longitude": 2, "name": "Station", "radiusM": 100, "setAt": AT, "setBy": ME}
FILE = {"id": id_(1), "mediaType": "image/png", "sizeBytes": 10, "name": "a.png"}
REACTION = {"userId": ME, "emoji": "👍", "createdAt": AT}
MESSAGE = a_message(1, attachment=FILE, reactions=[REACTION], edits=[{"text": "before", "editedAt": AT}])
WHOLE: dict[str, Any] = {
    **TRIP,
    "meetingPoint": PLACE,
    "todos": [TODO],
    "polls": [POLL],
    "documents": [DOCUMENT],
    "photos": [PHOTO],
    "messages": [MESSAGE],
    "people": [PERSON],
}


def archive(**changed: Any) -> dict[str, Any]:
    return {**WHOLE, **changed}


def refusal(trip: dict[str, Any]) -> str:
    with pytest.raises(BadArchive) as caught:
        read(trip)
    return str(caught.value.details)


def read(trip: dict[str, Any]) -> surveying.Survey:
    data = zipped(trip)
    return survey(Unpacking(io.BytesIO(data), len(data)), detect=file_kind)


def test_the_sample_is_valid() -> None:
    assert read(WHOLE).missing_files == 3


# Changes of the sample, each of which makes it impossible.
IMPOSSIBLE: dict[str, list[dict[str, Any]]] = {
    "trip": [
        {"name": ""}, {"name": "x" * 256}, {"endDate": "2026-11-30"}, {"timezone": "Porto/Nowhere"},
        {"destinationLatitude": 91}, {"createdAt": "0001-01-01T00:00:00+14:00"},
        {"createdAt": "9999-01-01T00:00:00Z"},
        {"createdAt": "2026-01-01T00:00:00"}, {"status": "LOST"}, {"description": "x" * 5_001},
    ],
    "meetingPoint": [
        {"latitude": 91}, {"longitude": -181}, {"name": "x" * 256}, {"radiusM": 1}, {"radiusM": 1e9},
    ],
    "todos": [
        {"text": ""}, {"text": "x" * 256}, {"status": "HALF"}, {"position": 1e10},
        {"dueAt": "1900-01-01T00:00:00Z"},
        {"id": "x"}, {"createdBy": None},
    ],
    "polls": [
        {"question": ""}, {"question": "x" * 501}, {"options": []}, {"options": [OPTIONS[0]] * 2},
        {"options": [OPTIONS[0], OPTIONS[1] | {"text": "1"}]}, {"options": OPTIONS * 21}, {"status": "CLOSED"},
        {"closedAt": AT}, {"expiresAt": AT}, {"allowMultipleVotes": False}, {"kind": "dates"},
        {"kind": "ranked"},
        {"options": [OPTIONS[0] | {"votes": [VOTE, VOTE]}]}, {"options": [OPTIONS[0] | {"text": ""}]},
        {"options": [OPTIONS[0] | {"firstDay": "2026-01-01", "lastDay": "2026-01-02"}]},
        {"options": [OPTIONS[0] | {"votes": [VOTE | {"answer": "yes"}]}]},
        {"options": [OPTIONS[0] | {"votes": [VOTE | {"rank": 1}]}]},
        {"kind": "ranked", "options": [OPTIONS[0] | {"votes": [VOTE | {"rank": 0}]}]},
        {"kind": "dates", "options": [OPTIONS[0] | {"firstDay": "2026-01-02", "lastDay": "2026-01-01"}]},
        {"applied": {"target": "todo", "optionId": id_(9), "at": AT}},
    ],
    "documents": [
        {"name": ""}, {"mediaType": "image/webp"}, {"sizeBytes": 0}, {"sizeBytes": 11 << 20}, {"type": "pet"},
        {"file": "documents/other.pdf"}, {"metadata": {"notes": [1]}}, {"metadata": {"notes": "x" * 70_000}},
    ],
    "photos": [
        {"mediaType": "application/pdf"}, {"sizeBytes": 0}, {"sizeBytes": 11 << 20}, {"file": "trip.json"},
        {"createdAt": "1900-01-01T00:00:00Z"},
    ],
    "messages": [
        {"text": "x" * 1_001}, {"text": " ", "attachment": None}, {"deletedAt": AT},
        {"edits": [{"text": "", "editedAt": AT}]},
        {"edits": [{"text": "x", "editedAt": AT}] * 51}, {"reactions": [REACTION | {"emoji": ""}]},
        {"reactions": [REACTION, REACTION]},
        {"reactions": [REACTION | {"emoji": f"{n}"} for n in range(21)]},
        {"attachment": FILE | {"mediaType": "image/heic"}},
        {"attachment": FILE | {"sizeBytes": 0}}, {"attachment": FILE | {"name": ""}},
        {"attachment": FILE | {"name": "x" * 121}}, {"attachment": FILE | {"file": "trip.json"}},
    ],
    "people": [
        {"name": ""}, {"name": "\u200b"}, {"name": "x" * 256}, {"role": "KING"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("key", "change"), [(key, change) for key in IMPOSSIBLE for change in IMPOSSIBLE[key]])
def test_an_item_that_could_not_exist_is_refused(key: str, change: dict[str, Any]) -> None:
    value = [WHOLE[key][0] | change] if isinstance(WHOLE[key], list) else WHOLE[key] | change
    assert refusal(archive(**{key: value})).startswith(f"trip.json: {key} 1: ")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"people": []}, "an author is missing"),
        ({"people": [PERSON, PERSON]}, "a person is there twice"),
        ({"polls": [POLL, POLL]}, "a poll is there twice"),
        ({"documents": [DOCUMENT, DOCUMENT]}, "a document is there twice"),
        ({"photos": [PHOTO, PHOTO]}, "a photo is there twice"),
        ({"messages": [a_message(1), a_message(1)]}, "not in the order"),
        ({"messages": [MESSAGE, a_message(2, attachment=FILE)]}, "an attachment is there twice"),
    ],
)
def test_items_that_contradict_each_other_are_refused(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(archive(**changed))


def test_a_second_trip_or_meeting_point_is_refused() -> None:
    for key in ("trip", "meetingPoint"):
        text = json.dumps(WHOLE)[:-1] + f', "{key}": {json.dumps(WHOLE[key])}}}'
        data = zipped(text.encode())
        with pytest.raises(BadArchive, match="damaged") as caught:
            survey(Unpacking(io.BytesIO(data), len(data)), detect=file_kind)
        assert "there twice" in str(caught.value.details)


def test_an_archive_without_a_trip_in_it_is_refused() -> None:
    assert "`trip` is missing" in refusal({"format": "nomadcrew-trip", "version": 1})


def test_too_many_photos_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "MAX_PHOTOS", 1)
    with pytest.raises(TooManyPhotos):
        read(archive(photos=[PHOTO, PHOTO | {"id": id_(2)}]))


def test_too_many_polls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "MAX_POLLS", 1)
    with pytest.raises(ArchiveTooLarge):
        read(archive(polls=[POLL, POLL | {"id": id_(2)}]))


@pytest.mark.parametrize(
    "text", [b"{]", b'{"id": 1e999}', b'{"id": "\\ud800"}', b"tru", b'{"metadata":{"a":1e999}}']
)
def test_an_item_that_is_no_json_is_refused(text: bytes) -> None:
    body = b'{"format":"nomadcrew-trip","version":1,"documents":[%b]}' % text
    with pytest.raises(BadArchive):
        list(items_of(io.BytesIO(body)))


def test_numbers_near_zero_are_read_quickly() -> None:
    metadata = {f"notes{n}": 7e-324 for n in range(2_000)}
    assert read(archive(documents=[DOCUMENT | {"metadata": metadata | {"notes": 1e-9}}]))


def test_an_author_who_is_unknown_stays_unknown() -> None:
    message = next(
        read.item
        for read in items_of(io.BytesIO(json.dumps(archive(messages=[a_message(1, author=None)])).encode()))
        if isinstance(read.item, ArchivedMessage)
    )
    assert Restored(TripId(uuid7()), UserId(uuid7()), {}).message(message).message.sender is None


def test_an_entry_that_cannot_be_opened_or_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(zipped(TRIP, **{"documents/x.pdf": b"x" * 100}))
    data[0:4] = b"XXXX"  # the local head of the first entry
    with pytest.raises(BadArchive):
        survey(Unpacking(io.BytesIO(bytes(data)), len(data)), detect=file_kind)
    whole = zipped(TRIP, **{"documents/x.pdf": b"x" * 100})
    unpacking = Unpacking(io.BytesIO(whole), len(whole))
    assert unpacking.read("documents/x.pdf") == b"x" * 100
    monkeypatch.setattr("nomadcrew.core.archives.unpacking.MAX_FILE_BYTES", 50)
    with pytest.raises(ArchiveTooLarge):
        unpacking.read("documents/x.pdf")
    assert isinstance(unpacking.open("trip.json"), Entry)
