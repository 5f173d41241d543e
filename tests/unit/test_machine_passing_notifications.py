"""Notifications without a job: concurrent, bounded, and each on its own."""

import asyncio

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId
from nomadcrew.hosts.machine import passing_notifications
from nomadcrew.hosts.machine.passing_notifications import PassingNotifications
from tests.fakes import an_event


class Notified:
    """Records events; `failures` are raised in turn."""

    def __init__(self, *failures: Exception | None) -> None:
        self.ids: list[EventId] = []
        self.go_on = asyncio.Event()
        self._failures = list(failures)

    async def __call__(self, event: Event) -> None:
        self.ids.append(event.id)
        failure = self._failures.pop(0) if self._failures else None
        await self.go_on.wait()
        if failure is not None:
            raise failure


async def test_events_are_notified_at_once_and_later_ones_afterwards() -> None:
    notified = Notified()
    notifications = PassingNotifications(notified)
    events = [an_event() for _ in range(3)]
    notifications.add(events[0])
    notifications.add(events[1])
    await asyncio.sleep(0.01)
    notifications.add(events[2])
    await asyncio.sleep(0.01)
    assert notified.ids == [event.id for event in events[:2]]
    notified.go_on.set()
    await asyncio.sleep(0.01)
    assert notified.ids == [event.id for event in events]


async def test_an_outage_or_a_bug_affects_one_notification(caplog: pytest.LogCaptureFixture) -> None:
    notified = Notified(Unavailable(), KeyError("a text"), None)
    notified.go_on.set()
    notifications = PassingNotifications(notified)
    for _ in range(3):
        notifications.add(an_event())
    await asyncio.sleep(0.01)
    assert len(notified.ids) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


async def test_a_full_queue_drops_new_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing_notifications, "MAX_WAITING", 2)
    notified = Notified()
    notified.go_on.set()
    notifications = PassingNotifications(notified)
    for _ in range(5):
        notifications.add(an_event())
    await asyncio.sleep(0.01)
    assert len(notified.ids) == 2
