"""What is told live: one question for many events, the newest of those that replace each other, no failures."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.sockets import broadcast as live
from nomadcrew.hosts.machine.sockets.broadcast import ON_ITS_WAY_S, PACE_S, HubBroadcaster
from nomadcrew.hosts.machine.sockets.hub import Hub
from tests.fakes import ANA, BEN, an_event
from tests.sockets import Seat

TRIP, OTHER = TripId(uuid7()), TripId(uuid7())


class Roster:
    """Members by trip; `open` lets a question be answered, and `asked` remembers each."""

    def __init__(self, members: Mapping[TripId, Sequence[UserId]]) -> None:
        self.members = members
        self.asked: list[set[TripId]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        self.asked.append(set(trip_ids))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.members


class Timers:
    """What the loop was asked to do later, done when a test says that the time has come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now_s = 0.0
        self._due: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self._call_later)

    def _call_later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        self._due.append((self._now_s + delay_s, callback, arguments))

    def advance(self, seconds: float) -> None:
        self._now_s += seconds
        due = [timer for timer in self._due if timer[0] <= self._now_s]
        self._due = [timer for timer in self._due if timer[0] > self._now_s]
        for _, callback, arguments in due:
            callback(*arguments)


class Stage:
    """Ana and ben on a trip with a socket each, ana alone on another."""

    def __init__(self) -> None:
        self.hers, self.his = Seat(ANA), Seat(BEN)
        self.hub = Hub()
        self.hub.add(self.hers.socket)
        self.hub.add(self.his.socket)
        self.roster = Roster({TRIP: [ANA, BEN], OTHER: [ANA]})
        self.live = HubBroadcaster(self.roster, self.hub, Metrics())

    async def settled(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def heard(self, seat: Seat) -> list[str]:
        """The types of the events a socket was sent since the last look."""
        return [json.loads(frame)["payload"]["type"] for frame in seat.heard() if isinstance(frame, str)]


def moved(type_: str = "LOCATION_UPDATED", trip_id: TripId = TRIP) -> Event:
    return an_event(type=type_, trip_id=trip_id)


async def test_everybody_on_the_trip_is_told_and_the_teller_does_not_wait() -> None:
    stage = Stage()
    stage.roster.open.clear()
    await stage.live.broadcast(moved())
    assert stage.heard(stage.his) == []
    stage.roster.open.set()
    await stage.settled()
    assert stage.heard(stage.hers) == stage.heard(stage.his) == ["LOCATION_UPDATED"]


async def test_what_comes_during_a_question_is_asked_for_together_and_told_in_order() -> None:
    stage = Stage()
    stage.roster.open.clear()
    await stage.live.broadcast(moved("FIRST"))
    await stage.settled()
    for number in range(50):
        await stage.live.broadcast(moved(f"EVENT_{number}", TRIP if number % 2 else OTHER))
    stage.roster.open.set()
    await stage.settled()
    assert stage.roster.asked == [{TRIP}, {TRIP, OTHER}]
    assert stage.heard(stage.hers) == ["FIRST", *(f"EVENT_{number}" for number in range(50))]
    assert stage.heard(stage.his) == ["FIRST", *(f"EVENT_{number}" for number in range(1, 50, 2))]


async def test_what_is_for_one_person_needs_no_membership() -> None:
    stage = Stage()
    await stage.live.broadcast(an_event(type="HINT", recipient_id=BEN, audience=Audience.USER))
    await stage.settled()
    assert stage.roster.asked == [set()]
    assert (stage.heard(stage.hers), stage.heard(stage.his)) == ([], ["HINT"])


async def test_of_what_replaces_each_other_the_first_is_told_at_once_and_then_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, timers = Stage(), Timers(monkeypatch)
    for number in range(10):
        await stage.live.broadcast(moved(f"AT_{number}"), latest_of="ana")
    await stage.live.broadcast(moved("BEN"), latest_of="ben")
    await stage.settled()
    assert stage.heard(stage.his) == ["AT_0", "BEN"]
    for expected in (["AT_9"], []):
        timers.advance(PACE_S)
        await stage.settled()
        assert stage.heard(stage.his) == expected
    await stage.live.broadcast(moved("AT_10"), latest_of="ana")
    await stage.settled()
    assert stage.heard(stage.his) == ["AT_10"]


@pytest.mark.parametrize(
    ("event", "trip", "later_s", "hides"),
    [
        ("LOCATION_SHARING_CHANGED", TRIP, 1, {"isSharingEnabled": False}),
        ("LOCATION_SHARING_CHANGED", TRIP, 0, {"isSharingEnabled": False}),
        ("location_privacy.changed", None, 1, {}),
    ],
)
async def test_a_position_that_waits_is_not_told_once_its_owner_hides(
    event: str, trip: TripId | None, later_s: int, hides: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, timers = await one_position_waits(monkeypatch)
    stage.live.outdated_by(hiding(event, trip, later_s, ANA, **hides))
    timers.advance(PACE_S)
    await stage.settled()
    assert stage.heard(stage.his) == []


@pytest.mark.parametrize(
    ("event", "trip", "later_s", "whose", "says"),
    [
        ("LOCATION_SHARING_CHANGED", TRIP, 1, ANA, {"isSharingEnabled": True}),
        ("LOCATION_SHARING_CHANGED", OTHER, 1, ANA, {"isSharingEnabled": False}),
        ("LOCATION_SHARING_CHANGED", TRIP, 1, BEN, {"isSharingEnabled": False}),
        ("LOCATION_SHARING_CHANGED", TRIP, -1, ANA, {"isSharingEnabled": False}),
        ("location_privacy.changed", None, -1, ANA, {}),
        ("MEETING_POINT_CHANGED", TRIP, 1, ANA, {}),
    ],
)
async def test_a_position_that_waits_is_told_whatever_else_happens(
    event: str, trip: TripId, later_s: int, whose: UserId, says: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, timers = await one_position_waits(monkeypatch)
    stage.live.outdated_by(hiding(event, trip, later_s, whose, **says))
    timers.advance(PACE_S)
    await stage.settled()
    assert stage.heard(stage.his) == ["LOCATION_UPDATED"]


async def test_a_position_is_not_told_where_its_owner_hides_while_it_is_asked_whom_to_tell() -> None:
    stage = Stage()
    stage.roster.open.clear()
    await stage.live.broadcast(moved())
    await stage.settled()
    await stage.live.broadcast(moved())
    stage.live.outdated_by(hiding("LOCATION_SHARING_CHANGED", TRIP, 0, ANA, isSharingEnabled=False))
    stage.roster.open.set()
    await stage.settled()
    assert stage.heard(stage.his) == []


async def test_a_position_that_comes_after_its_owner_hid_is_told_only_if_it_is_newer() -> None:
    stage = Stage()
    stage.live.outdated_by(hiding("location_privacy.changed", None, 1, ANA))
    await stage.live.broadcast(moved())
    await stage.settled()
    assert stage.heard(stage.his) == []
    await stage.live.broadcast(replace(moved(), occurred_at=moved().occurred_at + timedelta(seconds=2)))
    await stage.settled()
    assert stage.heard(stage.his) == ["LOCATION_UPDATED"]


async def test_who_hid_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, timers = Stage(), Timers(monkeypatch)
    stage.live.outdated_by(hiding("LOCATION_SHARING_CHANGED", TRIP, 1, ANA, isSharingEnabled=False))
    timers.advance(ON_ITS_WAY_S / 2)
    stage.live.outdated_by(hiding("LOCATION_SHARING_CHANGED", TRIP, 2, ANA, isSharingEnabled=False))
    timers.advance(ON_ITS_WAY_S / 2)
    await stage.live.broadcast(moved())
    await stage.settled()
    assert stage.heard(stage.his) == []
    timers.advance(ON_ITS_WAY_S / 2)
    await stage.live.broadcast(moved())
    await stage.settled()
    assert stage.heard(stage.his) == ["LOCATION_UPDATED"]


async def one_position_waits(monkeypatch: pytest.MonkeyPatch) -> tuple[Stage, Timers]:
    """One of ana's was told, and a second one of hers waits."""
    stage, timers = Stage(), Timers(monkeypatch)
    for _ in range(2):
        await stage.live.broadcast(moved(), latest_of="ana")
    await stage.settled()
    assert stage.heard(stage.his) == ["LOCATION_UPDATED"]
    return stage, timers


def hiding(type_: str, trip_id: TripId | None, later_s: int, whose: UserId, **says: bool) -> Event:
    payload = json.dumps({"userId": str(whose)} | says)
    at = moved().occurred_at + timedelta(seconds=later_s)
    return an_event(type=type_, trip_id=trip_id, payload=payload, occurred_at=at)


async def test_one_that_follows_a_held_one_waits_a_full_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, timers = Stage(), Timers(monkeypatch)
    await stage.live.broadcast(moved("AT_0"), latest_of="ana")
    await stage.live.broadcast(moved("AT_1"), latest_of="ana")
    timers.advance(PACE_S)
    await stage.live.broadcast(moved("AT_2"), latest_of="ana")
    timers.advance(PACE_S / 2)
    await stage.settled()
    assert stage.heard(stage.his) == ["AT_0", "AT_1"]
    timers.advance(PACE_S / 2)
    await stage.settled()
    assert stage.heard(stage.his) == ["AT_2"]


async def test_an_outage_loses_what_was_asked_for_and_nothing_after(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.roster.failure = Unavailable()
    with caplog.at_level(logging.WARNING):
        await stage.live.broadcast(moved("LOST"))
        await stage.settled()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    stage.roster.failure = None
    await stage.live.broadcast(moved("TOLD"))
    await stage.settled()
    assert stage.heard(stage.his) == ["TOLD"]


async def test_a_bug_is_an_error_line_and_the_next_event_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.roster.failure = ValueError("a slip")
    with caplog.at_level(logging.WARNING):
        await stage.live.broadcast(moved())
        await stage.settled()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    stage.roster.failure = None
    await stage.live.broadcast(moved("TOLD"))
    await stage.settled()
    assert stage.heard(stage.his) == ["TOLD"]


async def test_without_any_socket_nothing_is_asked() -> None:
    stage = Stage()
    stage.hub.remove(stage.hers.socket)
    stage.hub.remove(stage.his.socket)
    await stage.live.broadcast(moved())
    await stage.settled()
    assert stage.roster.asked == []


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_WAITING", 3)
    stage = Stage()
    stage.roster.open.clear()
    await stage.live.broadcast(moved("FIRST"))
    await stage.settled()
    for number in range(10):
        await stage.live.broadcast(moved(f"EVENT_{number}"))
    stage.roster.open.set()
    await stage.settled()
    assert stage.heard(stage.his) == ["FIRST", "EVENT_0", "EVENT_1", "EVENT_2"]


async def test_whose_position_was_sent_to_whom_is_told_to_who_notes_it() -> None:
    stage = Stage()
    shown: list[tuple[TripId, UserId, set[UserId]]] = []
    stage.hub.on_shown = lambda trip_id, owner, viewers: shown.append((trip_id, owner, set(viewers)))
    await stage.hub.mute(stage.hers.socket.id, TRIP)
    await stage.live.broadcast(moved("CHAT_TYPING_STATUS"))
    await stage.live.broadcast(moved())
    await stage.settled()
    assert stage.heard(stage.his) == ["CHAT_TYPING_STATUS", "LOCATION_UPDATED"]
    assert shown == [(TRIP, ANA, {BEN})]


async def test_some_people_are_told_by_name_whatever_they_muted_and_nobody_else() -> None:
    stage = Stage()
    assert await stage.hub.mute(stage.his.socket.id, TRIP)
    await stage.live.send_to(moved("TOAST"), [BEN])
    await stage.settled()
    assert (stage.heard(stage.hers), stage.heard(stage.his)) == ([], ["TOAST"])
    assert stage.roster.asked == [set()]
