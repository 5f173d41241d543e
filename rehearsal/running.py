"""The running parts of a rehearsal, for tests that stop some of them."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from rehearsal.deploy import Deployed
from rehearsal.emulator import Emulator
from tests.postgres import Postgres

T = TypeVar("T")


class Loop:
    """An event loop in a thread, for the database, which outlives each run of pytest."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class Rehearsal:
    """The emulator, the database and the deployment of a rehearsal."""

    def __init__(self, loop: Loop, postgres: Postgres, emulator: Emulator, deployed: Deployed) -> None:
        self._loop = loop
        self._postgres = postgres
        self.emulator = emulator
        self.deployed = deployed

    def stop_database(self) -> None:
        self._loop.run(self._postgres.pg.stop())

    def start_database(self) -> None:
        self._loop.run(self._postgres.pg.start())


current: Rehearsal | None = None
