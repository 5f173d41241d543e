"""What a chat tells on AWS: from the table's stream to the record, to sockets and to notifications."""

import json
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.core.chat.model import Message, NewMessage
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.events import TOMBSTONE
from nomadcrew.core.ids import EventId, MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN, OWN_OR_ADMIN
from nomadcrew.wire.events import unpack
from tests.contract.aws_site import REALTIME, Site, site
from tests.fakes import NOON
from tests.loops import closed_loops

__all__ = ["closed_loops", "site"]


async def on_a_trip(site: Site) -> tuple[UserId, UserId, TripId]:
    """Ana and ben on a trip with a socket each, greeted, and nothing left to tell."""
    ana, ben = await site.crew.person("ana"), await site.crew.person("ben")
    trip_id = await site.crew.trip(ana)
    await site.crew.join(trip_id, ben, ana)
    await site.publish()
    for url in site.urls.values():
        await site.lambdas.cloud.messages(url)
    for who, socket in ((ana, "ana's"), (ben, "ben's")):
        await site.connect(who, socket)
    await site.work_off("realtime", REALTIME)
    assert site.heard("ana's") == site.heard("ben's") == ["connected"]
    return ana, ben, trip_id


async def say(site: Site, trip_id: TripId, by: UserId, text: str = "hello") -> Message:
    message = NewMessage(MessageId(uuid7()), trip_id, by, text, None, [], EventId(uuid7()), NOON)
    made: Message = await site.ports["chat"].add(message, MEMBER)
    return made


async def recorded(site: Site, caller: UserId) -> list[tuple[str, Any]]:
    """The chat's events in the record, as somebody who was away reads them."""
    page = await site.ports["events"].after(caller, None, now=NOON, limit=100)
    return [(event.type, json.loads(event.payload)) for event in page.events if event.type.startswith("CHAT")]


async def test_a_message_reaches_every_members_sockets_and_the_record_and_whoever_notifies(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    message = await say(site, trip_id, ana)
    assert await site.fan_out(site.changes()) == {"batchItemFailures": []}
    assert site.heard("ana's") == site.heard("ben's") == ["CHAT_MESSAGE_SENT"]
    [(type_, payload)] = await recorded(site, ben)
    assert (type_, payload["messageId"]) == ("CHAT_MESSAGE_SENT", str(message.id))
    [body] = await site.lambdas.cloud.messages(site.urls["notifications"])
    assert json.loads(unpack(body).payload)["messageId"] == str(message.id)


async def test_a_batch_that_comes_twice_is_recorded_once(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await say(site, trip_id, ana)
    for _ in range(2):
        await site.fan_out(site.changes())
    frames = site.frames("ben's")
    assert len(frames) == 2
    assert len({frame["payload"]["id"] for frame in frames}) == 1
    assert len(await recorded(site, ben)) == 1


async def test_a_crash_between_storing_and_telling_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await say(site, trip_id, ana)

    async def dies(*_: object, **__: object) -> None:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(site.ports["sockets"], "deliver", dies)
        answer = await site.fan_out(site.changes())
        assert len(answer["batchItemFailures"]) == len(site.changes())
    assert len(await recorded(site, ben)) == 1
    await site.fan_out(site.changes())
    assert site.heard("ben's") == ["CHAT_MESSAGE_SENT"]
    assert len(await recorded(site, ben)) == 1


async def test_what_cannot_be_read_fails_alone_and_what_came_with_it_is_told(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    await say(site, trip_id, ana)
    changes = site.changes()
    poison = json.loads(json.dumps(changes[-1], default=str))
    poison["dynamodb"] |= {"SequenceNumber": "poison", "NewImage": {"event": {"S": "no event"}}}
    assert await site.fan_out([poison, *changes]) == {"batchItemFailures": [{"itemIdentifier": "poison"}]}
    assert site.heard("ana's") == ["CHAT_MESSAGE_SENT"]


async def test_guards_and_what_expires_tell_nothing(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    await say(site, trip_id, ana)
    silent = [change for change in site.changes() if "event" not in change["dynamodb"].get("NewImage", {})]
    removed = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "1", "Keys": {}}}
    assert len(silent) == 1
    assert await site.fan_out([*silent, removed]) == {"batchItemFailures": []}
    assert site.heard("ana's") == []


async def test_a_dead_socket_does_not_keep_the_others_from_hearing(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    site.gateway.says["ana's"] = 410
    await say(site, trip_id, ana)
    await site.fan_out(site.changes())
    assert site.heard("ben's") == ["CHAT_MESSAGE_SENT"]


async def test_a_removed_member_hears_nothing_of_what_was_said_before_and_told_after(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await say(site, trip_id, ana)
    await site.crew.leave(trip_id, ben, ana)
    await site.fan_out(site.changes())
    assert (site.heard("ana's"), site.heard("ben's")) == (["CHAT_MESSAGE_SENT"], [])


async def test_changes_of_one_trip_are_told_in_their_order(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    message = await say(site, trip_id, ana, "helo")
    chat = site.ports["chat"]
    await chat.edit(trip_id, message.id, ana, OWN, "hello", EventId(uuid7()), now=NOON)
    await chat.read(trip_id, message.id, ben, MEMBER, EventId(uuid7()), now=NOON)
    await chat.delete(trip_id, message.id, ana, OWN_OR_ADMIN, EventId(uuid7()), now=NOON)
    await site.fan_out(site.changes())
    about_message = [type_ for type_ in site.heard("ben's") if type_ != "CHAT_READ_RECEIPT"]
    assert about_message == ["CHAT_MESSAGE_SENT", "CHAT_MESSAGE_EDITED", "CHAT_MESSAGE_DELETED"]


async def test_what_was_deleted_is_gone_from_the_record(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    message = await say(site, trip_id, ana, "secret")
    other = await say(site, trip_id, ana, "kept")
    await site.fan_out(site.changes())
    assert "secret" in str(await recorded(site, ben))
    await site.ports["chat"].delete(trip_id, message.id, ana, OWN_OR_ADMIN, EventId(uuid7()), now=NOON)
    await site.fan_out(site.changes())
    sent = {UUID(payload["messageId"]): payload for type_, payload in await recorded(site, ben) if "SENT" in type_}
    assert sent[message.id]["content"] == sent[message.id]["message"]["content"] == TOMBSTONE
    assert sent[other.id]["content"] == "kept"
    assert "secret" not in str(await recorded(site, ben))


async def test_a_frame_of_a_socket_is_stored_and_told_like_any_other(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    payload = {"tripId": str(trip_id), "content": "hello", "messageId": str(uuid7())}
    await site.frame("ana's", ana, body=json.dumps({"type": "CHAT_MESSAGE_SEND", "payload": payload}))
    await site.frame("ana's", ana, body=json.dumps({"action": "sendMessage", **payload}))
    assert site.heard("ana's") == ["ack"]
    await site.fan_out(site.changes())
    assert site.heard("ben's") == ["CHAT_MESSAGE_SENT"]
