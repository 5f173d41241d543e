"""Renders pictures on one machine: each in a child process, which may die."""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from typing import BinaryIO

from nomadcrew.adapters.pictures.exit_status import NO_MEMORY, NOT_READABLE, TOO_MANY_PIXELS
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.model import FileNotReadable, TooManyPixels
from nomadcrew.core.pictures.model import Rendition, Size

log = logging.getLogger("nomadcrew.pictures")

PROGRAM = (sys.executable, "-I", "-m", "nomadcrew.adapters.pictures.child")
# Of a child, from its start: longer than its limit of CPU time, shorter than a silence of the queue's loop may be.
TIMEOUT_S = 25.0
# A queue delivers several jobs at a time; each child may take the memory of the largest picture.
CHILDREN = 1
_REFUSALS = {NOT_READABLE: FileNotReadable, TOO_MANY_PIXELS: TooManyPixels, NO_MEMORY: TooManyPixels}


class ChildRenderer:
    """`Renderer` with a process for each picture, one at a time."""

    def __init__(self, *, program: Sequence[str] = PROGRAM, timeout_s: float = TIMEOUT_S) -> None:
        """`program` is the command of a child, without its argument."""
        self._program = program
        self._timeout_s = timeout_s
        self._room = asyncio.Semaphore(CHILDREN)

    async def render(self, original: BinaryIO, sizes: Sequence[Size]) -> Sequence[Rendition]:
        asked = json.dumps([[size.longest_px, size.square] for size in sizes])
        async with self._room:
            status, output = await self._run(original, asked)
        if status == 0:
            return _renditions_in(output)
        # A negative status is the signal that ended it: a crash of the decoder, or the limit of its time.
        level = logging.WARNING if status < 0 else logging.INFO
        log.log(level, "Picture not rendered", extra={"fields": {"status": status}})
        raise _REFUSALS.get(status, FileNotReadable)()

    async def _run(self, original: BinaryIO, asked: str) -> tuple[int, bytes]:
        """Exit status and output of a child. Its errors are not logged: they might quote the file."""
        original.seek(0)
        child = await asyncio.create_subprocess_exec(
            *self._program,
            asked,
            stdin=original,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                output, _ = await child.communicate()
        except TimeoutError:
            raise Unavailable(details="a picture was not rendered in time") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return child.returncode or 0, output


def _renditions_in(output: bytes) -> Sequence[Rendition]:
    head, _, contents = output.partition(b"\n")
    renditions: list[Rendition] = []
    at = 0
    for width_px, height_px, length in json.loads(head):
        renditions.append(Rendition(contents[at : at + length], width_px, height_px))
        at += length
    return renditions
