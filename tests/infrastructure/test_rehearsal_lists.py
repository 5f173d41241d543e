"""What the rehearsal shows and does not is written down, and changes on purpose only."""

from pathlib import Path

from rehearsal.lists import MUST_RUN, ONE_MACHINE, texts
from rehearsal.resources import PLACEHELD

TYPES = Path(__file__).with_name("resource_types.txt")
HOW = "python -m rehearsal.lists writes the lists anew; look at what changed"


def test_the_lists_of_tests_are_those_there_are() -> None:
    must_run, one_machine = texts()
    assert MUST_RUN.read_text() == must_run, HOW
    assert ONE_MACHINE.read_text() == one_machine, HOW


def test_what_is_only_placeheld_is_deployed_and_does_not_grow() -> None:
    types = set(TYPES.read_text().split())
    assert set(PLACEHELD) <= types
    assert len(PLACEHELD) == 17
