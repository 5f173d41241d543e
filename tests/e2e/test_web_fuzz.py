"""A short fuzz of every operation; `make fuzz` runs for longer."""

import asyncio
import random

import pytest

from tests.e2e.fuzz import fuzz, fuzzed_server


@pytest.mark.one_machine("tests code that both hosts share, and reads the server's log")
@pytest.mark.timeout(600)
async def test_every_operation_replies_within_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.randrange(10**6)
    with capsys.disabled():
        print(f" seed {seed} ", end="", flush=True)
    async with fuzzed_server() as server:
        done = await asyncio.to_thread(fuzz, server.url, examples=50, seed=seed)
        assert done.returncode == 0, f"seed {seed}\n{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
        assert '"level":"ERROR"' not in server.log
