"""Kills at random moments: no acknowledged write is lost, and every event arrives. `make soak` repeats this."""

import os
import random

import pytest

from tests.e2e.durability import Kill, Trial
from tests.e2e.server import Server

ROUNDS = 2


@pytest.mark.one_machine("kills processes")
@pytest.mark.timeout(300)
async def test_no_kill_loses_an_acknowledged_write_or_an_event() -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    async with Server(NOMADCREW_RATE_LIMITS="off", LOG_LEVEL="warning") as server:
        trial = Trial(server, seed)
        for kill in list(Kill) * ROUNDS:
            outcome = await trial.round(kill)
            assert (outcome.lost, outcome.duplicates) == ([], []), f"seed {seed}, {kill}\n{server.log[-4000:]}"
            assert outcome.writes > 0
            assert outcome.messages > 0
            assert outcome.positions > 0
            assert outcome.votes > 0
            assert outcome.documents > 0
        later = await trial.recheck_all()
        assert (later.lost, later.duplicates) == ([], []), f"seed {seed}"
        failures = {status for status in trial.statuses if status >= 500}
        assert failures <= {503}, f"seed {seed}, {trial.statuses}\n{server.log[-4000:]}"
        assert server.errors == [], f"seed {seed}"
