"""Every threat of docs/threats.md has tests, and each of them exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "threats.md").read_text()
ROWS = [
    line for line in PAGE.splitlines() if re.match(r"\| (?!threat|risk|-)", line) and not line.startswith("|--")
]


@cache
def functions(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text())
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_threat_has_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([a-z_0-9]+/test_\w+\.py)(?:::(test_\w+))?`", row)
    assert named
    for path, function in named:
        assert not function or function in functions(path), (path, function)


def test_the_page_has_every_risk_of_the_list() -> None:
    assert re.findall(r"^\| API(\d+) ", PAGE, re.MULTILINE) == [str(number) for number in range(1, 11)]
