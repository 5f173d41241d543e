"""A short fuzz of every operation; `make fuzz` is the long one."""

import asyncio
import random

import pytest

from tests.e2e.fuzz import fuzz
from tests.e2e.server import Server


@pytest.mark.one_machine("it is about the code, which is the same on both hosts, and reads the server's log")
@pytest.mark.timeout(300)
async def test_no_operation_answers_outside_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.randrange(10**6)
    with capsys.disabled():
        print(f" seed {seed} ", end="", flush=True)
    async with Server(NOMADCREW_RATE_LIMITS="off") as server:
        done = await asyncio.to_thread(fuzz, server.url, examples=50, seed=seed)
        assert done.returncode == 0, f"seed {seed}\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
        assert '"level":"ERROR"' not in server.log
