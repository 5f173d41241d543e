"""The socket as the shipped app needs it: the checklist of the realtime contract, over real connections."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nomadcrew.adapters.jwt.tokens import JwtTokens
from nomadcrew.adapters.machine.keys import open_keys
from nomadcrew.core.auth.model import ACCESS_LIFETIME
from nomadcrew.core.clock import utc_now
from nomadcrew.core.ids import SessionId, UserId, uuid7
from nomadcrew.hosts.machine.ports import DEFAULT_ISSUER
from tests.e2e.client import Api, Person, Socket, TokenBy, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.server import Server
from tests.world import account_of

OWN_TOKENS = "makes tokens with the server's own key"
MAX_FRAME = 32_768
TODO = {"id", "tripId", "text", "status", "createdBy", "createdAt", "updatedAt"}
TRIP = {"id", "name", "description", "startDate", "endDate", "status", "createdBy", "createdAt", "updatedAt",
        "destinationName", "destinationAddress", "destinationLatitude", "destinationLongitude"}  # fmt: skip
# What the client needs of each payload, and what the monolith's had.
PAYLOADS = {
    "TRIP_CREATED": TRIP | {"event_id", "tripName"},
    "TRIP_UPDATED": TRIP | {"event_id"},
    "TRIP_STATUS_UPDATED": {"event_id", "old_status", "new_status", "status"},
    "TRIP_DELETED": {"event_id"},
    "TRIP_INVITATION_CREATED": {"event_id", "invitation_id", "role"},
    "MEMBER_ADDED": {"userId", "role"},
    "MEMBER_ROLE_UPDATED": {"userId", "role", "previousRole", "old_role", "new_role"},
    "MEMBER_REMOVED": {"userId"},
    "TODO_CREATED": TODO,
    "TODO_UPDATED": TODO,
    "TODO_DELETED": {"id"},
    "notification.created": {"id", "message", "read", "createdAt", "type", "metadata"},
}
# Metadata without which the client shows a notification as unknown, or crashes on its card.
METADATA = {
    "TRIP_INVITATION_RECEIVED": {"invitationID", "tripID", "tripName", "inviterName", "inviterID"},
    "MEMBER_ADDED": {"tripID", "tripName", "addedUserID", "addedUserName", "adderUserID", "adderUserName"},
    "TRIP_MEMBER_JOINED": {"tripID", "tripName", "addedUserID", "addedUserName", "adderUserID", "adderUserName"},
    "TRIP_UPDATED": {"tripID", "tripName", "updaterName", "changedFields"},
}


async def token_expiring(server: Server, person: Person, in_s: float) -> str:
    """A token of the server's own that was made long ago."""
    signing = open_keys(server.home / "keys").signing
    tokens = JwtTokens(signing, ["not used here"], issuer=DEFAULT_ISSUER)
    made_at = utc_now() - ACCESS_LIFETIME + timedelta(seconds=in_s)
    account = account_of(UserId(UUID(person.id)), person.username, is_admin=False)
    return await tokens.issue(account, SessionId(uuid7()), now=made_at)


async def refusal(sockets: str, token: str, by: TokenBy = TokenBy.QUERY) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        await Socket(sockets, token).connect(by)
    response = refused.value.response
    assert response.body is not None
    return response.status_code, json.loads(response.body)


async def everything_that_happens_on_a_trip(ana: Person, ben: Person, cleo: Person) -> str:
    """Something of every type of event, ending with the trip's deletion."""
    trip_id = await ana.new_trip()
    todo = await ana.new_todo(trip_id, "boots")
    await ana.ask("PUT", f"/v1/trips/{trip_id}/todos/{todo['id']}", {"status": "COMPLETE"})
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/todos/{todo['id']}")
    await ana.bring(trip_id, ben)
    await ana.ask("POST", f"/v1/trips/{trip_id}/members", {"userId": cleo.id, "role": "MEMBER"})
    await ana.ask("PUT", f"/v1/trips/{trip_id}/members/{ben.id}/role", {"role": "ADMIN"})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    await ana.ask("PATCH", f"/v1/trips/{trip_id}/status", {"status": "ACTIVE"})
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}")
    await ana.ask("DELETE", f"/v1/trips/{trip_id}")
    return trip_id


def nulls(value: Any, at: str = "payload") -> Iterator[str]:
    """Where in a JSON value null stands."""
    if value is None:
        yield at
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nulls(item, f"{at}.{key}")


@pytest.mark.parametrize("by", list(TokenBy), ids=lambda by: by.value)
async def test_a_token_is_taken_from(register: Register, connect: Connect, by: TokenBy) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    socket = await connect(ana, by=by)
    [greeting] = [frame for frame in socket.frames if frame["type"] == "connected"]
    assert greeting == {
        "type": "connected",
        "payload": {"userId": ana.id, "tripCount": 1, "trips": [trip_id]},
    }
    echoed = {TokenBy.QUERY: None, TokenBy.SUBPROTOCOL: ana.token, TokenBy.PAIR: "nomadcrew.v1"}
    assert socket.subprotocol == echoed[by]


@pytest.mark.parametrize("by", list(TokenBy), ids=lambda by: by.value)
async def test_a_bad_token_is_refused_before_the_upgrade(api: Api, by: TokenBy) -> None:
    status, body = await refusal(api.sockets, "not.a.token", by)
    assert status == 401
    assert "not.a.token" not in json.dumps(body)


async def test_no_token_is_refused_before_the_upgrade(api: Api) -> None:
    assert (await refusal(api.sockets, ""))[0] == 401


@pytest.mark.one_machine("API Gateway answers an upgrade it refuses with a body of its own")
@pytest.mark.parametrize(("token", "code"), [("", "token_missing"), ("not.a.token", "auth_failed")])
async def test_a_refused_upgrade_is_answered_with_the_error_body(api: Api, token: str, code: str) -> None:
    _, body = await refusal(api.sockets, token)
    assert {"error", "message", "code", "type"} <= body.keys()
    assert body["code"] == code


@pytest.mark.one_machine("API Gateway answers an upgrade it refuses with headers of its own")
async def test_a_refused_upgrade_has_the_headers_that_every_reply_has(api: Api) -> None:
    plain = await api.send("GET", "/v1/trips", headers={"x-request-id": "why-not"})
    address = f"{api.sockets}?token=not.a.token"
    with pytest.raises(InvalidStatus) as refused:
        await websocket(address, additional_headers={"x-request-id": "why-not"}, proxy=None)
    headers = refused.value.response.headers
    assert headers["x-request-id"] == plain.headers["x-request-id"] == "why-not"
    for name in ("x-frame-options", "x-content-type-options", "x-xss-protection", "referrer-policy"):
        assert headers[name] == plain.headers[name]


async def test_every_event_has_a_strict_envelope_and_what_the_client_reads(
    register: Register, connect: Connect
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    live = await connect(ana)
    trip_id = await everything_that_happens_on_a_trip(ana, ben, cleo)
    await live.until(lambda: {event["type"] for event in live.events} >= PAYLOADS.keys())

    seen = {event["type"]: event for event in live.events}
    assert seen.keys() == PAYLOADS.keys()
    for event in live.events:
        UUID(event["id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["timestamp"])
        assert (event["tripId"], event["version"]) == (trip_id, 1)
        assert event["metadata"]["source"]
        missing = PAYLOADS[event["type"]] - event["payload"].keys()
        assert not missing, (event["type"], missing)
        assert not list(nulls(event["payload"])), event
    assert len({event["id"] for event in live.events}) == len(live.events)
    assert seen["TRIP_UPDATED"]["payload"]["startDate"].endswith("Z")
    assert seen["MEMBER_REMOVED"]["userId"] == seen["MEMBER_REMOVED"]["payload"]["userId"] == ben.id
    assert "@" not in json.dumps(seen["TRIP_INVITATION_CREATED"])


async def test_notifications_reach_every_socket_with_what_the_clients_cards_read(
    register: Register, connect: Connect
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    sockets = [await connect(ben), await connect(ben)]
    trip_id = await ana.new_trip()
    invitation = await ana.invite(trip_id, ben.email)
    for socket in sockets:
        await socket.event("notification.created", type="TRIP_INVITATION_RECEIVED")
    await ben.ask("POST", f"/v1/invitations/{invitation['id']}/accept")
    await ana.bring(trip_id, cleo)
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"description": "by boat"})

    for socket in sockets:
        for type_ in ("TRIP_INVITATION_RECEIVED", "TRIP_MEMBER_JOINED", "TRIP_UPDATED"):
            event = await socket.event("notification.created", type=type_)
            assert (event["userId"], event["metadata"]["source"]) == (ben.id, "NotificationService")
            notification = event["payload"]
            assert METADATA[type_] <= notification["metadata"].keys()
            assert notification["read"] is False
            assert notification["createdAt"].endswith("Z")
    stored = await ben.ask("GET", "/v1/notifications")
    live = {e["payload"]["id"]: e["payload"] for e in sockets[0].events if e["type"] == "notification.created"}
    assert {n["id"]: n for n in stored} == live


async def test_a_removed_member_is_told_and_gets_nothing_of_the_trip_after(
    register: Register, connect: Connect
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.bring(trip_id, ben)
    hers, his = await connect(ana), await connect(ben)
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}")
    await ana.new_todo(trip_id, "secret")
    await hers.event("TODO_CREATED", trip_id, text="secret")
    await his.event("MEMBER_REMOVED", trip_id, userId=ben.id)
    await his.caught_up()

    types = [event["type"] for event in his.events]
    after = types[types.index("MEMBER_REMOVED") + 1 :]
    assert set(after) <= {"notification.created"}
    assert {event["type"] for event in await ben.events()} <= {"MEMBER_REMOVED", "notification.created"}


async def test_ping_is_answered(register: Register, connect: Connect) -> None:
    socket = await connect(await register("ana"))
    assert await socket.answer({"type": "ping"}) == {"type": "pong"}


async def test_unsubscribing_mutes_a_trip_on_one_socket_until_it_subscribes_again(
    register: Register, connect: Connect
) -> None:
    ana = await register("ana")
    trip_id, other_id = await ana.new_trip(), await ana.new_trip()
    muted, other = await connect(ana), await connect(ana)
    about = {"payload": {"tripId": trip_id}}
    assert await muted.answer({"type": "unsubscribe"} | about) == {"type": "unsubscribed"} | about

    await ana.new_todo(trip_id, "unheard")
    await ana.new_todo(other_id, "heard")
    await other.event("TODO_CREATED", trip_id, text="unheard")
    await muted.event("TODO_CREATED", other_id, text="heard")
    assert trip_id not in [event["tripId"] for event in muted.events if event["type"] == "TODO_CREATED"]

    assert await muted.answer({"type": "subscribe"} | about) == {"type": "subscribed"} | about
    await ana.new_todo(trip_id, "heard again")
    await muted.event("TODO_CREATED", trip_id, text="heard again")


async def test_notifications_come_through_on_a_socket_that_mutes_their_trip(
    register: Register, connect: Connect
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.bring(trip_id, ben)
    socket = await connect(ben)
    await socket.answer({"type": "unsubscribe", "payload": {"tripId": trip_id}})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"description": "by boat"})
    await socket.event("notification.created", trip_id, type="TRIP_UPDATED")
    assert "TRIP_UPDATED" not in [event["type"] for event in socket.events]


async def test_subscriptions_are_answered_truthfully(register: Register, connect: Connect) -> None:
    ana, eve = await register("ana"), await register("eve")
    trip_id = await ana.new_trip()
    hers, strangers = await connect(ana), await connect(eve)
    about = {"payload": {"tripId": trip_id}}
    for type_, answer in (("subscribe", "subscribed"), ("subscribe", "subscribed"),
                          ("unsubscribe", "unsubscribed"), ("unsubscribe", "error")):  # fmt: skip
        assert (await hers.answer({"type": type_} | about))["type"] == answer
    for type_ in ("subscribe", "unsubscribe"):
        for payload in (about, {}, {"payload": {"tripId": 7}}, {"payload": {"tripId": "7"}}):
            refused = await strangers.answer({"type": type_} | payload)
            assert refused["type"] == "error"
            assert refused["error"]


async def test_frames_nobody_knows_are_ignored(register: Register, connect: Connect) -> None:
    ana = await register("ana")
    socket = await connect(ana)
    for text in (
        '{"type":"TYPE_OF_TOMORROW"}',
        '{"type":7}',
        '{"action":"dance"}',
        "{}",
        "[]",
        '"text"',
        "7",
        "null",
    ):
        await socket.send_text(text)
    await socket.caught_up()
    assert [frame["type"] for frame in socket.frames] == ["connected", "error"]


@pytest.mark.one_machine("API Gateway lets nobody choose how a socket is closed; garbage gets an error frame there")
@pytest.mark.parametrize("text", ["{", "", "no json", '{"type": "ping"', b"\xff\xfe", "[" * 30_000])
async def test_garbage_closes_its_socket_and_no_other(
    register: Register, connect: Connect, text: str | bytes
) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    broken, whole = await connect(ana), await connect(ana)
    await broken.send_text(text)
    assert await broken.closed() == 1007
    await ana.new_todo(trip_id, "boots")
    await whole.event("TODO_CREATED", trip_id, text="boots")


async def test_a_frame_of_just_the_limit_is_read(register: Register, connect: Connect) -> None:
    socket = await connect(await register("ana"))
    frame = '{"type":"ping","pad":"' + "x" * MAX_FRAME
    await socket.send_text(frame[: MAX_FRAME - 2] + '"}')
    await socket.until(lambda: {"type": "pong"} in socket.frames)


@pytest.mark.one_machine("the limit is API Gateway's own, which the emulator does not have")
@pytest.mark.parametrize("size", [MAX_FRAME + 1, 200_000, 2_000_000])
async def test_a_frame_beyond_the_limit_closes_its_socket_and_no_other(
    register: Register, connect: Connect, size: int
) -> None:
    ana = await register("ana")
    large, whole = await connect(ana), await connect(ana)
    with suppress(ConnectionClosed):  # which may come before the frame's end
        await large.send_text("x" * size)
    assert await large.closed() == 1009
    await whole.caught_up()


@pytest.mark.one_machine("counts this machine's sockets")
async def test_clients_that_vanish_leave_nothing_behind(server: Server, register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    sockets = [await ana.connect() for _ in range(20)]
    for number, socket in enumerate(sockets):
        await ana.new_todo(trip_id, f"told to {number}")
        socket.vanish()

    async def forgotten() -> bool:
        return "\nnomadcrew_sockets 0.0\n" in (await ana.api.send("GET", "/metrics")).text

    await eventually(forgotten)
    for socket in sockets:
        assert await socket.closed() == 1006
    assert server.errors == []
