"""`GET /v1/events`: the events that a client missed."""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from nomadcrew.core.clock import utc_now
from nomadcrew.core.ids import derived_id, uuid7
from tests.e2e.client import Api, eventually
from tests.e2e.conftest import Connect, Register


async def test_an_offline_client_gets_exactly_the_missed_events(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    await ana.new_todo(trip_id, "seen")
    last_seen = (await ben_socket.event("TODO_CREATED", trip_id, text="seen"))["id"]
    await ana_socket.event("TODO_CREATED", trip_id, text="seen")
    await ben_socket.close()

    missed = [(await ana.new_todo(trip_id, f"missed {number}"))["id"] for number in range(7)]
    # `GET /v1/events` is ordered; on AWS sockets may receive another order.
    live = [await ana_socket.event("TODO_CREATED", trip_id, id=id_) for id_ in missed]
    for limit in (1, 3, 7, 200):
        events = [e for e in await ben.events(last_seen, limit=limit) if e["type"] == "TODO_CREATED"]
        assert events == live, limit
    assert await ben.events(live[-1]["id"]) == []


async def test_a_member_gets_no_events_from_before_the_membership(register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.new_todo(trip_id, "before")
    await ana.add_member(trip_id, ben)
    await ana.new_todo(trip_id, "after")

    async def complete() -> list[dict[str, Any]]:
        events = [event for event in await ben.events() if event["type"] != "notification.created"]
        return events if events and events[-1]["type"] == "TODO_CREATED" else []

    events = await eventually(complete)
    assert [event["type"] for event in events] == ["MEMBER_ADDED", "TODO_CREATED"]
    assert events[1]["payload"]["text"] == "after"


@pytest.mark.parametrize(("age", "status", "code"), [
    (timedelta(days=8), 410, "cursor_expired"),
    (timedelta(days=6), 400, "invalid_cursor"),
])  # fmt: skip
async def test_an_unknown_cursor_is_expired_if_old_and_invalid_if_recent(
    api: Api, register: Register, age: timedelta, status: int, code: str
) -> None:
    made_ms = int((utc_now() - age).timestamp() * 1000)
    cursor = UUID(int=made_ms << 80 | 7 << 76 | 2 << 62 | random.getrandbits(62))
    reply = await (await register("ana")).send("GET", f"/v1/events?after={cursor}")
    assert (reply.status_code, reply.json()["code"]) == (status, code)


async def test_an_unknown_cursor_without_a_time_is_expired(register: Register) -> None:
    """Ids of events about notifications are hashes without a time; a client may have stopped at one."""
    cursor = derived_id(uuid7(), "event")
    reply = await (await register("ana")).send("GET", f"/v1/events?after={cursor}")
    assert (reply.status_code, reply.json()["code"]) == (410, "cursor_expired")


@pytest.mark.parametrize("cursor", ["7", str(uuid4())], ids=["a number", "a random id"])
async def test_a_cursor_that_is_not_an_event_id_is_refused(register: Register, cursor: str) -> None:
    reply = await (await register("ana")).send("GET", f"/v1/events?after={cursor}")
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_cursor")
