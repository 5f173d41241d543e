"""Screens of trips on AWS, where the chat has a store of its own."""

import asyncio
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from nomadcrew.core.access import Access
from nomadcrew.core.chat.model import MessagePage, Receipt
from nomadcrew.core.chat.ports import ChatLog
from nomadcrew.core.screens.model import PAGES, Part, Screen
from nomadcrew.core.screens.ports import Screens


class TwoStoreScreens:
    """`Screens` over the chat's table, and over SQL, which has all but messages and receipts."""

    def __init__(self, rest: Screens, chat: ChatLog) -> None:
        self._rest = rest
        self._chat = chat

    async def get(self, access: Access, parts: Collection[Part]) -> Screen:
        in_sql = [part for part in parts if part not in (Part.MESSAGES, Part.RECEIPTS)]
        rest = asyncio.create_task(self._rest.get(access, in_sql))
        messages = asyncio.create_task(self._messages(access, parts))
        receipts = asyncio.create_task(self._receipts(access, parts))
        # All end before one may fail: no request must be left behind in the function.
        await asyncio.wait((rest, messages, receipts))
        failed = [task.exception() for task in (rest, messages, receipts)]
        if any(failed):
            raise next(filter(None, failed))
        return replace(rest.result(), messages=messages.result(), receipts=receipts.result())

    async def _messages(self, access: Access, parts: Collection[Part]) -> MessagePage | None:
        if Part.MESSAGES not in parts:
            return None
        return await self._chat.before(access, None, limit=PAGES[Part.MESSAGES])

    async def _receipts(self, access: Access, parts: Collection[Part]) -> Sequence[Receipt]:
        return await self._chat.list_receipts(access) if Part.RECEIPTS in parts else ()
