"""Notifications and their preferences over the public API: lists, sockets and phones."""

from datetime import timedelta
from typing import Any

import pytest

from nomadcrew.core.clock import utc_now
from tests.e2e.client import User
from tests.e2e.conftest import Connect, Register
from tests.e2e.phones import Phones

UPDATED = "TRIP_UPDATED"
DEFAULTS = {
    "push": True, "email": True, "inApp": True, "chat": "all", "tripUpdates": True, "todos": True, "polls": True,
    "locationSharing": True, "arrivals": True, "documents": True, "quietHours": None,
}  # fmt: skip


async def types(user: User) -> list[str]:
    return [item["type"] for item in await user.ask("GET", "/v1/notifications?limit=100")]


@pytest.mark.contract("jobs.push.client-open")
async def test_an_invitation_is_pushed_and_its_data_opens_it(register: Register, phones: Phones) -> None:
    ana, ben = await register("ana"), await register("ben")
    token = await phones.register(ben)
    invitation = await ana.invite(await ana.new_trip(name="Porto"), ben.email)
    pushed = await phones.first(token, "TRIP_INVITATION_RECEIVED")
    assert (pushed["title"], pushed["body"]) == ("Trip invitation", "Ana invited you to Porto")
    assert (pushed["sound"], pushed["priority"]) == ("default", "high")
    [stored] = await ben.ask("GET", "/v1/notifications")
    assert pushed["data"] == stored["metadata"] | {"notificationId": stored["id"], "type": stored["type"]}
    await ben.ask("GET", f"/v1/invitations/{pushed['data']['invitationID']}")
    assert pushed["data"]["invitationID"] == invitation["id"]


async def test_a_phone_gets_pushes_of_the_signed_in_user_only(register: Register, phones: Phones) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    trip_id = await ana.new_trip()
    for guest in (ben, cleo):
        await ana.add_member(trip_id, guest)
    unregistered, reassigned, bens, cleos = [await phones.register(user) for user in (ben, ben, ben, cleo)]
    await ben.ask("DELETE", "/v1/users/push-token", {"token": unregistered}, status=204)
    # The phone belongs to cleo now, although ben never unregistered it.
    body = {"token": reassigned, "deviceType": "android"}
    await cleo.ask("POST", "/v1/users/push-token", body, status=200)
    await cleo.ask("DELETE", "/v1/users/push-token", {"token": reassigned}, status=204)
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    for token in (bens, cleos):
        assert (await phones.first(token, UPDATED))["body"] == "Ana updated Porto, by boat"
    for token in (unregistered, reassigned):
        assert await phones.pushes(token, UPDATED) == []


async def test_a_muted_trip_notifies_that_member_nowhere_and_the_others_as_before(
    register: Register, connect: Connect, phones: Phones
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    trip_id, other = await ana.new_trip(), await ana.new_trip()
    for trip in (trip_id, other):
        for guest in (ben, cleo):
            await ana.add_member(trip, guest)
    bens, cleos = await phones.register(ben), await phones.register(cleo)
    socket = await connect(ben)
    path = f"/v1/trips/{trip_id}/notification-preferences"
    until = (utc_now() + timedelta(days=1)).isoformat()
    muted = await ben.ask("PUT", path, {"mutedUntil": until})
    assert muted == await ben.ask("GET", path)
    assert await cleo.ask("GET", path) == {"mutedUntil": None, "chat": None}
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Silence"})
    assert (await phones.first(cleos, UPDATED))["body"] == "Ana updated Silence"
    await ana.ask("PUT", f"/v1/trips/{other}", {"name": "Noise"})
    await phones.first(bens, UPDATED)
    assert [item["body"] for item in await phones.pushes(bens, UPDATED)] == ["Ana updated Noise"]
    event = await socket.event("notification.created", other, type=UPDATED)
    assert [e["tripId"] for e in socket.events if e["payload"].get("type") == UPDATED] == [event["tripId"]]
    updates: list[Any] = [n for n in await ben.ask("GET", "/v1/notifications") if n["type"] == UPDATED]
    assert [n["metadata"]["tripName"] for n in updates] == ["Noise"]


async def test_quiet_hours_suppress_pushes_only(register: Register, connect: Connect, phones: Phones) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    token, socket = await phones.register(ben), await connect(ben)
    now = utc_now()
    night = {
        "start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=1):%H:%M}", "timeZone": "UTC",
    }  # fmt: skip
    assert await ben.ask("GET", "/v1/notifications/preferences") == DEFAULTS
    saved = await ben.ask("PUT", "/v1/notifications/preferences", {"quietHours": night})
    assert saved == DEFAULTS | {"quietHours": night}
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Night train"})
    await socket.event("notification.created", trip_id, type=UPDATED)
    assert UPDATED in await types(ben)
    await ben.ask("PUT", "/v1/notifications/preferences", {"quietHours": None})
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Day train"})
    await phones.first(token, UPDATED)
    assert [item["body"] for item in await phones.pushes(token, UPDATED)] == ["Ana updated Day train"]


@pytest.mark.contract("rest-activity.notifications.fix-preferences")
async def test_the_switches_of_the_shipped_app_are_honoured(register: Register, phones: Phones) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    trip_id = await ana.new_trip()
    for guest in (ben, cleo):
        await ana.add_member(trip_id, guest)
    bens, cleos = await phones.register(ben), await phones.register(cleo)
    switches = {"push": True, "email": True, "tripUpdates": False, "chatMessages": True}
    await ben.ask("PUT", f"/v1/users/{ben.id}/preferences", {"notifications": switches})
    assert (await ben.ask("GET", "/v1/notifications/preferences"))["tripUpdates"] is False
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    await phones.first(cleos, UPDATED)
    assert UPDATED not in await types(ben)
    assert await phones.pushes(bens, UPDATED) == []


async def test_the_author_of_a_to_do_is_notified_when_another_member_completes_it(
    register: Register, phones: Phones
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip(name="Porto")
    await ana.add_member(trip_id, ben)
    token = await phones.register(ben)
    todo = await ben.new_todo(trip_id, "boots")
    await ana.ask("PUT", f"/v1/trips/{trip_id}/todos/{todo['id']}", {"status": "COMPLETE"})
    pushed = await phones.first(token, "TODO_COMPLETED")
    assert (pushed["title"], pushed["body"]) == ("Task completed", "Ana completed boots")
    assert "TODO_COMPLETED" in await types(ben)
    assert "TODO_COMPLETED" not in await types(ana)


async def test_a_message_is_shown_and_pushed_and_not_listed(
    register: Register, connect: Connect, phones: Phones
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    trip_id = await ana.new_trip()
    for guest in (ben, cleo):
        await ana.add_member(trip_id, guest)
    anas, bens, cleos = [await phones.register(user) for user in (ana, ben, cleo)]
    await cleo.ask("PUT", f"/v1/trips/{trip_id}/notification-preferences", {"chat": "mentions"})
    sockets = [await connect(ben) for _ in range(2)]
    path = f"/v1/trips/{trip_id}/chat/messages"
    first = await ana.ask("POST", path, {"message": "train at nine"}, status=201)
    toasts = [
        (await socket.event("notification.created", trip_id, type="CHAT_MESSAGE"))["payload"] for socket in sockets
    ]
    for socket in sockets:
        socket.drop_network()  # the app went to sleep
    pushed = await phones.first(bens, "CHAT_MESSAGE")
    assert (pushed["title"], pushed["body"]) == ("Ana", "train at nine")
    for toast in toasts:
        assert toast["metadata"] == {
            "chatID": trip_id, "messageID": first["id"], "senderName": "Ana",
            "messagePreview": "train at nine",
        }  # fmt: skip
        assert pushed["data"] == toast["metadata"] | {"notificationId": toast["id"], "type": "CHAT_MESSAGE"}
    await ana.ask("POST", path, {"message": f"and you, @{cleo.username}?"}, status=201)
    assert (await phones.first(cleos, "CHAT_MESSAGE"))["body"].startswith("and you, @")
    assert len(await phones.pushes(cleos, "CHAT_MESSAGE")) == 1
    assert await phones.pushes(anas, "CHAT_MESSAGE") == []
    assert "CHAT_MESSAGE" not in await types(ben)
    unread = await ben.ask("GET", "/v1/notifications?status=unread")
    assert await ben.ask("GET", "/v1/notifications/unread-count") == {"count": len(unread)}


async def test_a_message_is_not_pushed_to_members_who_have_read_it(register: Register, phones: Phones) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    trip_id = await ana.new_trip()
    for guest in (ben, cleo):
        await ana.add_member(trip_id, guest)
    bens, cleos = await phones.register(ben), await phones.register(cleo)
    path = f"/v1/trips/{trip_id}/chat/messages"
    message = await ana.ask("POST", path, {"message": "train at nine"}, status=201)
    await ben.ask("POST", f"{path}/read", {"message_id": message["id"]})
    await phones.first(cleos, "CHAT_MESSAGE")
    assert await phones.pushes(bens, "CHAT_MESSAGE") == []


@pytest.mark.one_machine("API Gateway passes no ping to a device, so that only receipts tell that an app is awake")
async def test_a_message_is_not_pushed_to_members_whose_app_is_awake(
    register: Register, connect: Connect, phones: Phones
) -> None:
    ana, ben, cleo = await register("ana"), await register("ben"), await register("cleo")
    trip_id = await ana.new_trip()
    for guest in (ben, cleo):
        await ana.add_member(trip_id, guest)
    bens, cleos = await phones.register(ben), await phones.register(cleo)
    live, muted = await connect(ben), await connect(cleo)
    await muted.answer({"type": "unsubscribe", "payload": {"tripId": trip_id}})
    await ana.ask("POST", f"/v1/trips/{trip_id}/chat/messages", {"message": "train at nine"}, status=201)
    await live.event("CHAT_MESSAGE_SENT", trip_id)
    await phones.first(cleos, "CHAT_MESSAGE")
    assert await phones.pushes(bens, "CHAT_MESSAGE") == []
