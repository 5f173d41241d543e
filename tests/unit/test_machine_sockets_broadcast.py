"""Broadcasts: one query for many events, only the newest of events that replace each other, and outages."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.hosts.machine.http.metrics import Metrics
from nomadcrew.hosts.machine.sockets import broadcast as live
from nomadcrew.hosts.machine.sockets.broadcast import ON_ITS_WAY_S, PACE_S, HubBroadcaster
from nomadcrew.hosts.machine.sockets.hub import Hub
from tests.fake_sockets import FakeSocket
from tests.fakes import ANA, BEN, an_event

TRIP, OTHER = TripId(uuid7()), TripId(uuid7())


class Roster:
    """Members by trip; queries wait for `open` and are recorded in `queries`."""

    def __init__(self, members: Mapping[TripId, Sequence[UserId]]) -> None:
        self.members = members
        self.queries: list[set[TripId]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        self.queries.append(set(trip_ids))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return self.members


class Timers:
    """Fakes the loop's timers; tests advance their clock."""

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


class Scenario:
    """Ana and ben on a trip with a socket each, and ana alone on another trip."""

    def __init__(self) -> None:
        self.ana_socket, self.ben_socket = FakeSocket(ANA), FakeSocket(BEN)
        self.hub = Hub()
        self.hub.add(self.ana_socket.socket)
        self.hub.add(self.ben_socket.socket)
        self.roster = Roster({TRIP: [ANA, BEN], OTHER: [ANA]})
        self.live = HubBroadcaster(self.roster, self.hub, Metrics())

    async def settled(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def received(self, socket: FakeSocket) -> list[str]:
        """The types of the events on a socket since the last call."""
        return [json.loads(frame)["payload"]["type"] for frame in socket.received() if isinstance(frame, str)]


def position_event(type_: str = "LOCATION_UPDATED", trip_id: TripId = TRIP) -> Event:
    return an_event(type=type_, trip_id=trip_id)


async def test_every_member_gets_the_event_and_the_sender_does_not_wait() -> None:
    scenario = Scenario()
    scenario.roster.open.clear()
    await scenario.live.broadcast(position_event())
    assert scenario.received(scenario.ben_socket) == []
    scenario.roster.open.set()
    await scenario.settled()
    assert scenario.received(scenario.ana_socket) == scenario.received(scenario.ben_socket) == ["LOCATION_UPDATED"]


async def test_events_during_a_query_share_the_next_and_stay_in_order() -> None:
    scenario = Scenario()
    scenario.roster.open.clear()
    await scenario.live.broadcast(position_event("FIRST"))
    await scenario.settled()
    for number in range(50):
        await scenario.live.broadcast(position_event(f"EVENT_{number}", TRIP if number % 2 else OTHER))
    scenario.roster.open.set()
    await scenario.settled()
    assert scenario.roster.queries == [{TRIP}, {TRIP, OTHER}]
    assert scenario.received(scenario.ana_socket) == ["FIRST", *(f"EVENT_{number}" for number in range(50))]
    assert scenario.received(scenario.ben_socket) == ["FIRST", *(f"EVENT_{number}" for number in range(1, 50, 2))]


async def test_an_event_for_one_user_needs_no_membership() -> None:
    scenario = Scenario()
    await scenario.live.broadcast(an_event(type="HINT", recipient_id=BEN, audience=Audience.USER))
    await scenario.settled()
    assert scenario.roster.queries == [set()]
    assert (scenario.received(scenario.ana_socket), scenario.received(scenario.ben_socket)) == ([], ["HINT"])


async def test_events_that_replace_each_other_are_paced_and_the_newest_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario, timers = Scenario(), Timers(monkeypatch)
    for number in range(10):
        await scenario.live.broadcast(position_event(f"AT_{number}"), latest_of="ana")
    await scenario.live.broadcast(position_event("BEN"), latest_of="ben")
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["AT_0", "BEN"]
    for expected in (["AT_9"], []):
        timers.advance(PACE_S)
        await scenario.settled()
        assert scenario.received(scenario.ben_socket) == expected
    await scenario.live.broadcast(position_event("AT_10"), latest_of="ana")
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["AT_10"]


@pytest.mark.parametrize(
    ("event", "trip", "later_s", "hides"),
    [
        ("LOCATION_SHARING_CHANGED", TRIP, 1, {"isSharingEnabled": False}),
        ("LOCATION_SHARING_CHANGED", TRIP, 0, {"isSharingEnabled": False}),
        ("location_privacy.changed", None, 1, {}),
    ],
)
async def test_a_delayed_position_is_dropped_once_its_owner_hides(
    event: str, trip: TripId | None, later_s: int, hides: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, timers = await delayed_position(monkeypatch)
    scenario.live.outdated_by(hiding(event, trip, later_s, ANA, **hides))
    timers.advance(PACE_S)
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == []


@pytest.mark.parametrize(
    ("event", "trip", "later_s", "owner", "payload_fields"),
    [
        ("LOCATION_SHARING_CHANGED", TRIP, 1, ANA, {"isSharingEnabled": True}),
        ("LOCATION_SHARING_CHANGED", OTHER, 1, ANA, {"isSharingEnabled": False}),
        ("LOCATION_SHARING_CHANGED", TRIP, 1, BEN, {"isSharingEnabled": False}),
        ("LOCATION_SHARING_CHANGED", TRIP, -1, ANA, {"isSharingEnabled": False}),
        ("location_privacy.changed", None, -1, ANA, {}),
        ("MEETING_POINT_CHANGED", TRIP, 1, ANA, {}),
    ],
)
async def test_a_delayed_position_is_sent_after_other_changes(
    event: str,
    trip: TripId,
    later_s: int,
    owner: UserId,
    payload_fields: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario, timers = await delayed_position(monkeypatch)
    scenario.live.outdated_by(hiding(event, trip, later_s, owner, **payload_fields))
    timers.advance(PACE_S)
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["LOCATION_UPDATED"]


async def test_a_position_is_dropped_if_its_owner_hides_during_the_query() -> None:
    scenario = Scenario()
    scenario.roster.open.clear()
    await scenario.live.broadcast(position_event())
    await scenario.settled()
    await scenario.live.broadcast(position_event())
    scenario.live.outdated_by(hiding("LOCATION_SHARING_CHANGED", TRIP, 0, ANA, isSharingEnabled=False))
    scenario.roster.open.set()
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == []


async def test_after_hiding_only_a_newer_position_is_broadcast() -> None:
    scenario = Scenario()
    scenario.live.outdated_by(hiding("location_privacy.changed", None, 1, ANA))
    await scenario.live.broadcast(position_event())
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == []
    await scenario.live.broadcast(
        replace(position_event(), occurred_at=position_event().occurred_at + timedelta(seconds=2))
    )
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["LOCATION_UPDATED"]


async def test_the_record_of_hiding_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, timers = Scenario(), Timers(monkeypatch)
    scenario.live.outdated_by(hiding("LOCATION_SHARING_CHANGED", TRIP, 1, ANA, isSharingEnabled=False))
    timers.advance(ON_ITS_WAY_S / 2)
    scenario.live.outdated_by(hiding("LOCATION_SHARING_CHANGED", TRIP, 2, ANA, isSharingEnabled=False))
    timers.advance(ON_ITS_WAY_S / 2)
    await scenario.live.broadcast(position_event())
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == []
    timers.advance(ON_ITS_WAY_S / 2)
    await scenario.live.broadcast(position_event())
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["LOCATION_UPDATED"]


async def delayed_position(monkeypatch: pytest.MonkeyPatch) -> tuple[Scenario, Timers]:
    """One position of ana's was broadcast, and a second one is delayed."""
    scenario, timers = Scenario(), Timers(monkeypatch)
    for _ in range(2):
        await scenario.live.broadcast(position_event(), latest_of="ana")
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["LOCATION_UPDATED"]
    return scenario, timers


def hiding(type_: str, trip_id: TripId | None, later_s: int, owner: UserId, **payload_fields: bool) -> Event:
    payload = json.dumps({"userId": str(owner)} | payload_fields)
    at = position_event().occurred_at + timedelta(seconds=later_s)
    return an_event(type=type_, trip_id=trip_id, payload=payload, occurred_at=at)


async def test_an_event_after_a_delayed_one_waits_a_full_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, timers = Scenario(), Timers(monkeypatch)
    await scenario.live.broadcast(position_event("AT_0"), latest_of="ana")
    await scenario.live.broadcast(position_event("AT_1"), latest_of="ana")
    timers.advance(PACE_S)
    await scenario.live.broadcast(position_event("AT_2"), latest_of="ana")
    timers.advance(PACE_S / 2)
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["AT_0", "AT_1"]
    timers.advance(PACE_S / 2)
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["AT_2"]


async def test_an_outage_loses_the_events_of_its_query_only(caplog: pytest.LogCaptureFixture) -> None:
    scenario = Scenario()
    scenario.roster.failure = Unavailable()
    with caplog.at_level(logging.WARNING):
        await scenario.live.broadcast(position_event("LOST"))
        await scenario.settled()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    scenario.roster.failure = None
    await scenario.live.broadcast(position_event("SENT"))
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["SENT"]


async def test_a_bug_is_logged_and_the_next_event_is_broadcast(caplog: pytest.LogCaptureFixture) -> None:
    scenario = Scenario()
    scenario.roster.failure = ValueError("a slip")
    with caplog.at_level(logging.WARNING):
        await scenario.live.broadcast(position_event())
        await scenario.settled()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    scenario.roster.failure = None
    await scenario.live.broadcast(position_event("SENT"))
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["SENT"]


async def test_without_sockets_no_query_is_made() -> None:
    scenario = Scenario()
    assert scenario.live.has_listeners()
    scenario.hub.remove(scenario.ana_socket.socket)
    scenario.hub.remove(scenario.ben_socket.socket)
    assert not scenario.live.has_listeners()
    await scenario.live.broadcast(position_event())
    await scenario.settled()
    assert scenario.roster.queries == []


async def test_waiting_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_WAITING", 3)
    scenario = Scenario()
    scenario.roster.open.clear()
    await scenario.live.broadcast(position_event("FIRST"))
    await scenario.settled()
    for number in range(10):
        await scenario.live.broadcast(position_event(f"EVENT_{number}"))
    scenario.roster.open.set()
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["FIRST", "EVENT_0", "EVENT_1", "EVENT_2"]


async def test_receivers_of_a_position_are_passed_to_the_recorder_of_views() -> None:
    scenario = Scenario()
    shown: list[tuple[TripId, UserId, set[UserId]]] = []
    scenario.hub.on_shown = lambda trip_id, owner, viewers: shown.append((trip_id, owner, set(viewers)))
    await scenario.hub.mute(scenario.ana_socket.socket.id, TRIP)
    await scenario.live.broadcast(position_event("CHAT_TYPING_STATUS"))
    await scenario.live.broadcast(position_event())
    await scenario.settled()
    assert scenario.received(scenario.ben_socket) == ["CHAT_TYPING_STATUS", "LOCATION_UPDATED"]
    assert shown == [(TRIP, ANA, {BEN})]


async def test_addressed_users_get_the_event_on_muted_trips_too_and_others_do_not() -> None:
    scenario = Scenario()
    assert await scenario.hub.mute(scenario.ben_socket.socket.id, TRIP)
    await scenario.live.send_to(position_event("TOAST"), [BEN])
    await scenario.settled()
    assert (scenario.received(scenario.ana_socket), scenario.received(scenario.ben_socket)) == ([], ["TOAST"])
    assert scenario.roster.queries == [set()]
