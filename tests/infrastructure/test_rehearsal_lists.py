"""The tests that a rehearsal runs, and those it cannot run, are listed, so that a change is visible."""

from pathlib import Path

from rehearsal.lists import MUST_RUN, ONE_MACHINE, texts
from rehearsal.resources import PLACEHELD

TYPES = Path(__file__).with_name("resource_types.txt")
HOW = "update the lists with `python -m rehearsal.lists` and review the difference"


def test_the_lists_match_the_tests() -> None:
    must_run, one_machine = texts()
    assert MUST_RUN.read_text() == must_run, HOW
    assert ONE_MACHINE.read_text() == one_machine, HOW


def test_placeholder_types_are_deployed_and_do_not_increase() -> None:
    types = set(TYPES.read_text().split())
    assert set(PLACEHELD) <= types
    assert len(PLACEHELD) == 17
