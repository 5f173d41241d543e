"""The search of a trip on PostgreSQL."""

from collections.abc import Sequence

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.find.model import SEARCHED, SEARCHED_POLLS, Found, Kind, Match, cut

_SQL = statements("find")
_LITERAL = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


class PostgresFinder:
    """`Finder` in one statement. On AWS its table of messages is empty: they are in DynamoDB."""

    def __init__(self, sql: Sql, *, searched: int = SEARCHED, searched_polls: int = SEARCHED_POLLS) -> None:
        self._sql = sql
        self._searched = searched
        self._searched_polls = searched_polls

    async def find(self, access: Access, words: Sequence[str], *, limit: int) -> Found:
        rows = await self._sql.fetch(
            _SQL["find"],
            **gate(access),
            patterns=json_param([_pattern(word) for word in words]),
            searched=self._searched,
            searched_polls=self._searched_polls,
            limit=limit + 1,
        )
        raise_for_verdict(rows[0]["verdict"])
        matches = [
            Match(Kind(row["kind"]), row["id"], row["text"], row["user_id"], row["created_at"])
            for row in rows
            if row["kind"] is not None
        ]
        return cut(matches, limit, [Kind.MESSAGE] if rows[0]["has_older_messages"] else [])


def _pattern(word: str) -> str:
    """The pattern of LIKE for a text that contains a word."""
    return f"%{word.translate(_LITERAL)}%"
