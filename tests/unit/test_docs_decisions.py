"""Each decision record has title, date, status, its sections, and a row in the index."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "adr"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
INDEX = (FOLDER / "README.md").read_text()
HEAD = re.compile(
    r"# (?P<number>\d{4})\. (?P<title>[^\n]+)\n\n"
    r"- Date: (?P<date>\d{4}-\d{2}-\d{2})\n"
    r"- Status: (?P<status>(?:accepted|superseded by )[^\n]*)\n"
    r"(?:- Written: [^\n]+\n)?\n"
)
SECTIONS = ["Context", "Decision", "Consequences", "Alternatives"]


def test_numbers_are_consecutive() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_its_head_its_sections_and_a_row_in_the_index(record: Path) -> None:
    text = record.read_text()
    head = HEAD.match(text)
    assert head is not None
    assert head["number"] == record.name[:4]
    assert re.findall(r"(?m)^## (.*)$", text) == SECTIONS
    row = f"| [{head['number']}]({record.name}) {head['title']} | {head['date']} | {head['status']} |"
    assert row in INDEX.splitlines()


@pytest.mark.parametrize(("relation", "inverse"), [("supersedes", "superseded by"), ("amends", "amended by")])
def test_a_record_and_its_successor_name_each_other(relation: str, inverse: str) -> None:
    forward = _pairs(relation)
    assert forward
    assert forward == {(old, new) for new, old in _pairs(inverse)}


def _pairs(relation: str) -> set[tuple[str, str]]:
    """The numbers of records with this relation in their status, with the numbers of the related records."""
    return {
        (record.name[:4], number)
        for record in RECORDS
        for number in re.findall(rf"{relation} \[(\d{{4}})\]", record.read_text().partition("\n## ")[0])
    }
