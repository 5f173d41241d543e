"""The hourly round: everything that is due, whatever fails of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import AttachmentId, TripId, uuid7
from nomadcrew.core.ports import Ports
from nomadcrew.core.retention import UNUSED_ATTACHMENT_RETENTION
from nomadcrew.hosts.aws.functions.retention import apply_retention
from tests.fakes import Bell, fake_ports

OTHERS = ["files", "notifications", "positions", "push tokens", "pushes", "registrations", "replays", "sharing"]


class Call:
    """What Lambda says about a call."""

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@dataclass
class Broom:
    """`Retention`, `UnconfirmedRegistrations`, `Attachments` and `Files`; old events are unreachable if `away`."""

    away: bool = False
    deleted_key: str = ""
    swept: list[str] = field(default_factory=list)

    async def delete_stored_replies(self, now: datetime) -> int:
        return self._swept("replays")

    async def delete_events(self, now: datetime) -> int:
        if self.away:
            raise Unavailable
        return self._swept("events")

    async def delete_notifications(self, now: datetime) -> int:
        return self._swept("notifications")

    async def delete_push_tokens(self, now: datetime) -> int:
        return self._swept("push tokens")

    async def delete_push_sends(self, now: datetime) -> int:
        return self._swept("pushes")

    async def end_expired_sharing(self, now: datetime) -> int:
        return self._swept("sharing")

    async def delete_positions(self, now: datetime) -> int:
        return self._swept("positions")

    async def delete_expired(self, *, now: datetime) -> int:
        return self._swept("registrations")

    async def expire(self, unused_since: datetime, *, now: datetime, limit: int) -> int:
        assert now - unused_since == UNUSED_ATTACHMENT_RETENTION
        return 1

    async def list_deleted(self, *, limit: int) -> list[tuple[TripId, AttachmentId]]:
        assert limit > 1
        return [(TripId(uuid7()), AttachmentId(uuid7()))]

    async def delete(self, key: str) -> None:
        self.deleted_key = key

    async def forget(self, ids: Sequence[AttachmentId]) -> None:
        assert self.deleted_key.endswith(f"/{ids[0]}")  # after the file
        self._swept("files")

    def _swept(self, what: str) -> int:
        self.swept.append(what)
        return 1


def _ports(broom: Broom) -> Ports:
    return fake_ports(
        retention=broom, unconfirmed_registrations=broom, attachments=broom, files=broom, outbox=Bell()
    )


async def test_everything_that_is_due_goes() -> None:
    broom = Broom()
    await apply_retention({}, Call(), _ports(broom))
    assert sorted(broom.swept) == ["events", *OTHERS]


async def test_what_fails_is_told_and_keeps_nothing_else_from_it() -> None:
    broom = Broom(away=True)
    with pytest.raises(ExceptionGroup) as told:
        await apply_retention({}, Call(), _ports(broom))
    assert [type(error) for error in told.value.exceptions] == [Unavailable]
    assert sorted(broom.swept) == OTHERS
