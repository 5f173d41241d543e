"""Reads a large JSON object item by item, in bounded memory.

The object's members are its items, and so are the elements of members that are arrays. An item is found by its
brackets and strings alone; msgspec decodes it, and refuses what is not JSON.
"""

import re
from collections.abc import Iterator
from typing import NoReturn, Protocol

from msgspec import DecodeError, json

from nomadcrew.core.archives.errors import ArchiveTooLarge, BadArchive
from nomadcrew.core.archives.limits import MAX_DEPTH, MAX_ITEM_BYTES

CHUNK_BYTES = 64 * 1024
_BLANK = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}\"\[{:]+")
_TEXT = rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+'
# Everything before a bracket, and whole arrays and objects without others in them: few matches for any item.
_RUN = re.compile(rb"(?:%b|\[%b\]|\{%b\})*+" % (_TEXT.removesuffix(b"*+"), _TEXT, _TEXT), re.DOTALL)
_OPEN, _CLOSE = b"[{", b"]}"


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def json_items(source: Source) -> Iterator[tuple[str, bytes]]:
    """The items of a JSON object: the key of each member, and the text of its value or of one of its elements.

    Raises:
        BadArchive: it is not a JSON object, or nested too deeply.
        ArchiveTooLarge: an item exceeds `MAX_ITEM_BYTES`.
    """
    yield from _Reader(source).members()


class _Reader:
    """A window on the text. Everything before `_at` is read; at most twice an item and a chunk are held."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held = b""
        self._at = 0

    def members(self) -> Iterator[tuple[str, bytes]]:
        self._expect(b"{")
        if self._follows(b"}"):
            return self._end()
        while True:
            key = self._key()
            if self._follows(b"["):
                for value in self._elements():
                    yield key, value
            else:
                yield key, self._value()
            if self._follows(b"}"):
                return self._end()
            self._expect(b",")

    def _end(self) -> None:
        if self._next():
            _refuse("text after the end")

    def _elements(self) -> Iterator[bytes]:
        if self._follows(b"]"):
            return
        while True:
            yield self._value()
            if self._follows(b"]"):
                return
            self._expect(b",")

    def _key(self) -> str:
        if self._next() != b'"':
            _refuse("a key is missing")
        key = self._take(self._string_end(self._at))
        self._expect(b":")
        try:
            text: str = json.decode(key, type=str)
        except (DecodeError, UnicodeDecodeError):
            _refuse("a key is not a text")
        return text

    def _value(self) -> bytes:
        first = self._next()
        if first == b'"':
            return self._take(self._string_end(self._at))
        if first and first in _OPEN:
            return self._take(self._nested_end())
        return self._take(self._scalar_end())

    def _nested_end(self) -> int:
        """The end of the array or object that begins here."""
        end, depth = self._at, 0
        while True:
            character = self._held[end : end + 1]
            if not character or character == b'"':
                self._more()  # the end of the window, maybe in a string
            else:
                end += 1
                depth += 1 if character in _OPEN else -1
                if not depth:
                    return end
                if depth > MAX_DEPTH:
                    _refuse("it is nested too deeply")
            run = _RUN.match(self._held, end)
            assert run is not None, "an empty run is one"
            end = run.end()

    def _string_end(self, start: int) -> int:
        while (match := _STRING.match(self._held, start)) is None:
            self._more()
        return match.end()

    def _scalar_end(self) -> int:
        while True:
            match = _SCALAR.match(self._held, self._at)
            if match is None:
                _refuse("a value is missing")
            if match.end() < len(self._held):
                return match.end()
            self._more()

    def _take(self, end: int) -> bytes:
        start, self._at = self._at, end
        if end - start > MAX_ITEM_BYTES:
            raise ArchiveTooLarge(details="an item of trip.json")
        return self._held[start:end]

    def _next(self) -> bytes:
        """The next character that is not white space; empty at the end."""
        if self._at > CHUNK_BYTES:
            self._held, self._at = self._held[self._at :], 0
        while True:
            match = _BLANK.match(self._held, self._at)
            assert match is not None, "an empty match is one"
            self._at = match.end()
            if self._at < len(self._held):
                return self._held[self._at : self._at + 1]
            self._held, self._at = self._source.read(CHUNK_BYTES), 0
            if not self._held:
                return b""

    def _follows(self, character: bytes) -> bool:
        """Skip the character if it is the next one."""
        if self._next() != character:
            return False
        self._at += 1
        return True

    def _expect(self, character: bytes) -> None:
        if not self._follows(character):
            _refuse(f"`{character.decode()}` is missing")

    def _more(self) -> None:
        """Read on, while an item is incomplete; as much again, so that it is not searched again and again."""
        held = len(self._held) - self._at
        if held > MAX_ITEM_BYTES:
            raise ArchiveTooLarge(details="an item of trip.json")
        chunk = self._source.read(max(CHUNK_BYTES, held))
        if not chunk:
            _refuse("it ends early")
        self._held += chunk


def _refuse(details: str) -> NoReturn:
    raise BadArchive(details=f"trip.json: {details}")
