"""Chaos on what `make rehearse` deployed; nothing here runs without it."""

import pytest

from rehearsal import running
from rehearsal.running import Rehearsal
from tests.e2e.conftest import api, connect, mailbox, register, url

__all__ = ["api", "connect", "mailbox", "register", "url"]


@pytest.fixture(scope="session")
def rehearsal() -> Rehearsal:
    assert running.current is not None, "these tests are run by `make rehearse`"
    return running.current
