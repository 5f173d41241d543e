"""Erasure on one machine: the database and the data folder have everything, but the processes have sockets."""

import asyncio
from collections.abc import Mapping

from nomadcrew.core.erasure.model import Person

# Every process looks for ended sessions once a second.
WAIT_S = 2.5


class EndedSockets:
    """`PersonalCopies` of one machine. It waits until each process has seen that the user's sessions ended."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s

    async def erase(self, person: Person) -> Mapping[str, int]:  # noqa: ARG002 — the port's form
        await asyncio.sleep(self._wait_s)
        return {}
