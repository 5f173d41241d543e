"""Who is online, as co-members see it over the public API."""

import pytest

from tests.e2e.client import Api, Person, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.server import Server


async def crew(register: Register) -> tuple[str, Person, Person]:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.bring(trip_id, ben)
    return trip_id, ana, ben


async def presence(person: Person, trip_id: str) -> dict[str, dict[str, object]]:
    return {one["userId"]: one for one in await person.ask("GET", f"/v1/trips/{trip_id}/presence")}


async def test_co_members_are_told_who_comes_and_goes(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await crew(register)
    hers = await connect(ana)
    assert (await presence(ana, trip_id))[ben.id] == {"userId": ben.id, "isOnline": False}
    his = await connect(ben)
    came = await hers.event("PRESENCE_CHANGED", trip_id, userId=ben.id, isOnline=True)
    assert came["userId"] == ben.id
    assert (await presence(ana, trip_id))[ben.id]["isOnline"]
    await his.close()
    gone = await hers.event("PRESENCE_CHANGED", trip_id, userId=ben.id, isOnline=False)
    assert gone["payload"]["lastSeenAt"].endswith(":00Z")
    left = (await presence(ana, trip_id))[ben.id]
    assert (left["isOnline"], left["lastSeenAt"]) == (False, gone["payload"]["lastSeenAt"])


async def test_one_of_two_sockets_makes_no_difference(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await crew(register)
    first, second = await connect(ben), await connect(ben)
    hers = await connect(ana)
    await first.close()
    await hers.event("PRESENCE_CHANGED", trip_id, userId=ana.id, isOnline=True)
    assert (await presence(ana, trip_id))[ben.id]["isOnline"]
    assert second.open


async def test_a_ghost_is_seen_by_nobody(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await crew(register)
    hers = await connect(ana)
    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"ghostMode": True})
    await connect(ben)
    cleo = await register("cleo")
    await ana.bring(trip_id, cleo)
    await connect(cleo)
    # Whoever came after the ghost has been told, so the ghost would have been.
    await hers.event("PRESENCE_CHANGED", trip_id, userId=cleo.id, isOnline=True)
    told = [e["payload"]["userId"] for e in hers.events if e["type"] == "PRESENCE_CHANGED"]
    assert ben.id not in told
    for person in (ana, ben):
        assert (await presence(person, trip_id))[ben.id] == {"userId": ben.id, "isOnline": False}

    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"ghostMode": False})

    async def visible() -> bool:
        return bool((await presence(ana, trip_id))[ben.id]["isOnline"])

    await eventually(visible)


async def test_nobody_sees_a_ghost_typing(register: Register, connect: Connect) -> None:
    trip_id, ana, ben = await crew(register)
    hers, his = await connect(ana), await connect(ben)
    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"ghostMode": True})
    frame = {"type": "TYPING_STATUS", "payload": {"tripId": trip_id, "isTyping": True}}
    await his.send(frame)
    assert (await his.answer({"type": "ping"}))["type"] == "pong"
    await hers.send(frame)
    # What was typed later has been told, so the ghost's would have been.
    await hers.event("CHAT_TYPING_STATUS", trip_id, userId=ana.id)
    assert {e["userId"] for e in hers.events if e["type"] == "CHAT_TYPING_STATUS"} == {ana.id}


async def test_strangers_see_nothing(register: Register) -> None:
    trip_id, _, _ = await crew(register)
    eve = await register("eve")
    reply = await eve.send("GET", f"/v1/trips/{trip_id}/presence")
    assert (reply.status_code, reply.json()["code"]) == (403, "not_trip_member")


@pytest.mark.one_machine("a stopped host is this machine's")
async def test_a_stop_writes_down_who_was_there_until_then() -> None:
    async with Server() as server:
        api = Api(server.url, retries=3)
        ana, ben = await api.register("ana"), await api.register("ben")
        trip_id = await ana.new_trip()
        await ana.bring(trip_id, ben)
        his = await ben.connect()
        assert await server.stop() == 0
        assert await his.closed() == 1012
        await server.start()
        seen = (await presence(ana, trip_id))[ben.id]
        assert (seen["isOnline"], str(seen["lastSeenAt"])[-4:]) == (False, ":00Z")
        assert server.errors == []
        await api.close()
