"""Replies of the search of a trip."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.find.model import Found, Kind, excerpt


class MatchView(Struct, rename="camel"):
    """A match. `id` is that of the member's user, document, poll, to-do or message; `createdBy` is its author."""

    kind: Kind
    id: UUID
    excerpt: str
    created_by: UUID | None
    created_at: datetime


class FoundView(Struct):
    """Matches by kind, and the kinds that may have more."""

    results: list[MatchView]
    more: list[Kind]


def found_view(found: Found, words: Sequence[str]) -> FoundView:
    return FoundView(
        [
            MatchView(match.kind, match.id, excerpt(match.text, words), match.user_id, match.created_at)
            for match in found.matches
        ],
        [kind for kind in Kind if kind in found.more],
    )
