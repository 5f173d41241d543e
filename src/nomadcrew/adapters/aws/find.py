"""The search of a trip on AWS."""

import asyncio
from collections.abc import Sequence

from nomadcrew.core.access import Access
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.find.model import Found, Kind, Match, cut
from nomadcrew.core.find.ports import Finder


class TwoStoreFinder:
    """`Finder` over the chat's table, and over SQL, which has all but the messages."""

    def __init__(self, rest: Finder, chat: ChatLog) -> None:
        self._rest = rest
        self._chat = chat

    async def find(self, access: Access, words: Sequence[str], *, limit: int) -> Found:
        rest = asyncio.create_task(self._rest.find(access, words, limit=limit))
        chat = asyncio.create_task(self._chat.search(access, words, None, limit=limit))
        # Both end before one may fail: no request must be left behind in the function.
        await asyncio.wait((rest, chat))
        found, page = rest.result(), chat.result()
        messages = [
            Match(Kind.MESSAGE, m.id, m.text, None if m.sender is None else m.sender.id, m.created_at)
            for m in page.messages
        ]
        more = [*found.more, *([Kind.MESSAGE] if page.next is not None else [])]
        return cut([*found.matches, *messages], limit, more)
