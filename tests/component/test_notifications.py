"""Notifications from the event to list, sockets and phones: real handlers and database, a fake push service."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import NOTIFICATIONS, PUSH, Event
from nomadcrew.core.ids import TripId
from nomadcrew.core.notifications.delivery import deliver, fitted
from nomadcrew.core.notifications.push import CHAT_HOLD_S, RECEIPTS_AFTER_S, PushMessage, PushRefused, PushTask
from nomadcrew.core.queues import Job
from nomadcrew.core.todos.service import remind
from nomadcrew.wire.events import pack
from nomadcrew.wire.push_jobs import NotAPushJob, push_job_in
from tests.expo import GONE, TOO_FAST, Expo, expo, failed
from tests.fakes import an_event
from tests.postgres import Postgres
from tests.world import User, World, world


@pytest.fixture
def service() -> Iterator[Expo]:
    with expo() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def here(postgres: Postgres, template: str, tmp_path: Path, service: Expo) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off", "NOMADCREW_EXPO_URL": service.url}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


async def phone(here: World, whose: User, token: str) -> None:
    body = {"token": token, "deviceType": "android"}
    reply = await here.call("POST", "/v1/users/push-token", by=whose, body=body)
    assert reply.status == 200, reply.body


async def prefer(here: World, who: User, **wanted: object) -> Any:
    reply = await here.call("PUT", "/v1/notifications/preferences", by=who, body=wanted)
    assert reply.status == 200, reply.body
    return reply.json


async def listed(here: World, whose: User) -> list[Any]:
    found: list[Any] = (await here.call("GET", "/v1/notifications", by=whose)).json
    return found


async def jobs(here: World, queue: str) -> list[Job]:
    return list(await here.ports.queue.receive(queue, limit=100, visibility_s=60))


async def waiting(here: World, queue: str) -> int:
    """The number of jobs in a queue, in any state."""
    found = [depth for depth in await here.ports.queue.depths() if depth.queue == queue]
    return sum(depth.waiting + depth.in_flight + depth.dead for depth in found)


async def work_off(here: World, *queues: str) -> None:
    """Run the due jobs of these queues."""
    for queue in queues:
        for job in await jobs(here, queue):
            await CONSUMERS[queue](job, here.ports)
            await here.ports.queue.ack(job)


async def publish(here: World, *events: Event) -> None:
    """Publish and consume the outbox, as relay and consumers do, and `events` in addition."""
    await PostgresOutbox(here.pool, pushes=True).publish(limit=1_000, now=here.clock())
    for event in events:
        await here.ports.queue.send(NOTIFICATIONS, pack(event))
    await work_off(here, NOTIFICATIONS)
    here.clock.advance(CHAT_HOLD_S)  # pushes about messages wait
    await work_off(here, PUSH)


async def crew(here: World, *names: str) -> tuple[TripId, list[User]]:
    """A trip of these users, the first one its owner, with an empty outbox."""
    people = [await here.user(name) for name in names]
    trip = TripId(await here.trip(people[0], name="Porto"))
    for guest in people[1:]:
        await here.join(trip, people[0], guest)
    await publish(here)
    here.told.events.clear()
    return trip, people


def said(trip: TripId, by: User, text: str, *, mentions: tuple[User, ...] = ()) -> Event:
    """The event of a message in the trip's chat."""
    payload = {
        "messageId": str(uuid4()), "tripId": str(trip), "content": text, "timestamp": "2026-11-22T12:00:00Z",
        "user": {"id": str(by.id), "name": by.username.title()}, "mentions": [str(m.id) for m in mentions],
    }  # fmt: skip
    return an_event(type="CHAT_MESSAGE_SENT", trip_id=trip, actor_id=by.id, payload=json.dumps(payload))


@pytest.mark.contract("rest-core.invite.push", "jobs.push.data")
async def test_an_invitation_is_pushed_with_the_data_of_its_screen(here: World, service: Expo) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    await phone(here, ben, "bens phone")
    trip = await here.trip(ana, name="Porto")
    path = f"/v1/trips/{trip}/invitations"
    invitation = (await here.call("POST", path, by=ana, body={"email": ben.email, "role": "member"})).json["id"]
    await publish(here)
    [kept] = await listed(here, ben)
    [pushed] = service.messages
    assert pushed == {
        "to": "bens phone",
        "title": "Trip invitation",
        "body": "Ana invited you to Porto",
        "data": {
            "notificationId": kept["id"], "type": "TRIP_INVITATION_RECEIVED", "invitationID": invitation,
            "tripID": str(trip), "tripName": "Porto", "inviterName": "Ana", "inviterID": str(ana.id),
        },
        "sound": "default",
        "priority": "high",
    }  # fmt: skip


@pytest.mark.contract("rest-activity.notifications.fix-types")
async def test_a_todos_creator_is_notified_when_another_member_completes_it(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    await phone(here, ana, "anas phone")
    path = f"/v1/trips/{trip}/todos"
    todo = (await here.call("POST", path, by=ana, body={"text": "boots"})).json["id"]
    own = (await here.call("POST", path, by=ana, body={"text": "hats"})).json["id"]
    await here.call("PUT", f"{path}/{own}", by=ana, body={"status": "COMPLETE"})
    owner_rank = await here.call("PUT", f"/v1/trips/{trip}/members/{ben.id}/role", by=ana, body={"role": "admin"})
    assert owner_rank.status == 200
    for body in ({"status": "COMPLETE"}, {"text": "boots, dry"}, {"status": "COMPLETE"}):
        assert (await here.call("PUT", f"{path}/{todo}", by=ben, body=body)).status == 200
    await publish(here)
    [told] = [n for n in await listed(here, ana) if n["type"] == "TODO_COMPLETED"]
    assert told["message"] == "Ben completed boots"
    assert (told["metadata"]["completerName"], told["metadata"]["todoTitle"]) == ("Ben", "boots")
    assert [(m["title"], m["body"]) for m in service.messages] == [("Task completed", "Ben completed boots")]


async def test_an_assignee_is_notified_once_for_each_assignment(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    await phone(here, ben, "bens phone")
    path = f"/v1/trips/{trip}/todos"
    body = {"text": "boots", "assigneeId": str(ben.id), "dueAt": "2026-12-01T18:00:00+01:00", "position": 2}
    todo = (await here.call("POST", path, by=ana, body=body)).json
    assert (todo["assigneeId"], todo["dueAt"], todo["position"]) == (str(ben.id), "2026-12-01T17:00:00Z", 2.0)
    for change in ({"text": "boots, dry"}, {"assigneeId": None}, {"assigneeId": str(ana.id)}):
        assert (await here.call("PUT", f"{path}/{todo['id']}", by=ana, body=change)).status == 200
    await publish(here)
    [told] = [n for n in await listed(here, ben) if n["type"] == "TODO_ASSIGNED"]
    assert told["message"] == "Ana assigned boots to you"
    assert [(m["title"], m["body"]) for m in service.messages] == [("Task assigned", "Ana assigned boots to you")]
    assert not [n for n in await listed(here, ana) if n["type"] == "TODO_ASSIGNED"]


async def test_the_assignee_or_else_the_creator_is_reminded_of_a_due_todo(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    path, due_at = f"/v1/trips/{trip}/todos", "2026-11-23T08:00:00Z"
    for body in ({"text": "boots", "assigneeId": str(ben.id)}, {"text": "hats"}):
        assert (await here.call("POST", path, by=ana, body=body | {"dueAt": due_at})).status == 201
    assert await remind(todos=here.ports.todos, now=here.ports.clock()) == 2
    await publish(here)
    told = {
        person.username: [n["message"] for n in await listed(here, person) if n["metadata"].get("change") == "due"]
        for person in (ana, ben)
    }
    assert told == {"ana": ["hats is due within a day"], "ben": ["boots is due within a day"]}


@pytest.mark.contract("rest-activity.notifications.compat-chat")
async def test_chat_notifications_are_toasted_and_pushed_but_not_stored(here: World, service: Expo) -> None:
    trip, [ana, ben, cleo] = await crew(here, "ana", "ben", "cleo")
    for person in (ana, ben):
        await phone(here, person, f"{person.username}s phone")
    before = [await listed(here, person) for person in (ana, ben, cleo)]
    message = said(trip, ana, "train at nine")
    await publish(here, message)
    [toast] = here.told.events
    assert set(here.told.addressed[toast.id]) == {ben.id, cleo.id}
    shown = json.loads(toast.payload)
    assert (toast.type, toast.trip_id, shown["read"], shown["createdAt"]) == (
        "notification.created", trip, False, "2026-11-22T12:00:05Z",
    )  # fmt: skip
    assert shown["metadata"] == {
        "chatID": str(trip), "messageID": json.loads(message.payload)["messageId"], "senderName": "Ana",
        "messagePreview": "train at nine",
    }  # fmt: skip
    [pushed] = service.messages
    assert (pushed["to"], pushed["title"], pushed["body"]) == ("bens phone", "Ana", "train at nine")
    assert pushed["data"] == shown["metadata"] | {"notificationId": shown["id"], "type": "CHAT_MESSAGE"}
    assert [await listed(here, person) for person in (ana, ben, cleo)] == before
    assert (await here.call("GET", "/v1/events?limit=200", by=ben)).body.find(b"train at nine") == -1


async def test_an_event_delivered_twice_notifies_once(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    await phone(here, ben, "bens phone")
    message = said(trip, ana, "hello")
    for _ in range(3):
        await publish(here, message)
    assert service.reached() == ["bens phone"]
    assert len({json.loads(event.payload)["id"] for event in here.told.events}) == 1


@pytest.mark.contract("rest-activity.notifications.fix-preferences")
async def test_preferences_decide_the_channels(here: World, service: Expo) -> None:
    trip, [ana, all_of_it, mentioned, none, muted, asleep, silent] = await crew(
        here, "ana", "all", "mentioned", "none", "muted", "asleep", "silent"
    )
    for person in (all_of_it, mentioned, none, muted, asleep, silent):
        await phone(here, person, person.username)
    await prefer(here, mentioned, chat="mentions")
    await prefer(here, none, chat="none")
    path = f"/v1/trips/{trip}/notification-preferences"
    await here.call("PUT", path, by=muted, body={"mutedUntil": "2026-11-22T13:00:00Z", "chat": "all"})
    await prefer(here, asleep, quietHours={"start": "12:00", "end": "12:01", "timeZone": "Europe/Lisbon"})
    # The body of the shipped app.
    old = {"notifications": {"push": False, "email": True, "tripUpdates": True, "chatMessages": True}}
    await here.call("PUT", f"/v1/users/{silent.id}/preferences", by=silent, body=old)
    recipients = (all_of_it, mentioned, none, muted, asleep, silent)
    await publish(here, said(trip, ana, "hello"))
    assert service.reached() == ["all"]
    shown = {id_ for told in here.told.addressed.values() for id_ in told}
    assert shown == {all_of_it.id, asleep.id, silent.id}
    service.requests.clear()
    here.clock.advance(60)  # the quiet hours are over
    await publish(here, said(trip, ana, "hello @all", mentions=recipients))
    assert service.reached() == ["all", "asleep", "mentioned"]
    service.requests.clear()
    here.clock.advance(3_600)  # the trip is no longer muted
    await publish(here, said(trip, ana, "hello again", mentions=recipients))
    assert service.reached() == ["all", "asleep", "mentioned", "muted"]


async def test_a_muted_trip_adds_nothing_to_the_list(here: World) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    path = f"/v1/trips/{trip}/notification-preferences"
    await here.call("PUT", path, by=ben, body={"mutedUntil": "2027-01-01T00:00:00Z"})
    before = await listed(here, ben)
    await here.call("PUT", f"/v1/trips/{trip}", by=ana, body={"name": "Lisbon"})
    await publish(here)
    assert await listed(here, ben) == before
    assert here.told.events == []


async def test_location_notifications_contain_no_coordinates(here: World, service: Expo) -> None:
    trip, [ana, ben, cleo] = await crew(here, "ana", "ben", "cleo")
    await phone(here, ben, "bens phone")
    await prefer(here, cleo, arrivals=False, locationSharing=False)
    sharing = {"userId": str(ana.id), "isSharingEnabled": True}
    arrived = {"userId": str(ana.id), "place": "meeting point"}
    common = {"trip_id": trip, "actor_id": ana.id}
    await publish(
        here,
        an_event(type="LOCATION_SHARING_CHANGED", payload=json.dumps(sharing), **common),
        an_event(
            type="LOCATION_SHARING_CHANGED", payload=json.dumps(sharing | {"isSharingEnabled": False}), **common
        ),
        an_event(type="MEMBER_ARRIVED", payload=json.dumps(arrived), **common),
    )
    assert sorted(message["body"] for message in service.messages) == [
        "Ana arrived at the meeting point",
        "Ana shares their location on Porto",
    ]
    kept = [n["metadata"]["change"] for n in await listed(here, ben) if n["type"] == "LOCATION_SHARED"]
    assert kept == ["started"]  # an arrival is not stored
    assert [n for n in await listed(here, cleo) if n["type"] == "LOCATION_SHARED"] == []
    assert [here.told.addressed[event.id] for event in here.told.events] == [[ben.id]]


async def test_a_phone_with_a_new_user_gets_no_pushes_of_the_previous_one(here: World, service: Expo) -> None:
    trip, [ana, ben, cleo] = await crew(here, "ana", "ben", "cleo")
    await phone(here, ben, "shared phone")
    await phone(here, cleo, "shared phone")
    await publish(here, said(trip, ana, "hello"))
    [message] = service.messages
    assert message["to"] == "shared phone"
    await here.call("DELETE", "/v1/users/push-token", by=cleo, body={"token": "shared phone"})
    await publish(here, said(trip, ana, "hello again"))
    assert len(service.messages) == 1


@pytest.mark.contract("jobs.push.batches")
async def test_pushes_are_sent_in_batches_of_a_hundred(here: World, service: Expo) -> None:
    trip, people = await crew(here, "ana", *(f"p{n}" for n in range(6)))
    for person in people[1:]:
        for n in range(20):
            await phone(here, person, f"{person.username} {n}")
    await publish(here, said(trip, people[0], "hello"))
    assert sorted(service.sends) == [20, 100]
    assert len(set(service.reached())) == 120


@pytest.mark.contract("jobs.push.fix-retry")
async def test_a_repeated_push_job_sends_only_the_missing_messages(here: World, service: Expo) -> None:
    trip, people = await crew(here, "ana", *(f"p{n}" for n in range(6)))
    for person in people[1:]:
        for n in range(20):
            await phone(here, person, f"{person.username} {n}")
    service.statuses = [503]
    service.errors = {"p5 3": TOO_FAST, "p5 19": GONE, "p5 7": "MessageTooBig"}
    await here.ports.queue.send(NOTIFICATIONS, pack(said(trip, people[0], "hello")))
    await work_off(here, NOTIFICATIONS)
    here.clock.advance(CHAT_HOLD_S)
    [job] = await jobs(here, PUSH)
    with pytest.raises(Unavailable):
        await CONSUMERS[PUSH](job, here.ports)
    assert service.sends == [100, 20]  # a failed batch does not prevent the next
    service.requests.clear()
    service.errors.clear()
    await CONSUMERS[PUSH](job, here.ports)
    again = service.reached()
    assert len(again) == 101
    assert "p5 3" in again
    assert "p5 19" not in again
    service.requests.clear()
    await CONSUMERS[PUSH](job, here.ports)
    assert service.requests == []


@pytest.mark.contract("jobs.push.fix-retry")
async def test_receipts_are_checked_after_15_minutes(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    for token in ("old", "new", "slow"):
        await phone(here, ben, token)
    service.receipts = {"ticket of old": failed(GONE)}
    service.early = {"ticket of slow"}
    await publish(here, said(trip, ana, "hello"))
    assert [method for method, _ in service.requests] == ["send"]
    here.clock.advance(RECEIPTS_AFTER_S - 1)
    await work_off(here, PUSH)
    assert len(service.requests) == 1
    here.clock.advance(1)
    await work_off(here, PUSH)
    assert service.requests[-1] == ("getReceipts", {"ids": [f"ticket of {t}" for t in ("old", "new", "slow")]})
    service.requests.clear()
    await publish(here, said(trip, ana, "and?"))
    assert service.reached() == ["new", "slow"]
    for _ in range(5):  # a ticket that never gets a receipt is given up
        here.clock.advance(RECEIPTS_AFTER_S)
        await work_off(here, PUSH)
    assert await waiting(here, PUSH) == 0


async def test_receipts_are_checked_although_the_first_attempt_crashed(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    await phone(here, ben, "old")
    service.receipts = {"ticket of old": failed(GONE)}
    await here.ports.queue.send(NOTIFICATIONS, pack(said(trip, ana, "hello")))
    await work_off(here, NOTIFICATIONS)
    here.clock.advance(CHAT_HOLD_S)
    [job] = await jobs(here, PUSH)
    task = push_job_in(job.body)
    assert isinstance(task, PushTask)
    await deliver(task, tokens=here.ports.push_tokens, push=here.ports.push, now=here.clock())
    await CONSUMERS[PUSH](replace(job, attempt=2), here.ports)
    assert [method for method, _ in service.requests] == ["send"]
    here.clock.advance(RECEIPTS_AFTER_S)
    await work_off(here, PUSH)
    assert [method for method, _ in service.requests] == ["send", "getReceipts"]


async def test_refused_credentials_make_a_dead_job_that_can_be_redriven(here: World, service: Expo) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    await phone(here, ben, "bens phone")
    service.access_token = "another site's"
    await here.ports.queue.send(NOTIFICATIONS, pack(said(trip, ana, "hello")))
    await work_off(here, NOTIFICATIONS)
    here.clock.advance(CHAT_HOLD_S)
    [job] = await jobs(here, PUSH)
    with pytest.raises(PushRefused):
        await CONSUMERS[PUSH](job, here.ports)
    service.access_token = None
    await CONSUMERS[PUSH](job, here.ports)
    assert [message["to"] for message in service.messages] == ["bens phone", "bens phone"]


async def test_an_unknown_queue_message_fails_permanently(here: World) -> None:
    for body in ("", "{}", '{"push":{"id":7}}', pack(an_event())):
        await here.ports.queue.send(PUSH, body)
    for job in await jobs(here, PUSH):
        with pytest.raises(NotAPushJob):
            await CONSUMERS[PUSH](job, here.ports)


async def test_without_a_push_service_url_no_push_is_sent(
    postgres: Postgres, template: str, tmp_path: Path, service: Expo
) -> None:
    async with world(postgres, tmp_path, template=template) as here:
        trip, [ana, ben] = await crew(here, "ana", "ben")
        await phone(here, ben, "bens phone")
        await publish(here, said(trip, ana, "hello"))
        assert await waiting(here, PUSH) == 0
        assert len(here.told.events) == 1
    assert service.requests == []


async def test_old_and_new_clients_share_their_preferences(here: World) -> None:
    ana = await here.user("ana")
    defaults = (await here.call("GET", "/v1/notifications/preferences", by=ana)).json
    assert defaults == {
        "push": True, "email": True, "inApp": True, "chat": "all", "tripUpdates": True, "todos": True,
        "polls": True, "locationSharing": True, "arrivals": True, "documents": True, "quietHours": None,
    }  # fmt: skip
    night = {"start": "22:30", "end": "07:00", "timeZone": "Europe/Lisbon"}
    assert await prefer(here, ana, chat="mentions", quietHours=night, todos=False) == defaults | {
        "chat": "mentions", "quietHours": night, "todos": False,
    }  # fmt: skip
    path = f"/v1/users/{ana.id}/preferences"
    old = {"push": False, "email": True, "tripUpdates": False, "chatMessages": True}
    assert (await here.call("PUT", path, by=ana, body={"notifications": old, "ghostMode": True})).status == 200
    seen = (await here.call("GET", "/v1/notifications/preferences", by=ana)).json
    assert seen == defaults | {
        "push": False, "tripUpdates": False, "chat": "mentions", "quietHours": night, "todos": False,
    }  # fmt: skip
    assert (await prefer(here, ana, chat="none", push=True))["chat"] == "none"
    stored = (await here.call("GET", "/v1/users/me", by=ana)).json["preferences"]
    assert stored["notifications"] == {"push": True, "email": True, "tripUpdates": False, "chatMessages": False}
    assert stored["ghostMode"] is True
    assert (await prefer(here, ana, quietHours=None))["quietHours"] is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"quietHours": {"start": "22:00", "end": "7:00", "timeZone": "UTC"}}, "invalid_quiet_hours"),
        ({"quietHours": {"start": "22:00", "end": "07:00", "timeZone": "Mars"}}, "invalid_time_zone"),
        ({"quietHours": {"start": "22:00", "end": "07:00"}}, "invalid_request_payload"),
        ({"chat": "sometimes"}, "invalid_request_payload"),
        ({"push": "yes"}, "invalid_request_payload"),
    ],
)
async def test_invalid_preferences_change_nothing(here: World, body: object, code: str) -> None:
    ana = await here.user("ana")
    reply = await here.call("PUT", "/v1/notifications/preferences", by=ana, body=body)
    assert (reply.status, reply.code) == (400, code)
    assert (await here.call("GET", "/v1/users/me", by=ana)).json["preferences"] == {}


async def test_trip_preferences_end_with_the_membership(here: World) -> None:
    trip, [ana, ben] = await crew(here, "ana", "ben")
    path = f"/v1/trips/{trip}/notification-preferences"
    unset = {"mutedUntil": None, "chat": None}
    assert (await here.call("GET", path, by=ben)).json == unset
    wanted = {"mutedUntil": "2027-01-01T01:00:00+01:00", "chat": "mentions"}
    kept = {"mutedUntil": "2027-01-01T00:00:00Z", "chat": "mentions"}
    assert (await here.call("PUT", path, by=ben, body=wanted)).json == kept
    assert (await here.call("GET", path, by=ben)).json == kept
    assert (await here.call("GET", path, by=ana)).json == unset
    await here.call("DELETE", f"/v1/trips/{trip}/members/{ben.id}", by=ben)
    here.clock.advance(1)
    await here.join(trip, ana, ben)
    assert (await here.call("GET", path, by=ben)).json == unset
    for edge in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2027-01-01T00:00:00"):
        assert (await here.call("PUT", path, by=ben, body={"mutedUntil": edge})).status == 400


@pytest.mark.contract("rest-core.push-token.refused")
@pytest.mark.parametrize(
    "body",
    [{}, {"token": "x"}, {"token": "", "deviceType": "ios"}, {"token": "x" * 256, "deviceType": "ios"},
     {"token": "x", "deviceType": "web"}, {"token": 7, "deviceType": "ios"}, None],
)  # fmt: skip
async def test_an_invalid_push_token_gets_400(here: World, body: object) -> None:
    ana = await here.user("ana")
    assert (await here.call("POST", "/v1/users/push-token", by=ana, body=body)).status == 400


@pytest.mark.contract("rest-core.push-token", "rest-activity.push-tokens")
async def test_the_reply_to_a_registered_phone_is_that_of_the_monolith(here: World) -> None:
    ana = await here.user("ana")
    body = {"token": "ExponentPushToken[abc]", "deviceType": "ios"}
    made = (await here.call("POST", "/v1/users/push-token", by=ana, body=body)).json
    at = "2026-11-22T12:00:00Z"
    assert made == body | {
        "id": made["id"], "userId": str(ana.id), "isActive": True, "createdAt": at, "updatedAt": at,
        "lastUsedAt": at,
    }  # fmt: skip
    assert UUID(made["id"]).version == 7


@pytest.mark.contract("jobs.push.size")
def test_a_push_is_cut_to_the_size_limit_without_cutting_ids() -> None:
    id_ = str(uuid4())
    long = {"tripName": "é" * 255, "messagePreview": "日" * 3_000, "notificationId": id_}
    message = fitted(PushMessage("token", "日" * 255, "日" * 3_000, long))
    whole = {"title": message.title, "body": message.body, "data": message.data}
    assert len(json.dumps(whole, ensure_ascii=False).encode()) < 4_096
    assert message.data["notificationId"] == id_
    assert message.body.endswith("…")
    short = PushMessage("token", "Porto", "Hello", {"notificationId": id_})
    assert fitted(short) is short
