"""The chat's fan-out on AWS: from the table's stream to stored events, sockets and notifications."""

import json
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.core.access import Command
from nomadcrew.core.chat.model import Message, NewMessage
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.ids import EventId, MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN, OWN_OR_ADMIN
from nomadcrew.wire.events import unpack
from tests.contract.aws_stack import REALTIME, Stack, stack
from tests.fakes import NOON
from tests.lambda_loops import close_lambda_loops

__all__ = ["close_lambda_loops", "stack"]


async def two_members(stack: Stack) -> tuple[UserId, UserId, TripId]:
    """Ana and ben on a trip with one greeted socket each, and empty queues."""
    ana, ben = await stack.db.user("ana"), await stack.db.user("ben")
    trip_id = await stack.db.trip(ana)
    await stack.db.join(trip_id, ben, ana)
    await stack.publish()
    for url in stack.urls.values():
        await stack.lambdas.cloud.messages(url)
    for user_id, socket in ((ana, "ana's"), (ben, "ben's")):
        await stack.connect(user_id, socket)
    await stack.consume("realtime", REALTIME)
    assert stack.received("ana's") == stack.received("ben's") == ["connected"]
    return ana, ben, trip_id


async def post_message(stack: Stack, trip_id: TripId, by: UserId, text: str = "hello") -> Message:
    message = NewMessage(MessageId(uuid7()), trip_id, by, text, None, [], EventId(uuid7()), NOON)
    made: Message = await stack.ports["chat"].add(message, MEMBER)
    return made


async def stored_events(stack: Stack, caller: UserId) -> list[tuple[str, Any]]:
    """The stored chat events, as `GET /v1/events` returns them."""
    page = await stack.ports["events"].after(caller, None, now=NOON, limit=100)
    return [(event.type, json.loads(event.payload)) for event in page.events if event.type.startswith("CHAT")]


async def test_a_message_reaches_sockets_stored_events_and_the_notifier(
    stack: Stack,
) -> None:
    ana, ben, trip_id = await two_members(stack)
    message = await post_message(stack, trip_id, ana)
    assert await stack.fan_out(stack.changes()) == {"batchItemFailures": []}
    assert stack.received("ana's") == stack.received("ben's") == ["CHAT_MESSAGE_SENT"]
    [(type_, payload)] = await stored_events(stack, ben)
    assert (type_, payload["messageId"]) == ("CHAT_MESSAGE_SENT", str(message.id))
    [body] = await stack.lambdas.cloud.messages(stack.urls["notifications"])
    assert await stack.lambdas.cloud.messages(stack.urls["webhooks"]) == [body]
    assert json.loads(unpack(body).payload)["messageId"] == str(message.id)


async def test_a_repeated_batch_is_recorded_once(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    await post_message(stack, trip_id, ana)
    for _ in range(2):
        await stack.fan_out(stack.changes())
    frames = stack.frames("ben's")
    assert len(frames) == 2
    assert len({frame["payload"]["id"] for frame in frames}) == 1
    assert len(await stored_events(stack, ben)) == 1


async def test_a_failed_delivery_is_retried_without_a_second_event(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana, ben, trip_id = await two_members(stack)
    await post_message(stack, trip_id, ana)

    async def dies(*_: object, **__: object) -> None:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(stack.ports["socket_delivery"], "deliver", dies)
        answer = await stack.fan_out(stack.changes())
        assert len(answer["batchItemFailures"]) == len(stack.changes())
    assert len(await stored_events(stack, ben)) == 1
    await stack.fan_out(stack.changes())
    assert stack.received("ben's") == ["CHAT_MESSAGE_SENT"]
    assert len(await stored_events(stack, ben)) == 1


async def test_an_unreadable_record_fails_alone(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    await post_message(stack, trip_id, ana)
    changes = stack.changes()
    poison = json.loads(json.dumps(changes[-1], default=str))
    poison["dynamodb"] |= {"SequenceNumber": "poison", "NewImage": {"event": {"S": "no event"}}}
    assert await stack.fan_out([poison, *changes]) == {"batchItemFailures": [{"itemIdentifier": "poison"}]}
    assert stack.received("ana's") == ["CHAT_MESSAGE_SENT"]


async def test_records_without_an_event_broadcast_nothing(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    await post_message(stack, trip_id, ana)
    silent = [change for change in stack.changes() if "event" not in change["dynamodb"].get("NewImage", {})]
    removed = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "1", "Keys": {}}}
    assert len(silent) == 1
    assert await stack.fan_out([*silent, removed]) == {"batchItemFailures": []}
    assert stack.received("ana's") == []


async def test_a_dead_connection_does_not_delay_other_sockets(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    stack.gateway.statuses["ana's"] = 410
    await post_message(stack, trip_id, ana)
    await stack.fan_out(stack.changes())
    assert stack.received("ben's") == ["CHAT_MESSAGE_SENT"]


async def test_a_removed_member_does_not_receive_earlier_messages(
    stack: Stack,
) -> None:
    ana, ben, trip_id = await two_members(stack)
    await post_message(stack, trip_id, ana)
    await stack.db.leave(trip_id, ben, ana)
    await stack.fan_out(stack.changes())
    assert (stack.received("ana's"), stack.received("ben's")) == (["CHAT_MESSAGE_SENT"], [])


async def test_changes_of_a_trip_are_broadcast_in_order(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    message = await post_message(stack, trip_id, ana, "helo")
    chat = stack.ports["chat"]
    await chat.edit(Command(trip_id, ana, OWN, EventId(uuid7()), NOON), message.id, "hello")
    await chat.mark_read(Command(trip_id, ben, MEMBER, EventId(uuid7()), NOON), message.id)
    await chat.delete(Command(trip_id, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), message.id)
    await stack.fan_out(stack.changes())
    about_message = [type_ for type_ in stack.received("ben's") if type_ != "CHAT_READ_RECEIPT"]
    assert about_message == ["CHAT_MESSAGE_SENT", "CHAT_MESSAGE_EDITED", "CHAT_MESSAGE_DELETED"]


async def test_a_deleted_text_is_removed_from_stored_events(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    message = await post_message(stack, trip_id, ana, "secret")
    other = await post_message(stack, trip_id, ana, "kept")
    await stack.fan_out(stack.changes())
    assert "secret" in str(await stored_events(stack, ben))
    await stack.ports["chat"].delete(Command(trip_id, ana, OWN_OR_ADMIN, EventId(uuid7()), NOON), message.id)
    await stack.fan_out(stack.changes())
    sent = {
        UUID(payload["messageId"]): payload for type_, payload in await stored_events(stack, ben) if "SENT" in type_
    }
    assert sent[message.id]["content"] == sent[message.id]["message"]["content"] == TOMBSTONE
    assert sent[other.id]["content"] == "kept"
    assert "secret" not in str(await stored_events(stack, ben))


async def test_a_message_by_socket_is_stored_and_broadcast(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    payload = {"tripId": str(trip_id), "content": "hello", "messageId": str(uuid7())}
    await stack.frame("ana's", ana, body=json.dumps({"type": "CHAT_MESSAGE_SEND", "payload": payload}))
    await stack.frame("ana's", ana, body=json.dumps({"action": "sendMessage", **payload}))
    assert stack.received("ana's") == ["ack"]
    await stack.fan_out(stack.changes())
    assert stack.received("ben's") == ["CHAT_MESSAGE_SENT"]
