"""What happens on AWS after a write: from the bus through queues to notifications, mails, sockets and the audit."""

import json
from typing import Any

import pytest

from nomadcrew.adapters.aws.outbox import PROBE_DELAY_S
from nomadcrew.adapters.aws.queue import SqsQueue
from nomadcrew.adapters.aws.realtime import SETTLING
from nomadcrew.adapters.aws.sdk.services import SQS
from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.core.access import Command
from nomadcrew.core.ids import EventId, InvitationId, PushTokenId, TripId, UserId, uuid7
from nomadcrew.core.notifications.push import RECEIPTS_AFTER_S, DeviceType
from nomadcrew.core.permissions import ADMIN, MEMBER, Role
from nomadcrew.core.presence.model import GRACE_S
from nomadcrew.core.queues import backoff_s
from nomadcrew.hosts.aws.functions import keepalive, realtime
from nomadcrew.hosts.aws.websocket_event import NOT_JSON, Unauthorized
from nomadcrew.wire.events import PONG, detail_type, pack, unpack
from tests.contract.aws_site import (
    AUDIT,
    AUTHORIZER,
    EMAIL,
    FEEDBACK,
    KEEPALIVE,
    LOCATION_STREAM,
    NOTIFIER,
    PUBLISHER,
    PUSH,
    REALTIME,
    Site,
    site,
)
from tests.fakes import ANA, NOON, an_event
from tests.loops import closed_loops

__all__ = ["closed_loops", "site"]


async def invite(site: Site, trip_id: TripId, owner: UserId, address: str) -> EventId:
    event_id = EventId(uuid7())
    await PostgresInvitations(site.crew.pool).invite(
        Command(trip_id, owner, ADMIN, event_id, NOON), address, Role.MEMBER, invitation_id=InvitationId(uuid7())
    )
    return event_id


async def on_a_trip(site: Site) -> tuple[UserId, UserId, TripId]:
    """Ana and ben on a trip, and nothing of that in any queue."""
    ana, ben = await site.crew.person("ana"), await site.crew.person("ben")
    trip_id = await site.crew.trip(ana)
    await site.crew.join(trip_id, ben, ana)
    await site.publish()
    for url in site.urls.values():
        await site.lambdas.cloud.messages(url)
    return ana, ben, trip_id


async def test_a_change_becomes_notifications_that_are_heard_at_once(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    eve = await site.crew.person("eve")
    for who, socket in ((ana, "ana's"), (ben, "ben's")):
        await site.connect(who, socket)
    await site.crew.join(trip_id, eve, ana)
    await site.publish()
    assert await site.work_off("notifications", NOTIFIER) == 1
    assert [one.type for one in await site.ports["notifications"].page(ben, is_read=None, limit=9, offset=0)] == [
        "TRIP_MEMBER_JOINED"
    ]
    assert await site.work_off("realtime", REALTIME) >= 4
    assert sorted(site.heard("ben's")) == ["MEMBER_ADDED", "connected", "notification.created"]
    assert sorted(site.heard("ana's")) == ["MEMBER_ADDED", "connected"]


async def test_an_event_that_comes_twice_notifies_once(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await site.crew.join(trip_id, await site.crew.person("eve"), ana)
    await site.publish()
    [body] = await site.lambdas.cloud.messages(site.urls["notifications"])
    for _ in range(2):
        await site.lambdas.cloud.put(site.urls["notifications"], body)
    assert await site.work_off("notifications", NOTIFIER) == 2
    assert await site.ports["notifications"].unread(ben) == 1


async def test_what_is_said_is_shown_to_the_others_and_pushed_to_their_phones_once(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    for who, socket in ((ana, "ana's"), (ben, "ben's")):
        await site.connect(who, socket)
    await site.work_off("realtime", REALTIME)
    site.gateway.sent.clear()
    await PostgresPushTokens(site.crew.pool).register(
        PushTokenId(uuid7()), "ben's phone", DeviceType.IOS, ben, now=NOON
    )
    said = {
        "messageId": str(uuid7()), "tripId": str(trip_id), "content": "train at nine",
        "user": {"id": str(ana), "name": "Ana"}, "mentions": [],
    }  # fmt: skip
    event = an_event(type="CHAT_MESSAGE_SENT", trip_id=trip_id, actor_id=ana, payload=json.dumps(said))
    for _ in range(2):
        await site.lambdas.cloud.put(site.urls["notifications"], pack(event))
    assert await site.work_off("notifications", NOTIFIER) == 2
    # The second of them finds the phone pushed to, or taken; then it looks again later.
    worked_off = await site.work_off("push", PUSH)
    site.lambdas.cloud.advance(backoff_s(1))
    assert worked_off + await site.work_off("push", PUSH) == 2
    phones = site.ports["push"]
    assert [(message.to, message.title, message.body) for message in phones.shown] == [
        ("ben's phone", "Ana", "train at nine")
    ]
    await site.work_off("realtime", REALTIME)
    assert set(site.heard("ben's")) == {"notification.created"}
    assert site.heard("ana's") == []
    assert await site.ports["notifications"].unread(ben) == 0
    site.lambdas.cloud.advance(RECEIPTS_AFTER_S - backoff_s(1) - 1)
    assert await site.work_off("push", PUSH) == 0
    site.lambdas.cloud.advance(1)
    assert await site.work_off("push", PUSH) == 1
    assert phones.asked == ["ticket of ben's phone"]


async def test_an_invitation_is_mailed_once_however_often_it_is_told(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    await invite(site, trip_id, ana, "eve@example.org")
    await site.publish()
    [body] = await site.lambdas.cloud.messages(site.urls["notifications"])
    for _ in range(3):
        await site.lambdas.cloud.put(site.urls["notifications"], body)
    assert await site.work_off("notifications", NOTIFIER) == 3
    assert await site.work_off("email", EMAIL) == 1
    [mail] = site.mails
    assert (mail.to, mail.id) == ("eve@example.org", str(unpack(body).id))


async def test_a_probe_has_published_what_a_crash_left_behind(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await site.connect(ben, "ben's")
    site.ports["clock"].advance(60)
    site.ports["outbox"].expect()
    await site.ports["outbox"]._probing
    await site.crew.join(trip_id, await site.crew.person("eve"), ana)  # and then the process dies
    await site.work_off("realtime", REALTIME)
    assert site.heard("ben's") == ["connected"]
    site.lambdas.cloud.advance(PROBE_DELAY_S)
    assert await site.work_off("probe", PUBLISHER) >= 1
    await site.work_off("realtime", REALTIME)
    assert site.heard("ben's") == ["MEMBER_ADDED"]


async def test_whoever_is_removed_hears_that_and_nothing_more(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await site.connect(ben, "ben's")
    await site.crew.leave(trip_id, ben, ana)
    await site.publish()
    await site.crew.join(trip_id, await site.crew.person("eve"), ana)
    await site.publish()
    await site.work_off("realtime", REALTIME)
    assert sorted(site.heard("ben's")) == ["MEMBER_REMOVED", "connected"]


async def test_a_socket_is_greeted_once_it_is_open(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    site.gateway.says["ana's"] = 410  # it still connects
    answer = await site.connect(ana, "ana's")
    assert answer == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "nomadcrew.v1"}}
    assert await site.work_off("realtime", REALTIME) == 0
    site.gateway.says.clear()
    site.lambdas.cloud.advance(2)
    assert await site.work_off("realtime", REALTIME) == 1
    [frame] = site.frames("ana's")
    assert frame == {
        "type": "connected",
        "payload": {"userId": str(ana), "tripCount": 1, "trips": [str(trip_id)]},
    }


async def test_a_socket_that_never_opened_is_greeted_no_more(site: Site) -> None:
    ana, _, _ = await on_a_trip(site)
    site.gateway.says["ana's"] = 410
    await site.connect(ana, "ana's")
    for attempt in range(1, realtime.GREET_ATTEMPTS + 1):
        assert await site.work_off("realtime", REALTIME) == (attempt == realtime.GREET_ATTEMPTS)
        site.lambdas.cloud.advance(10)


async def test_a_socket_that_went_without_a_word_is_forgotten_and_the_others_are_told(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    for who, socket in ((ana, "ana's"), (ben, "ben's")):
        await site.connect(who, socket)
    await site.work_off("realtime", REALTIME)
    site.gateway.sent.clear()
    site.gateway.says["ben's"] = 410
    site.ports["clock"].advance(SETTLING.total_seconds() + 1)
    await site.lambdas.run(KEEPALIVE, {})
    await site.work_off("realtime", REALTIME)
    assert await site.ports["connections"].of([ben], now=NOON) == []
    site.lambdas.cloud.advance(GRACE_S)
    await site.work_off("realtime", REALTIME)
    told = [json.loads(frame) for frame in site.gateway.sent["ana's"] if frame != PONG]
    assert [(one["payload"]["tripId"], one["payload"]["payload"]["isOnline"]) for one in told] == [
        (str(trip_id), False)
    ]


async def test_frames_are_answered_as_on_one_machine(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    await site.connect(ana, "ana's")
    about = json.dumps({"tripId": str(trip_id)})
    for frame in (
        '{"type":"ping"}',
        f'{{"type":"unsubscribe","payload":{about}}}',
        f'{{"action":"subscribe","payload":{about}}}',
        '{"type":"nobody knows"}',
        '{"type":"subscribe"}',
    ):
        assert await site.frame("ana's", ana, body=frame) == {"statusCode": 200}
    assert site.heard("ana's") == ["pong", "unsubscribed", "subscribed", "error"]
    for frame in ("{", ""):
        await site.frame("ana's", ana, body=frame)
    assert site.gateway.sent.pop("ana's") == [NOT_JSON, NOT_JSON]


async def test_a_position_from_a_socket_is_heard_by_the_crew(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    for who, socket in ((ana, "ana's"), (ben, "ben's")):
        await site.connect(who, socket)
    frame = {"action": "updateLocation", "tripId": str(trip_id), "latitude": 40.2, "longitude": -8.4}
    assert await site.frame("ana's", ana, body=json.dumps(frame)) == {"statusCode": 200}
    assert site.heard("ana's") == ["locationUpdated"]
    # Of the two events on the bus one says that ana shares her position, and nothing of it is where she is.
    assert await site.work_off("location", LOCATION_STREAM) == 1
    await site.work_off("realtime", REALTIME)
    told = [one["payload"] for one in site.frames("ben's") if one["type"] == "event"]
    events = {one["type"]: one["payload"] for one in told}
    assert events.keys() == {"LOCATION_UPDATED", "LOCATION_SHARING_CHANGED"}
    assert events["LOCATION_UPDATED"]["location"]["latitude"] == 40.2
    assert "40.2" not in json.dumps(events["LOCATION_SHARING_CHANGED"])


async def test_who_heard_a_position_is_listed_to_whose_it_was(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    eve, cleo = await site.crew.person("eve"), await site.crew.person("cleo")
    for person, name in ((eve, "eve's"), (cleo, "cleo's")):
        await site.crew.join(trip_id, person, ana)
        await site.connect(person, name)
    for name in ("ana's", "ana's other"):
        await site.connect(ana, name)
    await site.connect(ben, "ben's")
    about = {"type": "unsubscribe", "payload": {"tripId": str(trip_id)}}
    await site.frame("eve's", eve, body=json.dumps(about))
    site.gateway.says["cleo's"] = 410
    frame = {"action": "updateLocation", "tripId": str(trip_id), "latitude": 40.2, "longitude": -8.4}
    await site.frame("ana's", ana, body=json.dumps(frame))
    await site.work_off("location", LOCATION_STREAM)
    await site.work_off("realtime", REALTIME)
    found = await site.ports["position_views"].of(trip_id, ana, MEMBER, limit=9, offset=0)
    assert [(view.viewer_id, view.hour) for view in found] == [(ben, NOON)]


async def test_a_muted_trip_is_silent(site: Site) -> None:
    ana, ben, trip_id = await on_a_trip(site)
    await site.connect(ben, "ben's")
    await site.frame("ben's", ben, body=json.dumps({"type": "unsubscribe", "payload": {"tripId": str(trip_id)}}))
    await site.crew.join(trip_id, await site.crew.person("eve"), ana)
    await site.publish()
    await site.work_off("realtime", REALTIME)
    assert sorted(site.heard("ben's")) == ["connected", "unsubscribed"]


async def test_an_expired_socket_gets_no_answer_so_that_it_comes_back(site: Site) -> None:
    await site.connect(ANA, "ana's", expiresAt=str(int(NOON.timestamp())))
    answer = await site.frame("ana's", ANA, body='{"type":"ping"}', expiresAt=str(int(NOON.timestamp())))
    assert answer == {"statusCode": 200}
    assert site.heard("ana's") == []


async def test_a_closed_socket_is_forgotten(site: Site) -> None:
    await site.connect(ANA, "ana's")
    await site.frame("ana's", ANA, "DISCONNECT")
    assert await site.ports["connections"].of([ANA], now=NOON) == []


async def test_sockets_are_kept_alive_twice_a_minute(site: Site) -> None:
    await site.connect(ANA, "ana's")
    await site.lambdas.cloud.messages(site.urls["realtime"])
    await site.lambdas.run(KEEPALIVE, {})
    assert site.gateway.sent.pop("ana's") == [PONG]
    assert await site.work_off("realtime", REALTIME) == 0
    site.lambdas.cloud.advance(keepalive.AGAIN_S)
    assert await site.work_off("realtime", REALTIME) == 1
    assert site.gateway.sent.pop("ana's") == [PONG]


@pytest.mark.parametrize(
    "offer",
    [
        {"queryStringParameters": {"token": "ana"}},
        {"headers": {"Sec-WebSocket-Protocol": "ana"}},
        {"headers": {"sec-websocket-protocol": "nomadcrew.v1, ana"}, "queryStringParameters": None},
    ],
    ids=["query", "subprotocol", "pair"],
)
async def test_whoever_has_a_token_may_connect(site: Site, offer: dict[str, Any]) -> None:
    answer = await site.lambdas.run(AUTHORIZER, {"type": "REQUEST", "methodArn": "arn:x/live/$connect", **offer})
    assert answer["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn:x/live/$connect"}
    ]
    assert answer["context"] == {"userId": str(ANA), "sessionId": "", "expiresAt": str(int(NOON.timestamp()) + 900)}


@pytest.mark.parametrize("offer", [{}, {"queryStringParameters": {"token": "forged"}}], ids=["none", "forged"])
async def test_nobody_else_may(site: Site, offer: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        await site.lambdas.run(AUTHORIZER, {"type": "REQUEST", "methodArn": "arn:x/live/$connect", **offer})


async def test_every_event_is_kept_and_what_is_none_is_buried(site: Site) -> None:
    ana, _, trip_id = await on_a_trip(site)
    told = await invite(site, trip_id, ana, "eve@example.org")
    await site.publish()
    await site.lambdas.cloud.put(site.urls["audit"], '{"no":"event"}')
    assert await site.work_off("audit", AUDIT) == 2
    s3 = site.lambdas.cloud.aws.boto("s3")
    [name] = [one["Key"] for one in s3.list_objects_v2(Bucket=site.ports["bucket"])["Contents"]]
    lines = s3.get_object(Bucket=site.ports["bucket"], Key=name)["Body"].read().decode().splitlines()
    assert [unpack(line).id for line in lines] == [told]
    dead = SqsQueue(site.lambdas.cloud.client(SQS), {"audit": site.urls["audit"]}, new_id=uuid7, wait_s=0)
    assert [reason for _, reason in await dead.dead("audit", limit=5)] == ["NoEvent"]


def told_by_ses(**detail: Any) -> str:
    """As the documentation of SES's events has it, on the bus."""
    return json.dumps({"version": "0", "source": "aws.ses", "detail-type": "Email Bounced", "detail": detail})


async def test_whose_mail_came_back_or_who_complained_gets_no_more(site: Site) -> None:
    put, suppression = site.lambdas.cloud.put, site.ports["suppression"]
    gone, full, angry = [{"emailAddress": f"{name}@example.org"} for name in ("gone", "full", "angry")]
    for body in (
        told_by_ses(eventType="Bounce", bounce={"bounceType": "Permanent", "bouncedRecipients": [gone]}),
        told_by_ses(eventType="Bounce", bounce={"bounceType": "Transient", "bouncedRecipients": [full]}),
        told_by_ses(eventType="Complaint", complaint={"complainedRecipients": [angry]}),
        told_by_ses(eventType="Delivery", delivery={}),
    ):
        await put(site.urls["feedback"], body)
    assert await site.work_off("feedback", FEEDBACK) == 4
    found = {name: await suppression.is_suppressed(f"{name}@example.org") for name in ("gone", "full", "angry")}
    assert found == {"gone": True, "full": False, "angry": True}


async def test_a_poisoned_message_is_buried_and_redriven(site: Site) -> None:
    await site.lambdas.cloud.put(site.urls["notifications"], "poison")
    assert await site.work_off("notifications", NOTIFIER) == 1
    queue = SqsQueue(site.lambdas.cloud.client(SQS), {"work": site.urls["notifications"]}, new_id=uuid7, wait_s=0)
    [(job, reason)] = await queue.dead("work", limit=5)
    assert (job.body, reason) == ("poison", "NoEvent")
    assert await queue.redrive("work") == 1
    assert await site.lambdas.cloud.messages(site.urls["notifications"]) == ["poison"]


def test_a_detail_type_is_what_the_source_document_calls_it() -> None:
    types = (
        "TRIP_CREATED",
        "MEMBER_REMOVED",
        "TODO_CREATED",
        "invitation.renewed",
        "account.confirmation_requested",
    )
    assert [detail_type(type_) for type_ in types] == [
        "Trip Created",
        "Member Removed",
        "Todo Created",
        "Invitation Renewed",
        "Account Confirmation Requested",
    ]
