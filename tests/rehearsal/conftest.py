"""Chaos on the deployment of `make rehearse`; these tests run nowhere else."""

import pytest

from rehearsal import running
from rehearsal.running import Rehearsal
from tests.e2e.conftest import api, connect, mailbox, register, url

__all__ = ["api", "connect", "mailbox", "register", "url"]


@pytest.fixture(scope="session")
def rehearsal() -> Rehearsal:
    assert running.current is not None, "run these tests with `make rehearse`"
    return running.current
