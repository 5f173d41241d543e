"""Where the crew is, over real connections: phones report, others see, and nobody sees more than they may."""

import asyncio
import time
from typing import Any

import pytest

from tests.e2e.client import Person, Socket, eventually
from tests.e2e.conftest import Connect, Register

HERE, ROUGHLY = (41.149_61, -8.610_99), (41.15, -8.61)
FAR = (40.2, -8.4)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def pair(register: Register) -> tuple[Person, Person, str]:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.bring(trip_id, ben)
    return ana, ben, trip_id


async def report(person: Person, trip_id: str, at: tuple[float, float] = HERE, **fields: Any) -> dict[str, Any]:
    body = {"latitude": at[0], "longitude": at[1], "accuracy": 5, "timestamp": now_ms(), **fields}
    stored: dict[str, Any] = await person.ask("POST", f"/v1/trips/{trip_id}/locations", body, status=201)
    return stored


async def seen(by: Person, of: Person, trip_id: str) -> tuple[float, float] | None:
    page = await by.ask("GET", f"/v1/trips/{trip_id}/locations")
    places = [(row["latitude"], row["longitude"]) for row in page["locations"] if row["user_id"] == of.id]
    return places[0] if places else None


async def track(by: Person, of: Person, trip_id: str) -> list[tuple[float, float]]:
    found = await by.ask("GET", f"/v1/trips/{trip_id}/locations/track?user={of.id}")
    return [(point["latitude"], point["longitude"]) for point in found["points"]]


async def heard_at(socket: Socket, of: Person, place: tuple[float, float]) -> dict[str, Any]:
    """The event that tells a socket that somebody is at a place."""

    def event() -> dict[str, Any] | None:
        for found in socket.events:
            if found["type"] == "LOCATION_UPDATED" and found["payload"]["userId"] == of.id:
                at = found["payload"]["location"]
                if (at["latitude"], at["longitude"]) == place:
                    return found
        return None

    found = await socket.until(event)
    assert found is not None
    return found


async def test_a_position_is_seen_at_once_and_heard_live(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await pair(register)
    listening, own = await connect(ben), await connect(ana)
    await report(ana, trip_id, timestamp=(taken := now_ms()))
    assert await seen(ben, ana, trip_id) == HERE
    for socket in (listening, own):
        payload = (await heard_at(socket, ana, HERE))["payload"]
        assert payload["name"]
        assert payload["location"] == {
            "latitude": HERE[0], "longitude": HERE[1], "timestamp": taken, "accuracy": 5
        }  # fmt: skip


async def test_the_last_of_many_positions_is_always_heard(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await pair(register)
    listening = await connect(ben)
    last = FAR
    for step in range(5):
        last = (round(41.1 + step / 1000, 4), -8.6)
        await report(ana, trip_id, last)
    await heard_at(listening, ana, last)


@pytest.mark.one_machine("elsewhere nothing is held back: a stream looks at privacy when it tells")
@pytest.mark.parametrize("how", ["ghost", "sharing off", "hidden", "approximate", "gone"])
async def test_what_is_held_back_for_a_second_is_not_heard_once_its_owner_hides(
    register: Register, connect: Connect, how: str
) -> None:
    ana, ben, trip_id = await pair(register)
    listening = await connect(ana)
    await report(ben, trip_id)
    await report(ben, trip_id, (HERE[0] + 0.0001, HERE[1]))
    profile, sharing = f"/v1/users/{ben.id}", "/v1/location/preferences"
    method, path, body = {
        "ghost": ("PUT", f"{profile}/preferences", {"ghostMode": True}),
        "sharing off": ("PUT", sharing, {"tripId": trip_id, "isSharingEnabled": False}),
        "hidden": ("PUT", sharing, {"tripId": trip_id, "privacy": "hidden"}),
        "approximate": ("PUT", profile, {"locationPrivacyPreference": "approximate"}),
        "gone": ("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}", None),
    }[how]
    await ben.ask(method, path, body)
    await asyncio.sleep(1.5)
    heard = [event["payload"] for event in listening.events if event["type"] == "LOCATION_UPDATED"]
    assert [one["location"]["latitude"] for one in heard] == [HERE[0]]


async def test_what_is_approximate_is_heard_and_seen_so(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await pair(register)
    listening = await connect(ben)
    await report(ana, trip_id, privacy="approximate", speed=2.0, heading=10.0)
    payload = (await heard_at(listening, ana, ROUGHLY))["payload"]
    assert set(payload["location"]) == {"latitude", "longitude", "timestamp"}
    assert await seen(ben, ana, trip_id) == ROUGHLY
    assert await seen(ana, ana, trip_id) == HERE


async def test_ghost_mode_hides_at_once_and_what_was_hidden_stays_so(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await pair(register)
    listening = await connect(ben)
    await report(ana, trip_id, (41.101, -8.6))
    await heard_at(listening, ana, (41.101, -8.6))
    await ana.ask("PUT", f"/v1/users/{ana.id}/preferences", {"ghostMode": True})
    assert await seen(ben, ana, trip_id) is None
    await report(ana, trip_id, (41.102, -8.6))
    await ana.ask("PUT", f"/v1/users/{ana.id}/preferences", {"ghostMode": False})
    assert await seen(ben, ana, trip_id) is None
    await report(ana, trip_id, (41.103, -8.6))
    await heard_at(listening, ana, (41.103, -8.6))
    await eventually(lambda: _is(track(ben, ana, trip_id), [(41.101, -8.6), (41.103, -8.6)]))
    changed = await listening.until(lambda: _changes(listening) if len(_changes(listening)) >= 3 else None)
    # They may come in any order where a gateway delivers them.
    assert sorted(changed or []) == [False, True, True]


async def test_late_points_become_history_in_their_order(register: Register) -> None:
    ana, ben, trip_id = await pair(register)
    now = now_ms()
    fixes = [
        {"latitude": 41.1 + minute / 1000, "longitude": -8.6, "timestamp": now - minute * 1000}
        for minute in (3, 0, 2, 1)
    ]
    reply = await ana.ask("POST", f"/v1/trips/{trip_id}/locations:batch", {"locations": fixes}, status=200)
    assert [one["status"] for one in reply["results"]] == ["accepted"] * 4
    assert await seen(ben, ana, trip_id) == (41.1, -8.6)
    await eventually(
        lambda: _is(track(ana, ana, trip_id), [(41.1 + n / 1000, -8.6) for n in (3, 2, 1, 0)]),
    )


async def test_a_socket_reports_positions(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await pair(register)
    listening, phone = await connect(ben), await connect(ana)
    await phone.send({"action": "updateLocation", "tripId": trip_id, "latitude": HERE[0], "longitude": HERE[1]})
    await heard_at(listening, ana, HERE)
    assert await seen(ben, ana, trip_id) == HERE
    answer = await phone.until(lambda: _first(phone, "locationUpdated"))
    assert answer is not None
    assert answer["payload"]["privacy"] == "precise"
    await phone.send({"action": "updateLocation", "tripId": trip_id, "latitude": 95, "longitude": 0})
    assert await phone.until(lambda: _first(phone, "error"))


async def test_an_arrival_is_recorded_once(register: Register) -> None:
    ana, ben, trip_id = await pair(register)
    await ben.ask(
        "PUT", f"/v1/trips/{trip_id}/meeting-point", {"latitude": FAR[0], "longitude": FAR[1], "name": "bridge"}
    )
    for _ in range(3):
        await report(ana, trip_id, FAR)

    async def arrivals() -> list[dict[str, Any]]:
        return [event for event in await ben.events() if event["type"] == "MEMBER_ARRIVED"]

    await eventually(arrivals)
    assert [event["payload"]["place"] for event in await arrivals()] == ["meeting point"]


async def test_whoever_leaves_is_seen_no_more_and_sees_nothing(register: Register, connect: Connect) -> None:
    ana, ben, trip_id = await pair(register)
    gone, own = await connect(ben), await connect(ana)
    await report(ben, trip_id)
    assert await seen(ana, ben, trip_id) == HERE
    await ben.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}", status=204)
    assert await seen(ana, ben, trip_id) is None
    assert (await ben.send("GET", f"/v1/trips/{trip_id}/locations")).status_code == 403
    await report(ana, trip_id, FAR)
    await heard_at(own, ana, FAR)
    heard = [event for event in gone.events if event["type"] == "LOCATION_UPDATED"]
    assert [event["payload"]["userId"] for event in heard] in ([], [ben.id])


async def test_everybody_sees_who_looked(register: Register) -> None:
    ana, ben, trip_id = await pair(register)
    await report(ana, trip_id)
    await seen(ben, ana, trip_id)
    found = await ana.ask("GET", f"/v1/trips/{trip_id}/locations/views")
    assert [view["userId"] for view in found["views"]] == [ben.id]
    assert (await ben.ask("GET", f"/v1/trips/{trip_id}/locations/views"))["views"] == []


async def test_everybody_sees_who_heard_them_live_and_not_who_was_told_nothing(
    register: Register, connect: Connect
) -> None:
    ana, ben, trip_id = await pair(register)
    eve = await register("eve")
    await ana.bring(trip_id, eve)
    own, his, hers = await connect(ana), await connect(ben), await connect(eve)
    assert (await hers.answer({"type": "unsubscribe", "payload": {"tripId": trip_id}}))["type"] == "unsubscribed"
    await report(ana, trip_id, privacy="hidden")
    await report(ana, trip_id, privacy="approximate", timestamp=now_ms() + 1000)
    for socket in (own, his):
        await heard_at(socket, ana, ROUGHLY)

    async def viewers() -> list[str]:
        found = await ana.ask("GET", f"/v1/trips/{trip_id}/locations/views")
        return [view["userId"] for view in found["views"]]

    assert set(await eventually(viewers)) == {ben.id}


async def test_the_crew_finds_a_fair_place_to_meet(register: Register) -> None:
    ana, ben, trip_id = await pair(register)
    await report(ana, trip_id, (41.10, -8.60))
    await report(ben, trip_id, (41.20, -8.60))
    found = await ben.ask("GET", f"/v1/trips/{trip_id}/meeting-point/suggest")
    assert 41.1 <= found["latitude"] <= 41.2
    assert {one["userId"] for one in found["members"]} == {ana.id, ben.id}


async def test_sharing_for_a_moment_ends_by_itself(register: Register) -> None:
    ana, ben, trip_id = await pair(register)
    await report(ana, trip_id, sharingExpiresIn=2)
    assert await seen(ben, ana, trip_id) == HERE

    async def hidden() -> bool:
        return await seen(ben, ana, trip_id) is None

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
