"""Sessions that ended in the database are refused by the host."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import pytest

from nomadcrew.core.auth.ports import Tokens
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import SessionId, uuid7
from nomadcrew.hosts.machine.ended_sessions import EndedSessions
from tests.fakes import NOON, SetClock

BEFORE_START, BESIDE = SessionId(uuid7()), SessionId(uuid7())


@dataclass
class Ends:
    """The ends of sessions by time; `away` is an outage of the database."""

    at: dict[SessionId, datetime] = field(default_factory=dict)
    away: bool = False

    async def ended_since(self, since: datetime) -> list[SessionId]:
        if self.away:
            raise Unavailable
        return [session_id for session_id, ended_at in self.at.items() if ended_at > since]


@dataclass
class Revoking:
    revoked: list[SessionId] = field(default_factory=list)

    async def revoke(self, session_id: SessionId, *, now: datetime) -> None:
        self.revoked.append(session_id)


async def test_a_start_revokes_what_ended_within_the_lifetime_of_a_token() -> None:
    old = SessionId(uuid7())
    ends = Ends({BEFORE_START: NOON - timedelta(minutes=14), old: NOON - timedelta(minutes=20)})
    tokens = Revoking()
    await EndedSessions(ends, cast("Tokens", tokens), SetClock(NOON)).read()
    assert tokens.revoked == [BEFORE_START]


async def test_an_end_is_read_once_also_if_it_is_committed_late_or_after_an_outage() -> None:
    ends, tokens, clock = Ends(), Revoking(), SetClock(NOON)
    sessions = EndedSessions(ends, cast("Tokens", tokens), clock)
    await sessions.read()
    ends.away = True
    clock.advance(600)
    with pytest.raises(Unavailable):
        await sessions.read()
    ends.away = False
    ends.at[BESIDE] = NOON - timedelta(seconds=20)
    for _ in range(3):
        await sessions.read()
        clock.advance(1)
    assert tokens.revoked == [BESIDE]
