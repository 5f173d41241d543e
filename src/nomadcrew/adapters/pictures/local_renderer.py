"""Renders pictures in this process: that of a Lambda function, which does nothing else and may die."""

import asyncio
from collections.abc import Sequence
from typing import BinaryIO

from nomadcrew.adapters.pictures.decoding import renditions_of
from nomadcrew.core.files.model import TooManyPixels
from nomadcrew.core.pictures.model import Rendition, Size


class LocalRenderer:
    """`Renderer` of one picture at a time: the largest takes a gigabyte, and filters of warnings are shared."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def render(self, original: BinaryIO, sizes: Sequence[Size]) -> Sequence[Rendition]:
        original.seek(0)
        try:
            async with self._turn:
                return await asyncio.to_thread(renditions_of, original, sizes)
        except MemoryError:
            raise TooManyPixels from None
