"""The delivery plan of events: recipients, channels and texts that fit a push."""

import json
from typing import Any, cast

import pytest

from nomadcrew.core.events import PASSING
from nomadcrew.core.ids import TripId, UserId, uuid7
from nomadcrew.core.notifications.delivery import fitted
from nomadcrew.core.notifications.model import DeliveryPlan, Facts, Recipient
from nomadcrew.core.notifications.ports import Notifications
from nomadcrew.core.notifications.push import MAX_PAYLOAD_BYTES, PushMessage
from nomadcrew.core.notifications.service import plan_delivery
from tests.fakes import ANA, BEN, NOON, an_event

TRIP = TripId(uuid7())
CREW = {ANA: Recipient("Ana", is_member=True, has_phone=True), BEN: Recipient("Ben", is_member=True)}


class FakeNotifications:
    def __init__(self, facts: Facts | None) -> None:
        self._facts = facts

    async def facts(self, *_: object) -> Facts | None:
        return self._facts


async def plan(type_: str, payload: dict[str, Any], facts: Facts | None, **given: Any) -> DeliveryPlan:
    event = an_event(type=type_, payload=json.dumps(payload), **{"trip_id": TRIP, **given})
    notifications = cast(Notifications, FakeNotifications(facts))
    return await plan_delivery(event, notifications=notifications, now=NOON)


async def test_an_event_without_a_trip_or_of_a_deleted_one_notifies_no_member() -> None:
    assert await plan("MEMBER_ADDED", {}, Facts("Porto", CREW), trip_id=None) == DeliveryPlan()
    assert await plan("MEMBER_ADDED", {}, None) == DeliveryPlan()


ENDING = {
    "userId": str(ANA), "documentId": "7", "documentType": "visa", "name": "Visa", "tripId": None,
    "endsOn": "2027-02-03", "days": 7,
}  # fmt: skip


async def test_the_end_of_a_document_notifies_its_user_without_a_trip() -> None:
    planned = await plan("document.ends", ENDING, Facts("", CREW), trip_id=None)
    assert [(draft.user_id, draft.type) for draft in planned.drafts] == [(ANA, "DOCUMENT_ENDS")]
    assert [set(task.recipients) for task in planned.pushes] == [{ANA}]
    unknown = await plan("document.ends", ENDING | {"userId": None}, Facts("", CREW), trip_id=None)
    assert unknown == DeliveryPlan()


@pytest.mark.parametrize(("fields", "notified"), [(["backgroundImageUrl"], []), (["endDate"], [BEN])])
async def test_a_found_background_picture_notifies_no_member(fields: list[str], notified: list[UserId]) -> None:
    planned = await plan("TRIP_UPDATED", {"changedFields": fields}, Facts("Porto", CREW), actor_id=ANA)
    assert [draft.user_id for draft in planned.drafts] == notified


async def test_a_declined_invitation_notifies_its_inviter_by_list_and_phone() -> None:
    payload = {"inviterId": str(ANA), "invitationId": "7"}
    planned = await plan("invitation.declined", payload, Facts("Porto", CREW), actor_id=BEN)
    assert [(draft.user_id, draft.type) for draft in planned.drafts] == [(ANA, "TRIP_INVITATION_DECLINED")]
    assert [set(task.recipients) for task in planned.pushes] == [{ANA}]


async def test_a_disabled_webhook_notifies_the_member_whom_the_event_names() -> None:
    payload = {"webhookId": "7", "reason": "gone", "userId": str(ANA)}
    planned = await plan("webhook.disabled", payload, Facts("Porto", CREW), actor_id=None)
    assert [(draft.user_id, draft.type) for draft in planned.drafts] == [(ANA, "TRIP_UPDATE")]
    unknown = await plan("webhook.disabled", payload | {"userId": None}, Facts("Porto", CREW), actor_id=None)
    assert unknown == DeliveryPlan()


async def test_a_user_without_a_phone_gets_no_push() -> None:
    payload = {"inviterId": str(BEN), "invitationId": "7"}
    planned = await plan("invitation.declined", payload, Facts("Porto", CREW), actor_id=ANA)
    assert ([draft.user_id for draft in planned.drafts], planned.pushes) == ([BEN], [])


async def test_a_role_that_a_member_changed_alone_notifies_no_member() -> None:
    payload = {"userId": str(ANA), "changedBy": str(ANA), "role": "ADMIN", "previousRole": "OWNER"}
    assert await plan("MEMBER_ROLE_UPDATED", payload, Facts("Porto", CREW)) == DeliveryPlan()


async def test_a_removed_member_with_a_deleted_profile_gets_nothing() -> None:
    gone = UserId(uuid7())
    payload = {"userId": str(gone), "removedBy": str(ANA)}
    planned = await plan("MEMBER_REMOVED", payload, Facts("Porto", CREW))
    assert gone not in {draft.user_id for draft in planned.drafts}


@pytest.mark.parametrize("type_", sorted(PASSING))
async def test_a_passing_event_is_on_no_list_and_does_not_concern_its_actor(type_: str) -> None:
    payload = {
        "user": {"id": str(BEN), "name": "Ben"}, "messageId": "7", "content": "Hi", "userId": str(BEN),
        "place": "destination",
    }  # fmt: skip
    planned = await plan(type_, payload, Facts("Porto", CREW), actor_id=BEN)
    assert ([toast.user_ids for toast in planned.toasts], planned.drafts) == ([[ANA]], [])
    assert [set(task.recipients) for task in planned.pushes] == [{ANA}]


@pytest.mark.parametrize("part", ["title", "body", "data"])
def test_the_longest_text_of_a_push_is_cut_until_it_fits(part: str) -> None:
    long = "word " * MAX_PAYLOAD_BYTES
    message = PushMessage(
        "token",
        long if part == "title" else "t",
        long if part == "body" else "b",
        {"text": long if part == "data" else "d", "id": 7},
    )
    cut = fitted(message)
    assert len(json.dumps({"title": cut.title, "body": cut.body, "data": cut.data})) <= MAX_PAYLOAD_BYTES + 100
    assert cut.data["id"] == 7


def test_a_push_of_many_short_texts_stays_as_it_is() -> None:
    message = PushMessage(
        "token", "t", "b", {f"key{number}": "x" * 20 for number in range(MAX_PAYLOAD_BYTES // 20)}
    )
    assert fitted(message) == message
