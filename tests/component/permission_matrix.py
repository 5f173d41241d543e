"""Reads the permission matrix. Tests over the whole route table take their requests from it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.component.requests import CALLERS

MATRIX = Path(__file__).parent / "permission_matrix.txt"
_LINE = re.compile(r"(?P<method>[A-Z]+) +(?P<path>\S+)(?: \[(?P<variant>[^\]]+)\])?(?P<cells>(?: +\w+)+)")
_LEGEND = re.compile(r"# (\w) (\d{3}) (\w+)")


@dataclass(frozen=True, slots=True)
class Line:
    row: str
    variant: str
    cells: dict[str, tuple[int, str | None]]


def lines() -> Iterator[Line]:
    text = MATRIX.read_text().splitlines()
    legend = {m[1]: (int(m[2]), m[3]) for m in map(_LEGEND.fullmatch, text) if m}
    for line in text:
        if line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match, line
            cells: list[tuple[int, str | None]] = [
                legend[cell] if cell in legend else (int(cell), None) for cell in match["cells"].split()
            ]
            yield Line(
                f"{match['method']} {match['path']}", match["variant"] or "", dict(zip(CALLERS, cells, strict=True))
            )


LINES = list(lines())


def succeeding(line: Line) -> str | None:
    """A caller for whom the request succeeds, one with a token if possible."""
    return next((caller for caller in reversed(CALLERS) if line.cells[caller][0] < 400), None)


def successes() -> list[tuple[Line, str]]:
    """Every row once, with a caller for whom it succeeds. Rows without one are left out."""
    first: dict[str, tuple[Line, str]] = {}
    for line in LINES:
        caller = succeeding(line)
        if caller is not None:
            first.setdefault(line.row, (line, caller))
    return list(first.values())
