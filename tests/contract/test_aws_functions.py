"""The effects of a write on AWS: from the bus through queues to notifications, mails, sockets and the audit."""

import json
from io import BytesIO
from typing import Any

import pytest

from nomadcrew.adapters.aws.outbox import PROBE_DELAY_S
from nomadcrew.adapters.aws.queue import SqsQueue
from nomadcrew.adapters.aws.realtime import SETTLING
from nomadcrew.adapters.aws.sdk.services import SQS
from nomadcrew.adapters.postgres.invitations import PostgresInvitations
from nomadcrew.adapters.postgres.push import PostgresPushTokens
from nomadcrew.adapters.postgres.trips import PostgresTrips
from nomadcrew.core.access import Access, Command
from nomadcrew.core.claims import Claims
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.ids import EventId, InvitationId, PictureId, PushTokenId, SessionId, TripId, UserId, uuid7
from nomadcrew.core.notifications.push import CHAT_HOLD_S, RECEIPTS_AFTER_S, DeviceType
from nomadcrew.core.permissions import ADMIN, MEMBER, Role, rule
from nomadcrew.core.pictures.model import NewPicture, large_key, original_key
from nomadcrew.core.presence.model import GRACE_S
from nomadcrew.core.queues import backoff_s
from nomadcrew.core.sync.cursors import cursor_of
from nomadcrew.hosts.aws.functions import keepalive, realtime
from nomadcrew.hosts.aws.websocket_event import NOT_JSON, Unauthorized
from nomadcrew.wire.events import PONG, detail_type, pack, unpack
from tests.contract.aws_stack import (
    AUDIT,
    AUTHORIZER,
    BACKGROUNDS,
    EMAIL,
    FEEDBACK,
    KEEPALIVE,
    LOCATION_STREAM,
    NOTIFIER,
    PUBLISHER,
    PUSH,
    REALTIME,
    RENDERER,
    Stack,
    stack,
)
from tests.fakes import ANA, NOON, an_event
from tests.lambda_loops import close_lambda_loops
from tests.photos import opened, photo

__all__ = ["close_lambda_loops", "stack"]


async def invite(stack: Stack, trip_id: TripId, owner: UserId, address: str) -> EventId:
    event_id = EventId(uuid7())
    await PostgresInvitations(stack.db.pool).invite(
        Command(trip_id, owner, ADMIN, event_id, NOON), address, Role.MEMBER, invitation_id=InvitationId(uuid7())
    )
    return event_id


async def two_members(stack: Stack) -> tuple[UserId, UserId, TripId]:
    """Ana and ben on a trip, with empty queues."""
    ana, ben = await stack.db.user("ana"), await stack.db.user("ben")
    trip_id = await stack.db.trip(ana)
    await stack.db.join(trip_id, ben, ana)
    await stack.publish()
    for url in stack.urls.values():
        await stack.lambdas.cloud.messages(url)
    return ana, ben, trip_id


async def test_a_change_is_notified_and_broadcast(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    eve = await stack.db.user("eve")
    for user_id, socket in ((ana, "ana's"), (ben, "ben's")):
        await stack.connect(user_id, socket)
    await stack.db.join(trip_id, eve, ana)
    await stack.publish()
    assert await stack.consume("notifications", NOTIFIER) == 1
    assert [one.type for one in await stack.ports["notifications"].page(ben, is_read=None, limit=9, offset=0)] == [
        "TRIP_MEMBER_JOINED"
    ]
    assert await stack.consume("realtime", REALTIME) >= 4
    assert sorted(stack.received("ben's")) == ["MEMBER_ADDED", "connected", "notification.created"]
    assert sorted(stack.received("ana's")) == ["MEMBER_ADDED", "connected"]


async def test_a_duplicate_event_notifies_once(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    await stack.db.join(trip_id, await stack.db.user("eve"), ana)
    await stack.publish()
    [body] = await stack.lambdas.cloud.messages(stack.urls["notifications"])
    for _ in range(2):
        await stack.lambdas.cloud.put(stack.urls["notifications"], body)
    assert await stack.consume("notifications", NOTIFIER) == 2
    assert await stack.ports["notifications"].count_unread(ben) == 1


async def test_a_message_is_shown_to_the_others_and_pushed_to_their_phones_once(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    for user_id, socket in ((ana, "ana's"), (ben, "ben's")):
        await stack.connect(user_id, socket)
    await stack.consume("realtime", REALTIME)
    stack.gateway.sent.clear()
    await PostgresPushTokens(stack.db.pool).register(
        PushTokenId(uuid7()), "ben's phone", DeviceType.IOS, ben, now=NOON
    )
    message_payload = {
        "messageId": str(uuid7()), "tripId": str(trip_id), "content": "train at nine",
        "user": {"id": str(ana), "name": "Ana"}, "mentions": [],
    }  # fmt: skip
    event = an_event(type="CHAT_MESSAGE_SENT", trip_id=trip_id, actor_id=ana, payload=json.dumps(message_payload))
    for _ in range(2):
        await stack.lambdas.cloud.put(stack.urls["notifications"], pack(event))
    assert await stack.consume("notifications", NOTIFIER) == 2
    assert await stack.consume("push", PUSH) == 0  # held, for a phone that shows the chat
    stack.lambdas.cloud.advance(CHAT_HOLD_S)
    # The second job finds the phone pushed or claimed, and is retried later.
    consumed = await stack.consume("push", PUSH)
    stack.lambdas.cloud.advance(backoff_s(1))
    assert consumed + await stack.consume("push", PUSH) == 2
    phones = stack.ports["push"]
    assert [(message.to, message.title, message.body) for message in phones.shown] == [
        ("ben's phone", "Ana", "train at nine")
    ]
    await stack.consume("realtime", REALTIME)
    assert set(stack.received("ben's")) == {"notification.created"}
    assert stack.received("ana's") == []
    assert await stack.ports["notifications"].count_unread(ben) == 0
    stack.lambdas.cloud.advance(RECEIPTS_AFTER_S - backoff_s(1) - 1)
    assert await stack.consume("push", PUSH) == 0
    stack.lambdas.cloud.advance(1)
    assert await stack.consume("push", PUSH) == 1
    assert phones.requested == ["ticket of ben's phone"]


async def test_an_invitation_is_mailed_once_for_duplicate_events(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    await invite(stack, trip_id, ana, "eve@example.org")
    await stack.publish()
    [body] = await stack.lambdas.cloud.messages(stack.urls["notifications"])
    for _ in range(3):
        await stack.lambdas.cloud.put(stack.urls["notifications"], body)
    assert await stack.consume("notifications", NOTIFIER) == 3
    assert await stack.consume("email", EMAIL) == 1
    [mail] = stack.mails
    assert (mail.to, mail.id) == ("eve@example.org", str(unpack(body).id))


async def test_a_probe_publishes_the_events_of_a_crashed_request(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    await stack.connect(ben, "ben's")
    stack.ports["clock"].advance(60)
    stack.ports["outbox"].before_write()
    await stack.ports["outbox"]._probing
    await stack.db.join(trip_id, await stack.db.user("eve"), ana)  # then the process crashes
    await stack.consume("realtime", REALTIME)
    assert stack.received("ben's") == ["connected"]
    stack.lambdas.cloud.advance(PROBE_DELAY_S)
    assert await stack.consume("probe", PUBLISHER) >= 1
    await stack.consume("realtime", REALTIME)
    assert stack.received("ben's") == ["MEMBER_ADDED"]


async def test_a_removed_member_gets_member_removed_and_nothing_more(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    await stack.connect(ben, "ben's")
    await stack.db.leave(trip_id, ben, ana)
    await stack.publish()
    await stack.db.join(trip_id, await stack.db.user("eve"), ana)
    await stack.publish()
    await stack.consume("realtime", REALTIME)
    assert sorted(stack.received("ben's")) == ["MEMBER_REMOVED", "connected"]


async def test_a_socket_is_greeted_once_it_is_open(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    stack.gateway.statuses["ana's"] = 410  # the connection is still opening
    answer = await stack.connect(ana, "ana's")
    assert answer == {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "nomadcrew.v1"}}
    assert await stack.consume("realtime", REALTIME) == 0
    stack.gateway.statuses.clear()
    stack.lambdas.cloud.advance(2)
    assert await stack.consume("realtime", REALTIME) == 1
    [frame] = stack.frames("ana's")
    assert cursor_of(frame["payload"].pop("cursor")).base is not None
    assert frame == {
        "type": "connected",
        "payload": {"userId": str(ana), "tripCount": 1, "trips": [str(trip_id)]},
    }


async def test_greeting_a_socket_that_never_opens_is_given_up(stack: Stack) -> None:
    ana, _, _ = await two_members(stack)
    stack.gateway.statuses["ana's"] = 410
    await stack.connect(ana, "ana's")
    for attempt in range(1, realtime.GREET_ATTEMPTS + 1):
        assert await stack.consume("realtime", REALTIME) == (attempt == realtime.GREET_ATTEMPTS)
        stack.lambdas.cloud.advance(10)


async def test_a_dead_connection_is_dropped_and_the_others_see_the_user_offline(
    stack: Stack,
) -> None:
    ana, ben, trip_id = await two_members(stack)
    for user_id, socket in ((ana, "ana's"), (ben, "ben's")):
        await stack.connect(user_id, socket)
    await stack.consume("realtime", REALTIME)
    stack.gateway.sent.clear()
    stack.gateway.statuses["ben's"] = 410
    stack.ports["clock"].advance(SETTLING.total_seconds() + 1)
    await stack.lambdas.run(KEEPALIVE, {})
    await stack.consume("realtime", REALTIME)
    assert await stack.ports["connections"].of([ben], now=NOON) == []
    stack.lambdas.cloud.advance(GRACE_S)
    await stack.consume("realtime", REALTIME)
    frames = [json.loads(frame) for frame in stack.gateway.sent["ana's"] if frame != PONG]
    assert [(one["payload"]["tripId"], one["payload"]["payload"]["isOnline"]) for one in frames] == [
        (str(trip_id), False)
    ]


async def test_frames_are_answered_as_on_the_machine_host(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    await stack.connect(ana, "ana's")
    about = json.dumps({"tripId": str(trip_id)})
    for frame in (
        '{"type":"ping"}',
        f'{{"type":"unsubscribe","payload":{about}}}',
        f'{{"action":"subscribe","payload":{about}}}',
        '{"type":"unknown"}',
        '{"type":"subscribe"}',
    ):
        assert await stack.frame("ana's", ana, body=frame) == {"statusCode": 200}
    assert stack.received("ana's") == ["pong", "unsubscribed", "subscribed", "error"]
    for frame in ("{", ""):
        await stack.frame("ana's", ana, body=frame)
    assert stack.gateway.sent.pop("ana's") == [NOT_JSON, NOT_JSON]


async def test_a_position_by_socket_is_broadcast_to_the_crew(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    for user_id, socket in ((ana, "ana's"), (ben, "ben's")):
        await stack.connect(user_id, socket)
    frame = {"action": "updateLocation", "tripId": str(trip_id), "latitude": 40.2, "longitude": -8.4}
    assert await stack.frame("ana's", ana, body=json.dumps(frame)) == {"statusCode": 200}
    assert stack.received("ana's") == ["locationUpdated"]
    # The bus has two events; the one about sharing holds no position.
    assert await stack.consume("location", LOCATION_STREAM) == 1
    await stack.consume("realtime", REALTIME)
    frames = [one["payload"] for one in stack.frames("ben's") if one["type"] == "event"]
    events = {one["type"]: one["payload"] for one in frames}
    assert events.keys() == {"LOCATION_UPDATED", "LOCATION_SHARING_CHANGED"}
    assert events["LOCATION_UPDATED"]["location"]["latitude"] == 40.2
    assert "40.2" not in json.dumps(events["LOCATION_SHARING_CHANGED"])


async def test_viewers_of_a_live_position_are_listed_to_its_owner(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    eve, cleo = await stack.db.user("eve"), await stack.db.user("cleo")
    for user_id, name in ((eve, "eve's"), (cleo, "cleo's")):
        await stack.db.join(trip_id, user_id, ana)
        await stack.connect(user_id, name)
    for name in ("ana's", "ana's other"):
        await stack.connect(ana, name)
    await stack.connect(ben, "ben's")
    about = {"type": "unsubscribe", "payload": {"tripId": str(trip_id)}}
    await stack.frame("eve's", eve, body=json.dumps(about))
    stack.gateway.statuses["cleo's"] = 410
    frame = {"action": "updateLocation", "tripId": str(trip_id), "latitude": 40.2, "longitude": -8.4}
    await stack.frame("ana's", ana, body=json.dumps(frame))
    await stack.consume("location", LOCATION_STREAM)
    await stack.consume("realtime", REALTIME)
    found = await stack.ports["position_views"].list_for_owner(Access(trip_id, ana, MEMBER), limit=9, offset=0)
    assert [(view.viewer_id, view.hour) for view in found] == [(ben, NOON)]


async def test_a_muted_trip_broadcasts_nothing(stack: Stack) -> None:
    ana, ben, trip_id = await two_members(stack)
    await stack.connect(ben, "ben's")
    await stack.frame("ben's", ben, body=json.dumps({"type": "unsubscribe", "payload": {"tripId": str(trip_id)}}))
    await stack.db.join(trip_id, await stack.db.user("eve"), ana)
    await stack.publish()
    await stack.consume("realtime", REALTIME)
    assert sorted(stack.received("ben's")) == ["connected", "unsubscribed"]


async def test_an_expired_socket_gets_no_reply_so_that_the_client_reconnects(stack: Stack) -> None:
    await stack.connect(ANA, "ana's", expiresAt=str(int(NOON.timestamp())))
    answer = await stack.frame("ana's", ANA, body='{"type":"ping"}', expiresAt=str(int(NOON.timestamp())))
    assert answer == {"statusCode": 200}
    assert stack.received("ana's") == []


async def test_a_closed_socket_is_dropped(stack: Stack) -> None:
    await stack.connect(ANA, "ana's")
    await stack.frame("ana's", ANA, "DISCONNECT")
    assert await stack.ports["connections"].of([ANA], now=NOON) == []


async def test_sockets_get_a_keepalive_frame_twice_a_minute(stack: Stack) -> None:
    await stack.connect(ANA, "ana's")
    await stack.lambdas.cloud.messages(stack.urls["realtime"])
    await stack.lambdas.run(KEEPALIVE, {})
    assert stack.gateway.sent.pop("ana's") == [PONG]
    assert await stack.consume("realtime", REALTIME) == 0
    stack.lambdas.cloud.advance(keepalive.AGAIN_S)
    assert await stack.consume("realtime", REALTIME) == 1
    assert stack.gateway.sent.pop("ana's") == [PONG]


@pytest.mark.parametrize(
    "offer",
    [
        {"queryStringParameters": {"token": "ana"}},
        {"headers": {"Sec-WebSocket-Protocol": "ana"}},
        {"headers": {"sec-websocket-protocol": "nomadcrew.v1, ana"}, "queryStringParameters": None},
    ],
    ids=["query", "subprotocol", "pair"],
)
async def test_a_valid_token_may_connect(stack: Stack, offer: dict[str, Any]) -> None:
    answer = await stack.lambdas.run(AUTHORIZER, {"type": "REQUEST", "methodArn": "arn:x/live/$connect", **offer})
    assert answer["policyDocument"]["Statement"] == [
        {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "arn:x/live/$connect"}
    ]
    assert answer["context"] == {"userId": str(ANA), "sessionId": "", "expiresAt": str(int(NOON.timestamp()) + 900)}


@pytest.mark.parametrize("offer", [{}, {"queryStringParameters": {"token": "forged"}}], ids=["none", "forged"])
async def test_a_missing_or_forged_token_may_not_connect(stack: Stack, offer: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        await stack.lambdas.run(AUTHORIZER, {"type": "REQUEST", "methodArn": "arn:x/live/$connect", **offer})


async def test_an_ended_session_may_not_connect_and_its_sockets_do_nothing(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    session_id = SessionId(uuid7())
    stack.ports["verifier"].known["phone"] = Claims(ana, NOON.replace(hour=13), session_id=session_id)
    offer = {"type": "REQUEST", "methodArn": "arn:x/live/$connect", "queryStringParameters": {"token": "phone"}}
    context = (await stack.lambdas.run(AUTHORIZER, offer))["context"]
    assert context["sessionId"] == str(session_id)
    await stack.connect(ana, "phone's", sessionId=str(session_id))
    about = json.dumps({"type": "unsubscribe", "payload": {"tripId": str(trip_id)}})
    for ended, frames in ((False, ["pong"]), (True, [])):
        stack.ports["open_sessions"].ended |= {session_id} if ended else set()
        await stack.frame("phone's", ana, body='{"type":"ping"}', sessionId=str(session_id))
        assert stack.received("phone's") == frames
    await stack.frame("phone's", ana, body=about, sessionId=str(session_id))
    [connection] = await stack.ports["connections"].of([ana], now=NOON)
    assert connection.muted == frozenset()
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        await stack.lambdas.run(AUTHORIZER, offer)


async def test_the_audit_stores_events_and_rejects_other_messages(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    frames = await invite(stack, trip_id, ana, "eve@example.org")
    await stack.publish()
    await stack.lambdas.cloud.put(stack.urls["audit"], '{"no":"event"}')
    assert await stack.consume("audit", AUDIT) == 2
    s3 = stack.lambdas.cloud.aws.boto("s3")
    [name] = [one["Key"] for one in s3.list_objects_v2(Bucket=stack.ports["bucket"])["Contents"]]
    lines = s3.get_object(Bucket=stack.ports["bucket"], Key=name)["Body"].read().decode().splitlines()
    assert [unpack(line).id for line in lines] == [frames]
    dead = SqsQueue(stack.lambdas.cloud.client(SQS), {"audit": stack.urls["audit"]}, new_id=uuid7, wait_s=0)
    assert [reason for _, reason in await dead.dead("audit", limit=5)] == ["NotAnEvent"]


def ses_event(**detail: Any) -> str:
    """An SES event on the bus, as in its documentation."""
    return json.dumps({"version": "0", "source": "aws.ses", "detail-type": "Email Bounced", "detail": detail})


async def test_a_photo_is_rendered_once_for_duplicate_events(stack: Stack) -> None:
    ana, _, trip_id = await two_members(stack)
    pictures, files = stack.ports["pictures"], stack.ports["picture_files"]
    new = NewPicture(PictureId(uuid7()), FileKind.JPEG, 10)
    command = Command(trip_id, ana, rule("photo", "create"), EventId(uuid7()), NOON)
    await pictures.reserve(command, new, fingerprint=new.id.bytes, now=NOON)
    await files.put(original_key(new.id), photo(), FileKind.JPEG)
    await pictures.complete(command, new.id, FileKind.JPEG, 10)
    await stack.publish()
    [body] = await stack.lambdas.cloud.messages(stack.urls["pictures"])
    for _ in range(2):
        await stack.lambdas.cloud.put(stack.urls["pictures"], body)
    assert await stack.consume("pictures", RENDERER) == 2
    found = await pictures.get(command, new.id)
    assert (found.status, found.width_px, found.height_px) == ("ready", 300, 600)
    into = BytesIO()
    assert await files.fetch(large_key(new.id), into, max_bytes=1 << 20)
    assert opened(into.getvalue()).size == (300, 600)
    assert (await stack.db.types()).count("TRIP_IMAGE_UPDATED") == 1


async def test_a_new_trip_gets_a_background_picture_once(stack: Stack) -> None:
    ana = await stack.db.user("ana")
    trip_id = await stack.db.trip(ana, destination_name="Porto")
    await stack.publish()
    [body] = await stack.lambdas.cloud.messages(stack.urls["backgrounds"])
    for _ in range(2):
        await stack.lambdas.cloud.put(stack.urls["backgrounds"], body)
    assert await stack.consume("backgrounds", BACKGROUNDS) == 2
    trip = await PostgresTrips(stack.db.pool).get(Access(trip_id, ana, rule("trip", "read")))
    assert trip.background_image_url == "https://images.pexels.com/Porto.jpeg"
    assert (await stack.db.types()).count("TRIP_UPDATED") == 1


async def test_an_address_with_a_permanent_bounce_or_complaint_is_suppressed(stack: Stack) -> None:
    put, suppression = stack.lambdas.cloud.put, stack.ports["suppression"]
    gone, full, angry = [{"emailAddress": f"{name}@example.org"} for name in ("gone", "full", "angry")]
    for body in (
        ses_event(eventType="Bounce", bounce={"bounceType": "Permanent", "bouncedRecipients": [gone]}),
        ses_event(eventType="Bounce", bounce={"bounceType": "Transient", "bouncedRecipients": [full]}),
        ses_event(eventType="Complaint", complaint={"complainedRecipients": [angry]}),
        ses_event(eventType="Delivery", delivery={}),
    ):
        await put(stack.urls["feedback"], body)
    assert await stack.consume("feedback", FEEDBACK) == 4
    found = {name: await suppression.is_suppressed(f"{name}@example.org") for name in ("gone", "full", "angry")}
    assert found == {"gone": True, "full": False, "angry": True}


async def test_a_poison_message_goes_to_the_dead_letters_and_can_be_redriven(stack: Stack) -> None:
    await stack.lambdas.cloud.put(stack.urls["notifications"], "poison")
    assert await stack.consume("notifications", NOTIFIER) == 1
    queue = SqsQueue(stack.lambdas.cloud.client(SQS), {"work": stack.urls["notifications"]}, new_id=uuid7, wait_s=0)
    [(job, reason)] = await queue.dead("work", limit=5)
    assert (job.body, reason) == ("poison", "NotAnEvent")
    assert await queue.redrive("work") == 1
    assert await stack.lambdas.cloud.messages(stack.urls["notifications"]) == ["poison"]


def test_detail_types_match_the_specification() -> None:
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
