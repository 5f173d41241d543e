"""The methods of every path, for the function that gets the requests to which no route of the gateway belongs.

An API has 300 routes by default; one more for the other methods of each path would exceed them. A function has
only its own rows, so the list of all is a file. `python -m tests.allowed_methods` writes it.
"""

from collections.abc import Iterable
from pathlib import Path

from nomadcrew.web.routes import allowed

FILE = Path(__file__).with_suffix(".txt")


class AllowedMethods:
    """The values of `Allow` by path. A segment in braces stands for any text, so that several paths may match."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Each line has a path and the methods of its rows, separated by spaces."""
        self._by_length: dict[int, list[tuple[list[str], list[str]]]] = {}
        for line in lines:
            path, *methods = line.split()
            segments = path.split("/")
            self._by_length.setdefault(len(segments), []).append((segments, methods))

    @classmethod
    def load(cls) -> "AllowedMethods":
        return cls(FILE.read_text().splitlines())

    def of(self, path: str) -> str | None:
        """The value at a path; None for an unknown path."""
        segments = path.split("/")
        methods = {
            method
            for known, methods in self._by_length.get(len(segments), ())
            if all(map(_matches, known, segments))
            for method in methods
        }
        return allowed(methods) if methods else None


def _matches(known: str, segment: str) -> bool:
    return known == segment or (known.startswith("{") and bool(segment))
