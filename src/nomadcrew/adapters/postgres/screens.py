"""Screens of trips on PostgreSQL, in one statement."""

from collections.abc import Collection, Mapping
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from nomadcrew.adapters.postgres import records
from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import Message, MessagePage
from nomadcrew.core.screens.model import PAGES, Part, Screen

_SQL = statements("screens")
_NO_TOTALS: Mapping[Part, int] = MappingProxyType({})
_DECODERS: Mapping[Part, Any] = {
    Part.TRIP: str,
    Part.MEMBERS: records.member,
    Part.TODOS: records.todo,
    Part.POLLS: records.poll,
    Part.DOCUMENTS: records.document,
    Part.PHOTOS: records.picture,
    Part.MESSAGES: records.chat_message,
    Part.RECEIPTS: records.receipt,
}


class PostgresScreens:
    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def get(self, access: Access, parts: Collection[Part]) -> Screen:
        asked = [{"part": part, "size": PAGES.get(part)} for part in parts]
        rows = await self._sql.fetch(_SQL["get"], **gate(access), parts=json_param(asked))
        raise_for_verdict(rows[0]["verdict"])
        items: dict[Part, list[Any]] = {}
        totals: dict[Part, int] = {}
        for (name, _, total), texts in groupby(rows, key=itemgetter("part", "n", "total")):
            if name is not None:
                part = Part(name)
                items.setdefault(part, []).append(_DECODERS[part]("".join(row["text"] for row in texts)))
                totals[part] = (
                    total if part is not Part.MESSAGES or len(items[part]) <= PAGES[part] else totals[part]
                )
        return Screen(
            card=next(iter(items.get(Part.TRIP, ())), None),
            members=items.get(Part.MEMBERS, ()),
            todos=items.get(Part.TODOS, ()),
            polls=items.get(Part.POLLS, ()),
            documents=items.get(Part.DOCUMENTS, ()),
            photos=items.get(Part.PHOTOS, ()),
            messages=_page(items.get(Part.MESSAGES, []), totals) if Part.MESSAGES in parts else None,
            receipts=items.get(Part.RECEIPTS, ()),
            totals=totals,
        )


def _page(messages: list[Message], totals: Mapping[Part, int]) -> MessagePage:
    """The page of messages; the number of its last one is in `totals`."""
    size = PAGES[Part.MESSAGES]
    return MessagePage(messages[:size], f"m{totals[Part.MESSAGES]}" if len(messages) > size else None)
