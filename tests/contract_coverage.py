"""The rows of the contract with the shipped app, and the tests that assert them.

`contract_rows.txt` has a line for each row: its key, its text, and for a row that is not offered the reason. A test
names the rows that it asserts by `@pytest.mark.contract("key", ...)`. `python -m tests.contract_coverage` writes
the page docs/contract-coverage.md.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
ROWS = TESTS / "contract_rows.txt"
PAGE = TESTS.parent / "docs" / "contract-coverage.md"
_HEAD = """# Coverage of the contract

The contract with the shipped app is what its first server did and what the app reads. Each row is a route, a
refusal, a correction of that server (FIX), or an expectation of the app, in the words of this project. A unit test
fails for a row without a test. `python -m tests.contract_coverage` writes this page, from `tests/contract_rows.txt`
and the markers of the tests.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the contract. `reason` says why a row is not offered; it is empty for all others."""

    key: str
    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Marked:
    """A test that is marked with rows of the contract; the path is relative to the folder of the tests."""

    path: str
    name: str


def sections() -> list[Section]:
    """The rows by their part of the contract.

    Raises:
        ValueError: a line is malformed.
    """
    found: list[tuple[str, list[Row]]] = []
    for line in ROWS.read_text().splitlines():
        if line.startswith("## "):
            found.append((line.removeprefix("## "), []))
        elif line:
            parts = [part.strip() for part in line.split(" | ")]
            if not found or len(parts) not in (2, 3) or not all(parts):
                raise ValueError(f"{ROWS.name}: malformed line: {line}")
            found[-1][1].append(Row(*parts))
    return [Section(title, rows) for title, rows in found]


def marked() -> dict[str, list[Marked]]:
    """The tests by the keys of the rows that they are marked with."""
    found: dict[str, list[Marked]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, key in _marks(path):
            found.setdefault(key, []).append(Marked(str(path.relative_to(TESTS)), name))
    return found


def _marks(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.contract":
                    for argument in decorator.args:
                        yield node.name, str(ast.literal_eval(argument))


def page(parts: Sequence[Section], tests: Mapping[str, Sequence[Marked]]) -> str:
    """The page of the rows, each with its tests or its reason."""
    rows = [row for part in parts for row in part.rows]
    missing = sum(bool(row.reason) for row in rows)
    lines = [_HEAD, f"{len(rows)} rows, {missing} of them not offered.", ""]
    for part in parts:
        lines += [f"## {part.title}", "", "| row | tests |", "|---|---|"]
        lines += [f"| {_cell(row)} | {_tests(row, tests)} |" for row in part.rows]
        lines.append("")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    return f"{row.text}. `{row.key}`"


def _tests(row: Row, tests: Mapping[str, Sequence[Marked]]) -> str:
    if row.reason:
        return f"not offered: {row.reason}"
    return "<br>".join(
        f"[{test.name.removeprefix('test_').replace('_', ' ')}](../tests/{test.path})"
        for test in tests.get(row.key, ())
    )


if __name__ == "__main__":
    PAGE.write_text(page(sections(), marked()))
