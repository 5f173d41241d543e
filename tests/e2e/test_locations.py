"""Positions over real connections: phones report, co-members see, and privacy is respected."""

import asyncio
import time
from typing import Any

import pytest

from tests.e2e.client import Socket, User, eventually
from tests.e2e.conftest import Connect, Register

PORTO, PORTO_ROUNDED = (41.149_61, -8.610_99), (41.15, -8.61)
FAR = (40.2, -8.4)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def trip_of_two(register: Register) -> tuple[User, User, str]:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    return ana, ben, trip_id


async def report(user: User, trip_id: str, at: tuple[float, float] = PORTO, **fields: Any) -> dict[str, Any]:
    body = {"latitude": at[0], "longitude": at[1], "accuracy": 5, "timestamp": now_ms(), **fields}
    stored: dict[str, Any] = await user.ask("POST", f"/v1/trips/{trip_id}/locations", body, status=201)
    return stored


async def position_of(by: User, of: User, trip_id: str) -> tuple[float, float] | None:
    page = await by.ask("GET", f"/v1/trips/{trip_id}/locations")
    positions = [(row["latitude"], row["longitude"]) for row in page["locations"] if row["user_id"] == of.id]
    return positions[0] if positions else None


async def track(by: User, of: User, trip_id: str) -> list[tuple[float, float]]:
    found = await by.ask("GET", f"/v1/trips/{trip_id}/locations/track?user={of.id}")
    return [(point["latitude"], point["longitude"]) for point in found["points"]]


async def position_event(socket: Socket, of: User, position: tuple[float, float]) -> dict[str, Any]:
    """The event that broadcasts a user's position to a socket."""

    def event() -> dict[str, Any] | None:
        for found in socket.events:
            if found["type"] == "LOCATION_UPDATED" and found["payload"]["userId"] == of.id:
                at = found["payload"]["location"]
                if (at["latitude"], at["longitude"]) == position:
                    return found
        return None

    found = await socket.until(event)
    assert found is not None
    return found


async def test_a_position_is_readable_at_once_and_broadcast(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket, ana_socket = await connect(ben), await connect(ana)
    await report(ana, trip_id, timestamp=(reported_ms := now_ms()))
    assert await position_of(ben, ana, trip_id) == PORTO
    for socket in (ben_socket, ana_socket):
        payload = (await position_event(socket, ana, PORTO))["payload"]
        assert payload["name"]
        assert payload["location"] == {
            "latitude": PORTO[0], "longitude": PORTO[1], "timestamp": reported_ms, "accuracy": 5
        }  # fmt: skip


async def test_the_last_of_many_positions_is_always_broadcast(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket = await connect(ben)
    last = FAR
    for step in range(5):
        last = (round(41.1 + step / 1000, 4), -8.6)
        await report(ana, trip_id, last)
    await position_event(ben_socket, ana, last)


@pytest.mark.one_machine("on AWS no position is delayed: the stream checks privacy when it broadcasts")
@pytest.mark.parametrize("how", ["ghost", "sharing off", "hidden", "approximate", "left"])
async def test_a_delayed_position_is_dropped_once_its_owner_hides(
    register: Register, connect: Connect, how: str
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket = await connect(ana)
    await report(ben, trip_id)
    await report(ben, trip_id, (PORTO[0] + 0.0001, PORTO[1]))
    profile, sharing = f"/v1/users/{ben.id}", "/v1/location/preferences"
    method, path, body = {
        "ghost": ("PUT", f"{profile}/preferences", {"ghostMode": True}),
        "sharing off": ("PUT", sharing, {"tripId": trip_id, "isSharingEnabled": False}),
        "hidden": ("PUT", sharing, {"tripId": trip_id, "privacy": "hidden"}),
        "approximate": ("PUT", profile, {"locationPrivacyPreference": "approximate"}),
        "left": ("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}", None),
    }[how]
    await ben.ask(method, path, body)
    await asyncio.sleep(1.5)
    payloads = [event["payload"] for event in ben_socket.events if event["type"] == "LOCATION_UPDATED"]
    assert [one["location"]["latitude"] for one in payloads] == [PORTO[0]]


async def test_an_approximate_position_is_broadcast_and_read_rounded(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket = await connect(ben)
    await report(ana, trip_id, privacy="approximate", speed=2.0, heading=10.0)
    payload = (await position_event(ben_socket, ana, PORTO_ROUNDED))["payload"]
    assert set(payload["location"]) == {"latitude", "longitude", "timestamp"}
    assert await position_of(ben, ana, trip_id) == PORTO_ROUNDED
    assert await position_of(ana, ana, trip_id) == PORTO


async def test_ghost_mode_hides_at_once_and_its_positions_stay_hidden(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket = await connect(ben)
    await report(ana, trip_id, (41.101, -8.6))
    await position_event(ben_socket, ana, (41.101, -8.6))
    await ana.ask("PUT", f"/v1/users/{ana.id}/preferences", {"ghostMode": True})
    assert await position_of(ben, ana, trip_id) is None
    await report(ana, trip_id, (41.102, -8.6))
    await ana.ask("PUT", f"/v1/users/{ana.id}/preferences", {"ghostMode": False})
    assert await position_of(ben, ana, trip_id) is None
    await report(ana, trip_id, (41.103, -8.6))
    await position_event(ben_socket, ana, (41.103, -8.6))
    await eventually(lambda: _is(track(ben, ana, trip_id), [(41.101, -8.6), (41.103, -8.6)]))
    changed = await ben_socket.until(lambda: _changes(ben_socket) if len(_changes(ben_socket)) >= 3 else None)
    # A gateway may deliver them in any order.
    assert sorted(changed or []) == [False, True, True]


async def test_late_positions_are_sorted_into_the_history(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    now = now_ms()
    positions = [
        {"latitude": 41.1 + minute / 1000, "longitude": -8.6, "timestamp": now - minute * 1000}
        for minute in (3, 0, 2, 1)
    ]
    reply = await ana.ask("POST", f"/v1/trips/{trip_id}/locations:batch", {"locations": positions}, status=200)
    assert [one["status"] for one in reply["results"]] == ["accepted"] * 4
    assert await position_of(ben, ana, trip_id) == (41.1, -8.6)
    await eventually(
        lambda: _is(track(ana, ana, trip_id), [(41.1 + n / 1000, -8.6) for n in (3, 2, 1, 0)]),
    )


async def test_a_socket_reports_positions(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket, ana_socket = await connect(ben), await connect(ana)
    await ana_socket.send(
        {"action": "updateLocation", "tripId": trip_id, "latitude": PORTO[0], "longitude": PORTO[1]}
    )
    await position_event(ben_socket, ana, PORTO)
    assert await position_of(ben, ana, trip_id) == PORTO
    answer = await ana_socket.until(lambda: _first(ana_socket, "locationUpdated"))
    assert answer is not None
    assert answer["payload"]["privacy"] == "precise"
    await ana_socket.send({"action": "updateLocation", "tripId": trip_id, "latitude": 95, "longitude": 0})
    assert await ana_socket.until(lambda: _first(ana_socket, "error"))


async def test_an_arrival_is_recorded_once(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    await ben.ask(
        "PUT", f"/v1/trips/{trip_id}/meeting-point", {"latitude": FAR[0], "longitude": FAR[1], "name": "bridge"}
    )
    for _ in range(3):
        await report(ana, trip_id, FAR)

    async def arrivals() -> list[dict[str, Any]]:
        return [event for event in await ben.events() if event["type"] == "MEMBER_ARRIVED"]

    await eventually(arrivals)
    assert [event["payload"]["place"] for event in await arrivals()] == ["meeting point"]


async def test_a_member_who_leaves_is_hidden_and_sees_nothing(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    ben_socket, ana_socket = await connect(ben), await connect(ana)
    await report(ben, trip_id)
    assert await position_of(ana, ben, trip_id) == PORTO
    await ben.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}", status=204)
    assert await position_of(ana, ben, trip_id) is None
    assert (await ben.send("GET", f"/v1/trips/{trip_id}/locations")).status_code == 403
    await report(ana, trip_id, FAR)
    await position_event(ana_socket, ana, FAR)
    payloads = [event for event in ben_socket.events if event["type"] == "LOCATION_UPDATED"]
    assert [event["payload"]["userId"] for event in payloads] in ([], [ben.id])


async def test_a_member_sees_the_viewers_of_the_own_position(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    await report(ana, trip_id)
    await position_of(ben, ana, trip_id)
    found = await ana.ask("GET", f"/v1/trips/{trip_id}/locations/views")
    assert [view["userId"] for view in found["views"]] == [ben.id]
    assert (await ben.ask("GET", f"/v1/trips/{trip_id}/locations/views"))["views"] == []


async def test_live_viewers_are_listed_without_members_who_received_nothing(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    eve = await register("eve")
    await ana.add_member(trip_id, eve)
    ana_socket, ben_socket, eve_socket = await connect(ana), await connect(ben), await connect(eve)
    assert (await eve_socket.answer({"type": "unsubscribe", "payload": {"tripId": trip_id}}))[
        "type"
    ] == "unsubscribed"
    await report(ana, trip_id, privacy="hidden")
    await report(ana, trip_id, privacy="approximate", timestamp=now_ms() + 1000)
    for socket in (ana_socket, ben_socket):
        await position_event(socket, ana, PORTO_ROUNDED)

    async def viewers() -> list[str]:
        found = await ana.ask("GET", f"/v1/trips/{trip_id}/locations/views")
        return [view["userId"] for view in found["views"]]

    assert set(await eventually(viewers)) == {ben.id}


async def test_the_suggested_meeting_point_lies_between_the_members(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    await report(ana, trip_id, (41.10, -8.60))
    await report(ben, trip_id, (41.20, -8.60))
    found = await ben.ask("GET", f"/v1/trips/{trip_id}/meeting-point/suggest")
    assert 41.1 <= found["latitude"] <= 41.2
    assert {one["userId"] for one in found["members"]} == {ana.id, ben.id}


async def test_sharing_with_an_expiry_ends_by_itself(register: Register) -> None:
    ana, ben, trip_id = await trip_of_two(register)
    await report(ana, trip_id, sharingExpiresIn=2)
    assert await position_of(ben, ana, trip_id) == PORTO

    async def hidden() -> bool:
        return await position_of(ben, ana, trip_id) is None

    await eventually(hidden)
    assert (await report(ana, trip_id))["privacy_level"] == "hidden"


def _changes(socket: Socket) -> list[bool]:
    return [
        event["payload"]["isSharingEnabled"]
        for event in socket.events
        if event["type"] == "LOCATION_SHARING_CHANGED"
    ]


def _first(socket: Socket, type_: str) -> dict[str, Any] | None:
    return next((frame for frame in socket.frames if frame["type"] == type_), None)


async def _is(asked: Any, expected: object) -> bool:
    return bool(await asked == expected)
