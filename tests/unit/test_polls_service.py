"""The jobs of polls work through everything that is due, batch by batch."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from nomadcrew.core.polls.service import JOB_BATCH, close_due, remind
from tests.fakes import NOON


class DuePolls:
    """Fakes the jobs of `Polls`: each call takes the next of `counts`."""

    def __init__(self, *counts: int) -> None:
        self._counts: Iterator[int] = iter(counts)

    async def close_due(self, *, now: datetime, limit: int) -> int:
        assert (now, limit) == (NOON, JOB_BATCH)
        return next(self._counts)

    remind = close_due


@pytest.mark.parametrize("job", [close_due, remind])
async def test_a_job_goes_on_until_a_batch_is_not_full(job: Any) -> None:
    assert await job(polls=DuePolls(JOB_BATCH, JOB_BATCH, 3), now=NOON) == 2 * JOB_BATCH + 3
    assert await job(polls=DuePolls(0), now=NOON) == 0
