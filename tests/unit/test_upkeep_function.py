"""The hourly round: everything that is due, whatever fails of it."""

from dataclasses import dataclass, field
from datetime import datetime

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.functions.upkeep import clean_up
from tests.fakes import Bell, fake_ports

OTHERS = ["notifications", "positions", "push tokens", "pushes", "registrations", "replays", "sharing"]


class Call:
    """What Lambda says about a call."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@dataclass
class Broom:
    """`Upkeep`, and `Abandoned`, where old events cannot be reached when `away`."""

    away: bool = False
    swept: list[str] = field(default_factory=list)

    async def replays(self, now: datetime) -> int:
        return self._swept("replays")

    async def events(self, now: datetime) -> int:
        if self.away:
            raise Unavailable
        return self._swept("events")

    async def notifications(self, now: datetime) -> int:
        return self._swept("notifications")

    async def push_tokens(self, now: datetime) -> int:
        return self._swept("push tokens")

    async def push_sends(self, now: datetime) -> int:
        return self._swept("pushes")

    async def sharing(self, now: datetime) -> int:
        return self._swept("sharing")

    async def positions(self, now: datetime) -> int:
        return self._swept("positions")

    async def forget_expired(self, *, now: datetime) -> int:
        return self._swept("registrations")

    def _swept(self, what: str) -> int:
        self.swept.append(what)
        return 1


async def test_everything_that_is_due_goes() -> None:
    broom = Broom()
    await clean_up({}, Call(), fake_ports(upkeep=broom, abandoned=broom, outbox=Bell()))
    assert sorted(broom.swept) == ["events", *OTHERS]


async def test_what_fails_is_told_and_keeps_nothing_else_from_it() -> None:
    broom = Broom(away=True)
    with pytest.raises(ExceptionGroup) as told:
        await clean_up({}, Call(), fake_ports(upkeep=broom, abandoned=broom, outbox=Bell()))
    assert [type(error) for error in told.value.exceptions] == [Unavailable]
    assert sorted(broom.swept) == OTHERS
