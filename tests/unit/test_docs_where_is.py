"""Each place on the page `docs/where-is.md` exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| (?!behaviour|-)(.+) \| (.+) \|$", (ROOT / "docs" / "where-is.md").read_text(), re.MULTILINE)


def test_the_page_has_the_questions_of_a_newcomer() -> None:
    assert len(ROWS) >= 20


@pytest.mark.parametrize(("behaviour", "places"), ROWS, ids=[behaviour for behaviour, _ in ROWS])
def test_every_place_exists(behaviour: str, places: str) -> None:
    paths = [path for path in re.findall(r"`([^`]+)`", places) if "/" in path or path.endswith(".py")]
    assert paths, behaviour
    for path in paths:
        if "*" in path:
            pattern = path.replace("<feature>", "todos")
            assert list(ROOT.glob(pattern)), pattern
        else:
            assert (ROOT / path).is_file() or (ROOT / "src" / "nomadcrew" / path).is_file(), path
