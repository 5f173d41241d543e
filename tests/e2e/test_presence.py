"""Online state as co-members see it over the public API."""

import pytest

from tests.e2e.client import Api, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.server import Server


async def trip_of_two(register: Register) -> tuple[str, User, User]:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    return trip_id, ana, ben


async def presence(user: User, trip_id: str) -> dict[str, dict[str, object]]:
    return {member["userId"]: member for member in await user.ask("GET", f"/v1/trips/{trip_id}/presence")}


async def test_co_members_see_when_a_user_connects_and_disconnects(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await trip_of_two(register)
    ana_socket = await connect(ana)
    assert (await presence(ana, trip_id))[ben.id] == {"userId": ben.id, "isOnline": False}
    ben_socket = await connect(ben)
    online = await ana_socket.event("PRESENCE_CHANGED", trip_id, userId=ben.id, isOnline=True)
    assert online["userId"] == ben.id
    assert (await presence(ana, trip_id))[ben.id]["isOnline"]
    await ben_socket.close()
    offline = await ana_socket.event("PRESENCE_CHANGED", trip_id, userId=ben.id, isOnline=False)
    assert offline["payload"]["lastSeenAt"].endswith(":00Z")
    after = (await presence(ana, trip_id))[ben.id]
    assert (after["isOnline"], after["lastSeenAt"]) == (False, offline["payload"]["lastSeenAt"])


async def test_a_user_stays_online_until_the_last_socket_closes(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await trip_of_two(register)
    first, second = await connect(ben), await connect(ben)
    ana_socket = await connect(ana)
    await first.close()
    await ana_socket.event("PRESENCE_CHANGED", trip_id, userId=ana.id, isOnline=True)
    assert (await presence(ana, trip_id))[ben.id]["isOnline"]
    assert second.open


async def test_a_ghost_appears_offline_on_every_trip(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await trip_of_two(register)
    ana_socket = await connect(ana)
    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"ghostMode": True})
    await connect(ben)
    cleo = await register("cleo")
    await ana.add_member(trip_id, cleo)
    await connect(cleo)
    # Events are in order: cleo, who connected after the ghost, is online, so the ghost's event would be here.
    await ana_socket.event("PRESENCE_CHANGED", trip_id, userId=cleo.id, isOnline=True)
    changed = [e["payload"]["userId"] for e in ana_socket.events if e["type"] == "PRESENCE_CHANGED"]
    assert ben.id not in changed
    for user in (ana, ben):
        assert (await presence(user, trip_id))[ben.id] == {"userId": ben.id, "isOnline": False}

    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"ghostMode": False})

    async def visible() -> bool:
        return bool((await presence(ana, trip_id))[ben.id]["isOnline"])

    await eventually(visible)


async def test_a_ghosts_typing_is_not_broadcast(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await trip_of_two(register)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"ghostMode": True})
    frame = {"type": "TYPING_STATUS", "payload": {"tripId": trip_id, "isTyping": True}}
    await ben_socket.send(frame)
    assert (await ben_socket.answer({"type": "ping"}))["type"] == "pong"
    await ana_socket.send(frame)
    # Events are in order: the later typing has arrived, so the ghost's would be here.
    await ana_socket.event("CHAT_TYPING_STATUS", trip_id, userId=ana.id)
    assert {e["userId"] for e in ana_socket.events if e["type"] == "CHAT_TYPING_STATUS"} == {ana.id}


async def test_a_non_member_gets_403_for_presence(register: Register) -> None:
    trip_id, _, _ = await trip_of_two(register)
    eve = await register("eve")
    reply = await eve.send("GET", f"/v1/trips/{trip_id}/presence")
    assert (reply.status_code, reply.json()["code"]) == (403, "not_trip_member")


@pytest.mark.one_machine("stops the host")
async def test_a_stop_stores_when_users_were_last_seen() -> None:
    async with Server() as server:
        api = Api(server.url, retries=3)
        ana, ben = await api.register("ana"), await api.register("ben")
        trip_id = await ana.new_trip()
        await ana.add_member(trip_id, ben)
        ben_socket = await ben.connect()
        assert await server.stop() == 0
        assert await ben_socket.closed() == 1012
        await server.start()
        seen = (await presence(ana, trip_id))[ben.id]
        assert (seen["isOnline"], str(seen["lastSeenAt"])[-4:]) == (False, ":00Z")
        assert server.errors == []
        await api.close()
