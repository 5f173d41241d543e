"""Matches a method and a path to a route, on the host without a gateway in front.

The table is compiled once: routes without parameters into a dict, all routes into a tree of segments, so the cost
of a match does not depend on the number of routes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from nomadcrew.web.routes import Route

Match = tuple[Route, Mapping[str, str]]

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class _Node:
    """One segment of the tree; `leaf` is the route that ends here, with the indexes of its parameters."""

    __slots__ = ("leaf", "param", "static")

    def __init__(self) -> None:
        self.static: dict[str, _Node] = {}
        self.param: _Node | None = None
        self.leaf: tuple[Route, tuple[tuple[str, int], ...]] | None = None


class Router:
    """Finds routes. Literal text has priority over a parameter; a parameter is never empty."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Compile the table.

        Raises:
            ValueError: two routes match the same requests, or a path is malformed.
        """
        self._static: dict[str, dict[str, Match]] = {}
        self._trees: dict[str, _Node] = {}
        for route in routes:
            self._add(route)

    def match(self, method: str, raw_path: str) -> Match | None:
        """The route for a path as sent, with percent-escapes, and its decoded parameters; for HEAD that of GET.

        Escapes are decoded per segment, so an escaped slash stays part of a parameter. Invalid UTF-8, broken
        escapes and NUL, which PostgreSQL cannot store, match no route.
        """
        method = "GET" if method == "HEAD" else method
        static = self._static.get(method)
        if static is None:
            return None
        found = static.get(raw_path)
        if found is not None:
            return found
        segments = raw_path.split("/")
        if "%" in raw_path:
            decoded = _decoded(raw_path, segments)
            if decoded is None:
                return None
            segments = decoded
        leaf = _descend(self._trees[method], segments, 1)
        if leaf is None:
            return None
        route, indexes = leaf
        return route, {name: segments[index] for name, index in indexes}

    def methods(self, raw_path: str) -> list[str]:
        """The methods of the rows at a path; empty for an unknown path."""
        return [method for method in self._trees if self.match(method, raw_path) is not None]

    def without_slash(self, method: str, raw_path: str) -> str | None:
        """The path without its trailing slash, if that path has a route."""
        if len(raw_path) < 2 or raw_path[-1] != "/" or self.match(method, raw_path[:-1]) is None:
            return None
        return raw_path[:-1]

    def _add(self, route: Route) -> None:
        segments = route.path.split("/")
        if segments[0] or not all(segments[1:]):
            raise ValueError(
                f"{route.key}: a path starts with a slash, has no slash at its end and no empty segment"
            )
        node = self._trees.setdefault(route.method, _Node())
        indexes: list[tuple[str, int]] = []
        for index, segment in enumerate(segments[1:], start=1):
            if segment[0] == "{" and segment[-1] == "}":
                indexes.append((segment[1:-1], index))
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.static.setdefault(segment, _Node())
        if node.leaf is not None:
            raise ValueError(f"{route.key}: {node.leaf[0].key} matches the same requests")
        node.leaf = (route, tuple(indexes))
        table = self._static.setdefault(route.method, {})
        if not indexes:
            table[route.path] = (route, _NO_PARAMS)


def _descend(node: _Node, segments: Sequence[str], index: int) -> tuple[Route, tuple[tuple[str, int], ...]] | None:
    """The leaf under `node` for the segments from `index` on; backtracks from literal text without a match."""
    end = len(segments)
    while index < end:
        segment = segments[index]
        index += 1
        child = node.static.get(segment)
        param = node.param if segment else None
        if child is not None and param is not None:
            leaf = _descend(child, segments, index)
            if leaf is not None:
                return leaf
            child = None
        if child is None:
            if param is None:
                return None
            child = param
        node = child
    return node.leaf


def _decoded(raw_path: str, segments: Sequence[str]) -> list[str] | None:
    if _BROKEN_ESCAPE.search(raw_path):
        return None
    try:
        decoded = [unquote_to_bytes(segment).decode() for segment in segments]
    except UnicodeDecodeError:
        return None
    return None if any("\x00" in segment for segment in decoded) else decoded
