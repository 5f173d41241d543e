"""What is told live to some people by name, by way of a queue on AWS."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from nomadcrew.adapters.aws.live import QueuedLive
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import REALTIME, Audience
from nomadcrew.core.ids import JobId, TripId, UserId, uuid7
from nomadcrew.core.queues import Job, WorkQueue
from nomadcrew.functions.realtime import tell
from tests.fakes import BEN, NOON, an_event, fake_ports

CLEO = UserId(uuid7())
TOAST = an_event(
    type="notification.created", trip_id=TripId(uuid7()), actor_id=None, audience=Audience.USER, payload='{"é":1}'
)


@dataclass
class Queue:
    """The sending half of a work queue, which can be away."""

    away: bool = False
    sent: list[tuple[str, str]] = field(default_factory=list)

    async def send(self, queue: str, body: str, **_: object) -> None:
        if self.away:
            raise Unavailable
        self.sent.append((queue, body))


@dataclass
class Gateway:
    """`Sockets` that remember."""

    delivered: list[tuple[Any, set[UserId], TripId | None]] = field(default_factory=list)

    async def deliver(
        self, frame: str, user_ids: Iterable[UserId], trip_id: TripId | None, *, now: datetime
    ) -> int:
        self.delivered.append((json.loads(frame), set(user_ids), trip_id))
        return 1


async def test_on_aws_one_message_reaches_them_all_by_way_of_the_queue() -> None:
    queue, gateway = Queue(), Gateway()
    await QueuedLive(cast(WorkQueue, queue)).tell_people(TOAST, [BEN, CLEO])
    [(name, body)] = queue.sent
    assert name == REALTIME
    await tell(Job(JobId(uuid7()), name, body, 1, NOON), fake_ports(sockets=gateway))
    [(frame, people, muted)] = gateway.delivered
    assert (people, muted) == ({BEN, CLEO}, None)
    assert frame["payload"]["id"] == str(TOAST.id)
    assert frame["payload"]["tripId"] == str(TOAST.trip_id)
    assert frame["payload"]["payload"] == {"é": 1}


async def test_what_cannot_be_told_now_is_lost() -> None:
    live = QueuedLive(cast(WorkQueue, Queue(away=True)))
    await live.tell_people(TOAST, [BEN])
    await live.tell(TOAST)
