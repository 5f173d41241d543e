"""The socket as the shipped app needs it, over real connections; `test_compatibility.py` has the checklist."""

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
from tests.e2e.client import Api, Socket, TokenBy, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.server import Server
from tests.world import account_of

OWN_TOKENS = "signs tokens with the server's key"
MAX_FRAME = 32_768
TODO = {"id", "tripId", "text", "status", "createdBy", "createdAt", "updatedAt"}
TRIP = {"id", "name", "description", "startDate", "endDate", "status", "createdBy", "createdAt", "updatedAt",
        "destinationName", "destinationAddress", "destinationLatitude", "destinationLongitude"}  # fmt: skip
# Fields that the client reads in each payload, and those of the monolith.
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
    "POLL_CREATED": {"pollId", "tripId", "question"},
    "POLL_UPDATED": {"pollId", "tripId", "question"},
    "POLL_VOTE_CAST": {"pollId", "tripId", "optionId", "userId"},
    "POLL_VOTE_REMOVED": {"pollId", "tripId", "optionId", "userId"},
    "POLL_CLOSED": {"pollId", "tripId", "closedBy"},
    "POLL_DELETED": {"pollId", "tripId"},
    "notification.created": {"id", "message", "read", "createdAt", "type", "metadata"},
}
# Without this metadata the client shows a notification as unknown, or crashes.
METADATA = {
    "TRIP_INVITATION_RECEIVED": {"invitationID", "tripID", "tripName", "inviterName", "inviterID"},
    "MEMBER_ADDED": {"tripID", "tripName", "addedUserID", "addedUserName", "adderUserID", "adderUserName"},
    "TRIP_MEMBER_JOINED": {"tripID", "tripName", "addedUserID", "addedUserName", "adderUserID", "adderUserName"},
    "TRIP_UPDATED": {"tripID", "tripName", "updaterName", "changedFields"},
}


async def token_expiring(server: Server, user: User, in_s: float) -> str:
    """An access token of the server that expires in `in_s` seconds."""
    signing = open_keys(server.home / "keys").signing
    tokens = JwtTokens(signing, ["not used here"], issuer=DEFAULT_ISSUER)
    made_at = utc_now() - ACCESS_LIFETIME + timedelta(seconds=in_s)
    account = account_of(UserId(UUID(user.id)), user.username, is_admin=False)
    return await tokens.issue(account, SessionId(uuid7()), now=made_at)


async def refusal(sockets: str, token: str, by: TokenBy = TokenBy.QUERY) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        await Socket(sockets, token).connect(by)
    response = refused.value.response
    assert response.body is not None
    return response.status_code, json.loads(response.body)


async def cause_every_event(ana: User, ben: User, cleo: User) -> str:
    """Cause an event of every type; the last deletes the trip."""
    trip_id = await ana.new_trip()
    todo = await ana.new_todo(trip_id, "boots")
    await ana.ask("PUT", f"/v1/trips/{trip_id}/todos/{todo['id']}", {"status": "COMPLETE"})
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/todos/{todo['id']}")
    await _cause_every_poll_event(ana, trip_id)
    await ana.add_member(trip_id, ben)
    await ana.add_member(trip_id, cleo)
    await ana.ask("PUT", f"/v1/trips/{trip_id}/members/{ben.id}/role", {"role": "ADMIN"})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    await ana.ask("PATCH", f"/v1/trips/{trip_id}/status", {"status": "ACTIVE"})
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}")
    await ana.ask("DELETE", f"/v1/trips/{trip_id}")
    return trip_id


async def _cause_every_poll_event(ana: User, trip_id: str) -> None:
    poll = await ana.new_poll(trip_id)
    path, option = f"/v1/trips/{trip_id}/polls/{poll['id']}", poll["options"][0]["id"]
    await ana.ask("PUT", path, {"question": "How do we go?"})
    await ana.ask("POST", f"{path}/vote", {"optionId": option})
    await ana.ask("DELETE", f"{path}/vote/{option}")
    await ana.ask("POST", f"{path}/vote", {"optionId": option})
    await ana.ask("POST", f"{path}/close")
    await ana.ask("DELETE", path)


def nulls(value: Any, at: str = "payload") -> Iterator[str]:
    """The paths of null in a JSON value."""
    if value is None:
        yield at
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nulls(item, f"{at}.{key}")


@pytest.mark.parametrize("by", list(TokenBy), ids=lambda by: by.value)
async def test_a_socket_accepts_a_token_by(register: Register, connect: Connect, by: TokenBy) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    socket = await connect(ana, by=by)
    [greeting] = [frame for frame in socket.frames if frame["type"] == "connected"]
    assert greeting["payload"].pop("cursor")
    assert greeting == {
        "type": "connected",
        "payload": {"userId": ana.id, "tripCount": 1, "trips": [trip_id]},
    }
    echoed = {TokenBy.QUERY: None, TokenBy.SUBPROTOCOL: ana.token, TokenBy.PAIR: "nomadcrew.v1"}
    assert socket.subprotocol == echoed[by]


@pytest.mark.parametrize("by", list(TokenBy), ids=lambda by: by.value)
async def test_an_invalid_token_is_refused_before_the_upgrade(api: Api, by: TokenBy) -> None:
    status, body = await refusal(api.sockets, "not.a.token", by)
    assert status == 401
    assert "not.a.token" not in json.dumps(body)


async def test_a_missing_token_is_refused_before_the_upgrade(api: Api) -> None:
    assert (await refusal(api.sockets, ""))[0] == 401


@pytest.mark.one_machine("API Gateway refuses an upgrade with its own body")
@pytest.mark.parametrize(("token", "code"), [("", "token_missing"), ("not.a.token", "auth_failed")])
async def test_a_refused_upgrade_has_the_error_body(api: Api, token: str, code: str) -> None:
    _, body = await refusal(api.sockets, token)
    assert {"error", "message", "code", "type"} <= body.keys()
    assert body["code"] == code


@pytest.mark.one_machine("API Gateway refuses an upgrade with its own headers")
async def test_a_refused_upgrade_has_the_headers_of_every_reply(api: Api) -> None:
    plain = await api.send("GET", "/v1/trips", headers={"x-request-id": "why-not"})
    address = f"{api.sockets}?token=not.a.token"
    with pytest.raises(InvalidStatus) as refused:
        await websocket(address, additional_headers={"x-request-id": "why-not"}, proxy=None)
    headers = refused.value.response.headers
    assert headers["x-request-id"] == plain.headers["x-request-id"] == "why-not"
    for name in ("x-frame-options", "x-content-type-options", "x-xss-protection", "referrer-policy"):
        assert headers[name] == plain.headers[name]


@pytest.mark.contract(
    "rest-core.create-trip.client-event",
    "rest-core.change-trip.client-event",
    "rest-core.status.fix-event",
    "rest-core.remove-member.client-event",
    "rest-core.events",
    "rest-core.events.fix-address",
    "rest-core.envelope",
    "rest-activity.todos.events",
    "rest-activity.polls.events",
)
async def test_every_event_has_a_strict_envelope_and_the_fields_that_the_client_reads(
    register: Register, connect: Connect
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    live = await connect(ana)
    trip_id = await cause_every_event(ana, ben, cleo)
    await live.until(lambda: {event["type"] for event in live.events} >= PAYLOADS.keys())

    # Members come online at a time of their own.
    events = [event for event in live.events if event["type"] != "PRESENCE_CHANGED"]
    seen = {event["type"]: event for event in events}
    assert seen.keys() == PAYLOADS.keys()
    for event in events:
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


@pytest.mark.contract(
    "rest-activity.notifications.fields",
    "rest-activity.notifications.client-metadata",
    "rest-activity.notifications.fix-sockets",
)
async def test_notifications_reach_every_socket_with_the_metadata_that_the_client_reads(
    register: Register, connect: Connect
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    sockets = [await connect(ben), await connect(ben)]
    trip_id = await ana.new_trip()
    invitation = await ana.invite(trip_id, ben.email)
    for socket in sockets:
        await socket.event("notification.created", type="TRIP_INVITATION_RECEIVED")
    await ben.ask("POST", f"/v1/invitations/{invitation['id']}/accept")
    await ana.add_member(trip_id, cleo)
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
    # The answered invitation is on the list no more.
    assert {n["id"]: n for n in stored} == {
        id_: n for id_, n in live.items() if n["type"] != "TRIP_INVITATION_RECEIVED"
    }


async def test_a_removed_member_gets_member_removed_and_no_later_event_of_the_trip(
    register: Register, connect: Connect
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    ana_socket, ben_socket = await connect(ana), await connect(ben)
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}")
    await ana.new_todo(trip_id, "secret")
    await ana_socket.event("TODO_CREATED", trip_id, text="secret")
    await ben_socket.event("MEMBER_REMOVED", trip_id, userId=ben.id)
    await ben_socket.catch_up()

    types = [event["type"] for event in ben_socket.events]
    after = types[types.index("MEMBER_REMOVED") + 1 :]
    assert set(after) <= {"notification.created"}
    assert {event["type"] for event in await ben.events()} <= {"MEMBER_REMOVED", "notification.created"}


async def test_ping_gets_pong(register: Register, connect: Connect) -> None:
    socket = await connect(await register("ana"))
    assert await socket.answer({"type": "ping"}) == {"type": "pong"}


async def test_unsubscribe_mutes_a_trip_on_one_socket_until_subscribe(register: Register, connect: Connect) -> None:
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


async def test_a_socket_that_mutes_a_trip_still_gets_its_notifications(
    register: Register, connect: Connect
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    socket = await connect(ben)
    await socket.answer({"type": "unsubscribe", "payload": {"tripId": trip_id}})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"description": "by boat"})
    await socket.event("notification.created", trip_id, type="TRIP_UPDATED")
    assert "TRIP_UPDATED" not in [event["type"] for event in socket.events]


async def test_subscribe_and_unsubscribe_report_success_and_errors(register: Register, connect: Connect) -> None:
    ana, eve = await register("ana"), await register("eve")
    trip_id = await ana.new_trip()
    ana_socket, eve_socket = await connect(ana), await connect(eve)
    about = {"payload": {"tripId": trip_id}}
    for type_, answer in (("subscribe", "subscribed"), ("subscribe", "subscribed"),
                          ("unsubscribe", "unsubscribed"), ("unsubscribe", "error")):  # fmt: skip
        assert (await ana_socket.answer({"type": type_} | about))["type"] == answer
    for type_ in ("subscribe", "unsubscribe"):
        for payload in (about, {}, {"payload": {"tripId": 7}}, {"payload": {"tripId": "7"}}):
            refused = await eve_socket.answer({"type": type_} | payload)
            assert refused["type"] == "error"
            assert refused["error"]


async def test_unknown_frames_are_ignored(register: Register, connect: Connect) -> None:
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
    await socket.catch_up()
    assert [frame["type"] for frame in socket.frames] == ["connected", "error"]


@pytest.mark.one_machine("API Gateway offers no choice of close codes; invalid JSON gets an error frame there")
@pytest.mark.parametrize("text", ["{", "", "no json", '{"type": "ping"', b"\xff\xfe", "[" * 30_000])
async def test_invalid_json_closes_its_socket_and_no_other(
    register: Register, connect: Connect, text: str | bytes
) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    broken, intact = await connect(ana), await connect(ana)
    await broken.send_text(text)
    assert await broken.closed() == 1007
    await ana.new_todo(trip_id, "boots")
    await intact.event("TODO_CREATED", trip_id, text="boots")


async def test_a_frame_of_exactly_the_limit_is_read(register: Register, connect: Connect) -> None:
    socket = await connect(await register("ana"))
    frame = '{"type":"ping","pad":"' + "x" * MAX_FRAME
    await socket.send_text(frame[: MAX_FRAME - 2] + '"}')
    await socket.until(lambda: {"type": "pong"} in socket.frames)


@pytest.mark.one_machine("API Gateway enforces this limit, and the emulator does not")
@pytest.mark.parametrize("size", [MAX_FRAME + 1, 200_000, 2_000_000])
async def test_a_frame_beyond_the_limit_closes_its_socket_and_no_other(
    register: Register, connect: Connect, size: int
) -> None:
    ana = await register("ana")
    large, intact = await connect(ana), await connect(ana)
    with suppress(ConnectionClosed):  # may come before the end of the frame
        await large.send_text("x" * size)
    assert await large.closed() == 1009
    await intact.catch_up()


@pytest.mark.one_machine("counts this machine's sockets")
async def test_dead_connections_are_dropped(server: Server, register: Register) -> None:
    ana = await register("ana")
    trip_id = await ana.new_trip()
    sockets = [await ana.connect() for _ in range(20)]
    for number, socket in enumerate(sockets):
        await ana.new_todo(trip_id, f"sent to {number}")
        socket.drop_network()

    async def dropped() -> bool:
        return "\nnomadcrew_sockets 0.0\n" in (await ana.api.send("GET", "/metrics")).text

    await eventually(dropped)
    for socket in sockets:
        assert await socket.closed() == 1006
    assert server.errors == []
