"""docs/trip-archive.md names every field of an archive, and its limits."""

import re
from pathlib import Path

import pytest

from nomadcrew.core.archives import limits, model
from nomadcrew.core.archives.model import Item

PAGE = (Path(__file__).parents[2] / "docs" / "trip-archive.md").read_text()
ROWS = {
    row[0]: set(re.findall(r"`(\w+)`", row[1]))
    for row in re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
}
ITEMS: dict[str, type[Item]] = {
    "the object": model.Head,
    "`trip`": model.ArchivedTrip,
    "`meetingPoint`?": model.ArchivedPlace,
    "`people`": model.ArchivedPerson,
    "`todos`, newest first": model.ArchivedTodo,
    "`polls`, newest first": model.ArchivedPoll,
    "`polls.options`, by position": model.ArchivedOption,
    "`polls.options.votes`": model.ArchivedVote,
    "`polls.applied`": model.ArchivedOutcome,
    "`documents`, newest first": model.ArchivedDocument,
    "`positions`, oldest first": model.ArchivedPoint,
    "`messages`, oldest first": model.ArchivedMessage,
    "`messages.edits`": model.ArchivedEdit,
    "`messages.reactions`": model.ArchivedReaction,
    "`messages.attachment`": model.ArchivedAttachment,
}


@pytest.mark.parametrize("row", ITEMS)
def test_the_page_has_the_fields_of_an_item(row: str) -> None:
    assert ROWS[row] == set(ITEMS[row].__struct_encode_fields__)


def test_the_page_has_the_limits() -> None:
    for value in (
        f"{limits.MAX_ARCHIVE_BYTES >> 20} MiB",
        f"{limits.MAX_ENTRIES:,}, and {limits.MAX_UNPACKED_BYTES >> 20} MiB",
        f"{limits.MAX_JSON_BYTES >> 20} MiB, and {limits.MAX_ITEM_BYTES >> 20} MiB",
        f"{limits.MAX_PEOPLE:,}, {limits.MAX_POLLS:,}",
        f"at most {limits.MAX_EXPORT_BYTES >> 20} MiB",
        f"up to {limits.MAX_INLINE_BYTES >> 20} MiB",
    ):
        assert value in PAGE
