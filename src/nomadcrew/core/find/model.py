"""Matches of a search in a trip, and their excerpts."""

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.graphemes import shortened
from nomadcrew.core.ids import UserId
from nomadcrew.core.text import search_key

# Of each kind the newest are searched, so that a trip with a long history costs no more than others.
SEARCHED = 10_000
SEARCHED_POLLS = 1_000
MAX_EXCERPT = 160  # characters
_LEAD = 40  # characters before the first match


class Kind(StrEnum):
    """The kinds of matches, in the order of a reply: few named things before many texts."""

    MEMBER = "member"
    DOCUMENT = "document"
    POLL = "poll"
    TODO = "todo"
    MESSAGE = "message"


class Match(Struct, frozen=True):
    """Something of the trip that has all words.

    The id of a member is the user's. `user_id` is the author, None once the account is deleted. `created_at` of a
    member is the time of joining.
    """

    kind: Kind
    id: UUID
    text: str
    user_id: UserId | None
    created_at: datetime


class Found(Struct, frozen=True):
    """Matches in the order of their kinds, the newest first in each; `more` has the kinds that may have others."""

    matches: Sequence[Match]
    more: Set[Kind]


def cut(matches: Sequence[Match], limit: int, more: Iterable[Kind]) -> Found:
    """The first `limit` matches of each kind, in the order of the kinds; a kind with others joins `more`."""
    of_kinds = {kind: [match for match in matches if match.kind is kind] for kind in Kind}
    cut_off = {kind for kind, found in of_kinds.items() if len(found) > limit}
    return Found([match for found in of_kinds.values() for match in found[:limit]], cut_off.union(more))


def excerpt(text: str, words: Sequence[str]) -> str:
    """The part of a text around its first match of a key: a line of at most `MAX_EXCERPT` characters."""
    line = " ".join(text.split())
    if len(line) <= MAX_EXCERPT:
        return line
    at = _first_match(line, words)
    start = max(0, at - _LEAD)
    if start:
        # From the beginning of a word.
        start = line.find(" ", start - 1, at) + 1 or at
    mark = "…" if start else ""
    return mark + shortened(line[start:], MAX_EXCERPT - len(mark))


def _first_match(text: str, words: Sequence[str]) -> int:
    """The index of the first character that matches a word; 0 without a match.

    Keys may be longer or shorter than their texts, so the ends of the match are found by bisection.
    """
    key = search_key(text)
    found = [(key.find(word), word) for word in words if word in key]
    if not found:
        return 0
    word = min(found)[1]
    end = _bisected(len(text), lambda length: word in search_key(text[:length]))
    return end - _bisected(end, lambda length: word in search_key(text[end - length : end]))


def _bisected(most: int, is_enough: Callable[[int], bool]) -> int:
    """The least number up to `most` that is enough; `most` is."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return high
