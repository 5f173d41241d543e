"""`GET /v1/sync` and versions, as a client sees them on both hosts."""

from typing import Any

from tests.e2e.client import User, eventually
from tests.e2e.conftest import Connect, Register


async def synchronised(user: User, cursor: str = "") -> tuple[list[dict[str, Any]], str]:
    """All changes since a cursor, and the next one."""
    changes: list[dict[str, Any]] = []
    while True:
        page = await user.ask("GET", "/v1/sync?limit=100" + (f"&since={cursor}" if cursor else ""))
        changes += page["changes"]
        cursor = page["cursor"]
        if not page["hasMore"]:
            return changes, cursor


async def test_a_copy_gets_what_changed_since_its_cursor(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    socket = await connect(ben)
    [greeting] = [frame for frame in socket.frames if frame["type"] == "connected"]
    todo = await ana.new_todo(trip_id, "pack")
    message = await ana.ask("POST", f"/v1/trips/{trip_id}/chat/messages", {"message": "train at nine"})

    async def both() -> dict[str, Any] | None:
        # On AWS a message follows once the stream of the chat's table is read.
        changes, _ = await synchronised(ben, greeting["payload"]["cursor"])
        data = {change["id"]: change["data"] for change in changes if change["kind"] in ("todo", "message")}
        return data if {todo["id"], message["id"]} <= data.keys() else None

    data = await eventually(both)
    assert data is not None
    assert data[todo["id"]] == await ben.ask("GET", f"/v1/trips/{trip_id}/todos/{todo['id']}")
    history = await ben.ask("GET", f"/v1/trips/{trip_id}/chat/messages")
    assert [data[message["id"]]] == history["messages"]


async def test_a_member_who_was_removed_drops_the_trip(register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    changes, cursor = await synchronised(ben)
    assert {("trip", trip_id), ("profile", ben.id)} <= {(change["kind"], change["id"]) for change in changes}
    await ana.send("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}")
    changes, _ = await synchronised(ben, cursor)
    assert [change for change in changes if change["kind"] == "trip"] == [
        {"kind": "trip", "id": trip_id, "tripId": trip_id, "deleted": True}
    ]


async def test_a_write_that_is_based_on_an_old_version_is_refused(register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    todo = await ana.new_todo(trip_id, "pack")
    path = f"/v1/trips/{trip_id}/todos/{todo['id']}"
    tag = {"If-Match": (await ana.send("GET", path)).headers["etag"]}
    assert (await ana.send("PUT", path, {"text": "one"}, **tag)).status_code == 200
    assert (await ana.send("PUT", path, {"status": "COMPLETE"}, **tag)).status_code == 200
    refused = await ana.send("PUT", path, {"text": "two"}, **tag)
    assert (refused.status_code, refused.json()["code"]) == (409, "version_conflict")
    assert (refused.json()["current"]["text"], refused.json()["sent"]) == ("one", {"text": "two"})


async def test_a_screen_has_the_lists_of_a_trip(register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    await ana.new_todo(trip_id, "pack")
    screen = await ana.ask("GET", f"/v1/trips/{trip_id}/screen")
    for part, path in (("trip", ""), ("members", "/members"), ("todos", "/todos"), ("messages", "/chat/messages")):
        assert screen[part] == await ana.ask("GET", f"/v1/trips/{trip_id}{path}")
