"""Broadcasts to addressed users through a queue on AWS."""

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from nomadcrew.adapters.aws.broadcaster import QueuedBroadcaster
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import REALTIME, Audience
from nomadcrew.core.ids import JobId, TripId, UserId, uuid7
from nomadcrew.core.queues import Job, WorkQueue
from nomadcrew.hosts.aws.functions.realtime import LIVE_FOR, consume_task
from nomadcrew.wire.events import pack
from tests.fakes import ANA, BEN, NOON, an_event, fake_ports

CLEO = UserId(uuid7())
TOAST = an_event(
    type="notification.created", trip_id=TripId(uuid7()), actor_id=None, audience=Audience.USER, payload='{"é":1}'
)


@dataclass
class RecordingQueue:
    """The sending half of a work queue; `away` simulates an outage."""

    away: bool = False
    sent: list[tuple[str, str]] = field(default_factory=list)

    async def send(self, queue: str, body: str, **_: object) -> None:
        if self.away:
            raise Unavailable
        self.sent.append((queue, body))


@dataclass
class RecordingSockets:
    """`Sockets` that records deliveries."""

    delivered: list[tuple[Any, set[UserId], TripId | None]] = field(default_factory=list)

    async def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, *, now: datetime
    ) -> Sequence[UserId]:
        self.delivered.append((json.loads(frame), set(user_ids), trip_id))
        return [BEN, BEN, CLEO]


class Members:
    """The part of `EventLog` that knows the members of trips."""

    async def recipients(self, trip_ids: Iterable[TripId]) -> Mapping[TripId, Sequence[UserId]]:
        return {trip_id: [ANA, BEN, CLEO] for trip_id in trip_ids}


@dataclass
class RecordingViews:
    """`PositionViews` that records views; `away` simulates an outage."""

    away: bool = False
    noted: list[tuple[TripId, set[UserId], list[UserId], datetime]] = field(default_factory=list)

    async def record(
        self, trip_id: TripId, viewers: Collection[UserId], owners: Collection[UserId], *, now: datetime
    ) -> None:
        if self.away:
            raise Unavailable
        self.noted.append((trip_id, set(viewers), list(owners), now))


async def test_one_queued_message_reaches_all_addressed_users() -> None:
    queue, sockets = RecordingQueue(), RecordingSockets()
    await QueuedBroadcaster(cast(WorkQueue, queue)).send_to(TOAST, [BEN, CLEO])
    [(name, body)] = queue.sent
    assert name == REALTIME
    await consume_task(Job(JobId(uuid7()), name, body, 1, NOON), fake_ports(socket_delivery=sockets))
    [(frame, user_ids, muted)] = sockets.delivered
    assert (user_ids, muted) == ({BEN, CLEO}, None)
    assert frame["payload"]["id"] == str(TOAST.id)
    assert frame["payload"]["tripId"] == str(TOAST.trip_id)
    assert frame["payload"]["payload"] == {"é": 1}


async def test_a_broadcast_that_cannot_be_queued_is_lost() -> None:
    live = QueuedBroadcaster(cast(WorkQueue, RecordingQueue(away=True)))
    await live.send_to(TOAST, [BEN])
    await live.broadcast(TOAST)


@pytest.mark.parametrize("type_", ["LOCATION_UPDATED", "CHAT_TYPING_STATUS"])
async def test_receivers_of_a_position_are_recorded_as_viewers(type_: str) -> None:
    views, event = RecordingViews(), an_event(type=type_, trip_id=TripId(uuid7()))
    ports = fake_ports(socket_delivery=RecordingSockets(), events=Members(), position_views=views)
    await consume_task(Job(JobId(uuid7()), REALTIME, pack(event), 1, NOON), ports)
    expected = [(event.trip_id, {BEN, CLEO}, [ANA], NOON)] if type_ == "LOCATION_UPDATED" else []
    assert views.noted == expected


@pytest.mark.parametrize("type_", ["LOCATION_UPDATED", "CHAT_TYPING_STATUS"])
async def test_an_unstored_event_is_not_broadcast_late(type_: str) -> None:
    sockets, views = RecordingSockets(), RecordingViews()
    ports = fake_ports(socket_delivery=sockets, events=Members(), position_views=views)
    for late, kept in ((timedelta(), False), (LIVE_FOR + timedelta(seconds=1), False), (timedelta(hours=1), True)):
        event = an_event(type=type_, trip_id=TripId(uuid7()), occurred_at=NOON - late, kept=kept)
        await consume_task(Job(JobId(uuid7()), REALTIME, pack(event), 3, NOON), ports)
    assert len(sockets.delivered) == 2
    assert [frame["payload"].get("kept", True) for frame, _, _ in sockets.delivered] == [False, True]


async def test_an_outage_of_view_records_does_not_repeat_the_broadcast(caplog: pytest.LogCaptureFixture) -> None:
    event, sockets = an_event(type="LOCATION_UPDATED", trip_id=TripId(uuid7())), RecordingSockets()
    ports = fake_ports(socket_delivery=sockets, events=Members(), position_views=RecordingViews(away=True))
    with caplog.at_level(logging.WARNING):
        await consume_task(Job(JobId(uuid7()), REALTIME, pack(event), 1, NOON), ports)
    assert len(sockets.delivered) == 1
    assert [record.message for record in caplog.records] == ["Views not recorded"]
