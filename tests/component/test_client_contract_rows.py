"""Rows of the contract that no other test asserts whole: see docs/contract-coverage.md."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from nomadcrew.core.documents import upkeep
from nomadcrew.core.ids import EventId, InvitationId, TripId
from nomadcrew.core.notifications.model import Draft, Notice
from nomadcrew.core.notifications.preferences import Kind
from tests.component.requests import FORM_DATA, document_form
from tests.world import NEW_TRIP, User, World

FEEDBACK = {"name": "Ana", "email": "ana@example.org", "message": "The map is blank."}


@pytest.fixture
async def ana(here: World) -> User:
    return await here.user("ana")


@pytest.fixture
async def ben(here: World) -> User:
    return await here.user("ben")


async def ok(here: World, method: str, path: str, by: User | None, body: object = None) -> Any:
    reply = await here.call(method, path, by=by, body=body)
    assert reply.status < 300, reply.body
    return reply.json if reply.body else None


async def refusal(here: World, method: str, path: str, by: User | None, body: object = None) -> tuple[int, str]:
    reply = await here.call(method, path, by=by, body=body)
    return reply.status, reply.code


@pytest.mark.contract("rest-core.feedback.limits")
@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "x" * 101}, {"email": "nobody"}, {"email": f"{'x' * 250}@b.org"},
        {"message": "too short"}, {"message": "x" * 5001}, {"source": "elsewhere"}, {"message": None},
    ],
)  # fmt: skip
async def test_feedback_out_of_its_limits_is_refused(here: World, change: dict[str, object]) -> None:
    assert (await here.call("POST", "/v1/feedback", body=FEEDBACK | change)).status == 400
    longest = {"name": "x" * 100, "message": "x" * 5000}
    assert (await here.call("POST", "/v1/feedback", body=FEEDBACK | longest)).status == 201


@pytest.mark.contract("rest-core.feedback.default-source")
async def test_feedback_without_a_source_is_from_the_landing_page(here: World) -> None:
    await ok(here, "POST", "/v1/feedback", None, FEEDBACK)
    [stored] = await here.ports.feedback_box.list_newest(limit=10)
    assert stored.source == "landing"


@pytest.mark.contract("rest-core.feedback.rate-limit")
async def test_feedback_is_rate_limited(here: World) -> None:
    replies = [
        await here.call("POST", "/v1/feedback", body=FEEDBACK | {"message": f"Message number {n}"})
        for n in range(11)
    ]
    assert [reply.status for reply in replies] == [201] * 10 + [429]
    assert (replies[-1].json["type"], int(replies[-1].headers["retry-after"]) > 0) == ("RATE_LIMIT", True)


@pytest.mark.contract("rest-core.me.display-name", "rest-core.me.absent-names")
async def test_a_display_name_is_made_of_the_names_that_are_set(here: World, ana: User) -> None:
    shown = []
    for first, last in (("Ana", "Costa"), ("Ana", ""), ("", "Costa"), ("", "")):
        profile = await ok(
            here, "PUT", f"/v1/users/{ana.id}", ana, {"firstName": first, "lastName": last, "profilePictureUrl": ""}
        )
        shown.append(profile["displayName"])
        assert (profile.get("firstName", ""), profile.get("lastName", "")) == (first, last)
        assert ("firstName" in profile, "lastName" in profile) == (bool(first), bool(last))
        assert "avatarUrl" not in profile
    assert shown == ["Ana Costa", "Ana", "Costa", "ana"]


@pytest.mark.contract("rest-core.search.limit")
async def test_a_user_search_has_a_page_size(here: World, ana: User) -> None:
    for n in range(22):
        await here.user(f"traveller{n:02}")
    for query, size in (("", 10), ("&limit=3", 3), ("&limit=20", 20), ("&limit=0", 10), ("&limit=x", 10)):
        found = await ok(here, "GET", f"/v1/users/search?q=traveller{query}", ana)
        assert len(found["users"]) == size
    assert len((await ok(here, "GET", "/v1/users/search?q=traveller&limit=21", ana))["users"]) <= 20


@pytest.mark.contract("rest-core.change-user.fix-taken")
async def test_the_username_of_another_user_is_refused_in_a_change(here: World, ana: User, ben: User) -> None:
    taken = {"username": ben.username.upper()}
    assert await refusal(here, "PUT", f"/v1/users/{ana.id}", ana, taken) == (400, "username_taken")


@pytest.mark.contract("rest-core.remove-push-token", "rest-core.remove-push-tokens", "rest-activity.push-tokens")
async def test_a_phone_is_deregistered_by_a_body_and_all_phones_without_one(here: World, ana: User) -> None:
    async def phones() -> set[str]:
        push_id = EventId(here.ports.new_id())
        claimed = (await here.ports.push_tokens.claim(push_id, [ana.id], now=here.clock())).phones
        await here.ports.push_tokens.release(push_id, [phone.id for phone in claimed])
        return {phone.token for phone in claimed}

    for token in ("one", "two", "three"):
        await ok(here, "POST", "/v1/users/push-token", ana, {"token": token, "deviceType": "android"})
    for token in ("one", "one", "unknown"):
        reply = await here.call("DELETE", "/v1/users/push-token", by=ana, body={"token": token})
        assert reply.status == 204
    assert await phones() == {"two", "three"}
    assert (await here.call("DELETE", "/v1/users/push-token", by=ana, body={})).status == 400
    for _ in range(2):
        assert (await here.call("DELETE", "/v1/users/push-tokens", by=ana)).status == 204
    assert await phones() == set()


@pytest.mark.contract("rest-core.trip.fields")
async def test_a_trip_has_flat_fields_without_absent_ones(here: World, ana: User) -> None:
    trip = await here.trip(ana, destinationAddress=None, description="")
    shown = await ok(here, "GET", f"/v1/trips/{trip}", ana)
    assert {
        "id", "name", "description", "destinationName", "destinationLatitude", "destinationLongitude", "startDate",
        "endDate", "status", "createdBy", "createdAt", "updatedAt", "backgroundImageUrl",
    } <= shown.keys()  # fmt: skip
    assert not {"destinationPlaceId", "destinationAddress", "deletedAt"} & shown.keys()
    assert (shown["description"], shown["backgroundImageUrl"]) == ("", "")
    assert shown["destinationLatitude"] == NEW_TRIP["destinationLatitude"]
    assert (shown["startDate"], shown["endDate"]) == ("2026-12-01T00:00:00Z", "2026-12-09T00:00:00Z")


@pytest.mark.contract("rest-core.change-trip.dates")
async def test_dates_that_contradict_each_other_are_refused_in_a_change(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}"
    ends_before = {"endDate": "2026-11-30T00:00:00Z"}
    assert await refusal(here, "PUT", path, ana, ends_before) == (400, "invalid_dates")
    both = ends_before | {"startDate": "2026-11-30T00:00:00Z"}
    assert (await ok(here, "PUT", path, ana, both))["endDate"] == "2026-11-30T00:00:00Z"


@pytest.mark.contract("rest-core.details")
async def test_the_details_of_a_trip_are_the_trip_and_its_members(here: World, ana: User, ben: User) -> None:
    trip = await here.trip(ana)
    here.clock.advance(1)
    await here.join(trip, ana, ben)
    details = await ok(here, "GET", f"/v1/trips/{trip}/details", ben)
    assert details.keys() == {"trip", "members"}
    assert details["trip"]["id"] == str(trip)
    assert [(member["userId"], member["role"]) for member in details["members"]] == [
        (str(ana.id), "OWNER"), (str(ben.id), "MEMBER"),
    ]  # fmt: skip


@pytest.mark.contract("rest-core.members")
async def test_members_are_listed_oldest_first_with_their_users(here: World, ana: User, ben: User) -> None:
    trip, eve = await here.trip(ana), await here.user("eve")
    for guest in (ben, eve):
        here.clock.advance(1)
        await here.join(trip, ana, guest)
    await ok(here, "DELETE", f"/v1/trips/{trip}/members/{eve.id}", ana)
    listed = await ok(here, "GET", f"/v1/trips/{trip}/members", ben)
    assert [member["user"]["id"] for member in listed] == [str(ana.id), str(ben.id)]
    member = listed[1]
    assert member["membership"] == {
        "id": member["membership"]["id"], "tripId": str(trip), "userId": str(ben.id), "role": "MEMBER",
        "status": "ACTIVE", "createdAt": "2026-11-22T12:00:01Z", "updatedAt": "2026-11-22T12:00:01Z",
    }  # fmt: skip
    assert UUID(member["membership"]["id"])
    assert (member["user"]["username"], member["user"]["displayName"]) == ("ben", "Ben")
    assert "avatarUrl" not in member["user"]


async def a_former_trip(here: World, ana: User, ben: User) -> None:
    """A trip of both, after which one may add the other without an invitation."""
    await here.join(await here.trip(ana, name="former"), ana, ben)


@pytest.mark.contract("rest-core.add-member", "rest-core.add-member.again", "rest-core.memberships.fix-stored")
async def test_a_member_is_added_directly_and_again_without_an_effect(here: World, ana: User, ben: User) -> None:
    await a_former_trip(here, ana, ben)
    trip = await here.trip(ana)
    path = f"/v1/trips/{trip}/members"
    reply = await here.call("POST", path, by=ana, body={"userId": str(ben.id), "role": "Admin"})
    assert reply.status == 201
    listed = await ok(here, "GET", path, ana)
    assert reply.json == next(m["membership"] for m in listed if m["user"]["id"] == str(ben.id))
    assert (reply.json["role"], reply.json["status"]) == ("ADMIN", "ACTIVE")
    again = await ok(here, "POST", path, ana, {"userId": str(ben.id), "role": "member"})
    assert again == reply.json


@pytest.mark.contract("rest-core.add-member.refused", "rest-core.role.refused")
async def test_a_wrong_role_is_refused_for_a_new_and_an_old_member(here: World, ana: User, ben: User) -> None:
    await a_former_trip(here, ana, ben)
    trip = await here.trip(ana)
    path, wrong = f"/v1/trips/{trip}/members", {"userId": str(ben.id), "role": "boss"}
    assert await refusal(here, "POST", path, ana, wrong) == (400, "invalid_role")
    await ok(here, "POST", path, ana, wrong | {"role": "member"})
    assert await refusal(here, "PUT", f"{path}/{ben.id}/role", ana, {"role": "boss"}) == (400, "invalid_role")


@pytest.mark.contract("rest-core.role", "rest-core.memberships.fix-stored")
async def test_a_role_is_changed_in_any_case_and_the_reply_is_the_stored_membership(
    here: World, ana: User, ben: User
) -> None:
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    path = f"/v1/trips/{trip}/members"
    changed = await ok(here, "PUT", f"{path}/{ben.id}/role", ana, {"role": "aDmIn"})
    listed = await ok(here, "GET", path, ana)
    assert changed == next(m["membership"] for m in listed if m["user"]["id"] == str(ben.id))
    assert (changed["role"], changed["status"], changed["createdAt"]) == ("ADMIN", "ACTIVE", "2026-11-22T12:00:00Z")


@pytest.mark.contract("permissions.same-role")
async def test_a_change_to_the_same_role_succeeds(here: World, ana: User, ben: User) -> None:
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    path = f"/v1/trips/{trip}/members/{ben.id}/role"
    assert (await ok(here, "PUT", path, ana, {"role": "member"}))["role"] == "MEMBER"


@pytest.mark.contract("rest-core.invitations")
async def test_invitations_are_listed_in_every_status_newest_first(here: World, ana: User, ben: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/invitations"
    ids = {}
    for address in (ben.email, "declined@example.org", "open@example.org"):
        here.clock.advance(1)
        ids[address] = (await ok(here, "POST", path, ana, {"email": address, "role": "member"}))["id"]
    await ok(here, "POST", f"/v1/invitations/{ids[ben.email]}/accept", ben)
    await ok(here, "DELETE", f"{path}/{ids['declined@example.org']}", ana)
    listed = await ok(here, "GET", path, ana)
    assert [(invitation["email"], invitation["status"]) for invitation in listed] == [
        ("open@example.org", "PENDING"), ("declined@example.org", "DECLINED"), (ben.email, "ACCEPTED"),
    ]  # fmt: skip
    assert listed[0]["inviterId"] == str(ana.id)


@pytest.mark.contract("rest-core.revoke")
async def test_a_revoked_invitation_is_declined_and_cannot_be_revoked_again(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/invitations"
    invitation = await ok(here, "POST", path, ana, {"email": "new@example.org", "role": "member"})
    assert (await here.call("DELETE", f"{path}/{invitation['id']}", by=ana)).status == 204
    assert [each["status"] for each in await ok(here, "GET", path, ana)] == ["DECLINED"]
    refused = await refusal(here, "DELETE", f"{path}/{invitation['id']}", ana)
    assert refused == (400, "invitation_not_pending")


@pytest.mark.contract("rest-core.accept.refused")
async def test_the_refusals_of_invitations_have_their_codes(here: World, ana: User, ben: User) -> None:
    trip, eve = await here.trip(ana), await here.user("eve")
    body = {"email": ben.email, "role": "member"}
    invitation = (await ok(here, "POST", f"/v1/trips/{trip}/invitations", ana, body))["id"]
    for answer in ("accept", "decline"):
        path = f"/v1/invitations/{invitation}/{answer}"
        assert await refusal(here, "POST", path, eve) == (403, "email_mismatch")
    here.clock.advance(timedelta(days=7).total_seconds())
    late = User(ben.id, ben.email, ben.username, await here.token(ben.id, ben.username))
    for answer in ("accept", "decline"):
        path = f"/v1/invitations/{invitation}/{answer}"
        assert await refusal(here, "POST", path, late) == (400, "invitation_expired")
    owner = User(ana.id, ana.email, ana.username, await here.token(ana.id, ana.username))
    await ok(here, "DELETE", f"/v1/trips/{trip}/invitations/{invitation}", owner)
    path = f"/v1/invitations/{invitation}/accept"
    assert await refusal(here, "POST", path, late) == (400, "invitation_not_pending")


@pytest.mark.contract("permissions.fix-decline")
async def test_an_invitation_is_declined_by_its_token_whatever_the_case_of_its_address(
    here: World, ana: User, ben: User
) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/invitations"
    invitation = await ok(here, "POST", path, ana, {"email": "BEN@Example.ORG", "role": "member"})
    stored = await here.ports.invitations.get_for_mail(InvitationId(UUID(invitation["id"])))
    assert stored is not None
    token = here.ports.invitation_links.issue(stored[0], now=here.clock())
    reply = await here.call("POST", "/v1/invitations/decline", by=ben, body={"token": token})
    assert reply.status == 204
    assert [each["status"] for each in await ok(here, "GET", path, ana)] == ["DECLINED"]


@pytest.mark.contract("permissions.site-admin")
async def test_an_administrator_of_the_site_has_no_rights_on_trips(here: World, ana: User, ben: User) -> None:
    trip = await here.trip(ana)
    admin = User(ben.id, ben.email, ben.username, await here.token(ben.id, ben.username, is_admin=True))
    for method, path, body in (("GET", "", None), ("PUT", "", {"name": "mine"}), ("DELETE", "", None),
                               ("GET", "/members", None), ("GET", "/todos", None)):  # fmt: skip
        assert await refusal(here, method, f"/v1/trips/{trip}{path}", admin, body) == (403, "not_trip_member")


@pytest.mark.contract("rest-activity.pages.notifications")
async def test_a_page_of_notifications_above_the_limit_has_the_default_size(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    drafts = [
        Draft.of(EventId(here.ports.new_id()), ana.id, Notice(Kind.TRIP, "TRIP_UPDATED", {}, [ana.id]))
        for _ in range(25)
    ]
    await here.ports.notifications.store(TripId(trip), drafts, caused_at=here.clock(), now=here.clock())
    for query, size in (("", 20), ("?limit=101", 20), ("?limit=0", 20), ("?limit=x", 20), ("?limit=22", 22),
                        ("?limit=100", 25), ("?offset=20", 5), ("?offset=-1", 20)):  # fmt: skip
        assert len(await ok(here, "GET", f"/v1/notifications{query}", ana)) == size


@pytest.mark.contract("rest-activity.notifications.delete")
async def test_a_malformed_notification_id_is_refused_in_a_deletion(here: World, ana: User) -> None:
    refused = await refusal(here, "DELETE", "/v1/notifications/nonsense", ana)
    assert refused == (400, "invalid_notification_id")


@pytest.mark.contract("rest-activity.chat.send", "rest-activity.chat.send.compat-names")
async def test_a_sent_message_has_the_fields_of_the_contract(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    path = f"/v1/trips/{trip}/chat/messages"
    first = await ok(here, "POST", path, ana, {"message": " hello "})
    expected = {"tripId": str(trip), "userId": str(ana.id), "message": "hello", "createdAt": "2026-11-22T12:00:00Z"}
    assert expected.items() <= first.items()
    assert UUID(first["id"])
    assert "replyToId" not in first
    reply = await ok(here, "POST", path, ana, {"content": "and you?", "replyToId": first["id"]})
    assert (reply["message"], reply["replyToId"]) == ("and you?", first["id"])
    assert await refusal(here, "POST", path, ana, {"message": " "}) == (400, "empty_message")


@pytest.mark.contract("rest-activity.chat.send.compat-id")
@pytest.mark.parametrize("name", ["id", "messageId", "temp_id"])
async def test_each_name_of_a_clients_own_id_makes_a_repeat_harmless(here: World, ana: User, name: str) -> None:
    path, own = f"/v1/trips/{await here.trip(ana)}/chat/messages", str(uuid4())
    for _ in range(2):
        assert (await ok(here, "POST", path, ana, {"message": "once", name: own}))["id"] == own
    assert [m["id"] for m in (await ok(here, "GET", path, ana))["messages"]] == [own]


@pytest.mark.contract("rest-activity.chat.list.compat-cursors")
async def test_pages_of_a_chat_have_a_limit_and_an_offset(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/chat/messages"
    for n in range(4):
        here.clock.advance(1)
        await ok(here, "POST", path, ana, {"message": str(n)})

    async def texts(query: str) -> list[str]:
        return [message["content"] for message in (await ok(here, "GET", f"{path}{query}", ana))["messages"]]

    assert await texts("?limit=2&offset=1") == ["2", "1"]
    assert await texts("?limit=x&offset=-1") == ["3", "2", "1", "0"]
    page = await ok(here, "GET", f"{path}?limit=1000", ana)
    assert (page["pagination"]["limit"], page["pagination"]["has_more"]) == (100, False)
    assert (await ok(here, "GET", path, ana))["pagination"]["limit"] == 50


@pytest.mark.contract("rest-activity.chat.react")
async def test_an_emoji_has_at_most_ten_characters(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/chat/messages"
    message = await ok(here, "POST", path, ana, {"message": "hello"})
    reactions = f"{path}/{message['id']}/reactions"
    for wrong in ("x" * 11, "", "\n"):
        assert await refusal(here, "POST", reactions, ana, {"emoji": wrong}) == (400, "invalid_emoji")
    assert (await ok(here, "POST", reactions, ana, {"emoji": "x" * 10}))["emoji"] == "x" * 10


@pytest.mark.contract("rest-activity.locations.fix-one-row")
async def test_the_list_of_positions_has_one_row_of_a_member(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/locations"
    for latitude in (41.15, 41.16):
        here.clock.advance(60)
        await ok(here, "POST", path, ana, {"latitude": latitude, "longitude": -8.61})
    assert [row["latitude"] for row in (await ok(here, "GET", path, ana))["locations"]] == [41.16]
    here.clock.advance(60)
    await ok(here, "POST", path, ana, {"latitude": 41.17, "longitude": -8.61, "privacy": "hidden"})
    ben = await here.user("ben")
    await here.join(UUID(path.split("/")[3]), ana, ben)
    assert (await ok(here, "GET", path, ben))["locations"] == []


@pytest.mark.contract("rest-activity.todos.change")
async def test_an_empty_change_of_a_to_do_returns_it_whole(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/todos"
    todo = await ok(here, "POST", path, ana, {"text": "pack"})
    assert await ok(here, "PUT", f"{path}/{todo['id']}", ana, {}) == todo
    here.clock.advance(1)
    changed = await ok(here, "PUT", f"{path}/{todo['id']}", ana, {"status": "COMPLETE"})
    assert changed == todo | {"status": "COMPLETE", "updatedAt": "2026-11-22T12:00:01Z"}
    for wrong in ({"status": "done"}, {"text": ""}, {"text": "x" * 256}):
        assert (await here.call("PUT", f"{path}/{todo['id']}", by=ana, body=wrong)).status == 400


@pytest.mark.contract("rest-activity.todos.delete")
async def test_a_deleted_to_do_is_answered_with_a_message_and_then_missing(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/todos"
    todo = await ok(here, "POST", path, ana, {"text": "pack"})
    assert (await ok(here, "DELETE", f"{path}/{todo['id']}", ana)).keys() == {"message"}
    for method in ("GET", "DELETE"):
        assert await refusal(here, method, f"{path}/{todo['id']}", ana) == (404, "todo_not_found")


@pytest.mark.contract("rest-activity.wallet.token.refused")
async def test_a_link_to_a_document_is_valid_for_15_minutes(here: World, ana: User) -> None:
    headers = dict((FORM_DATA,))
    reply = await here.call("POST", "/v1/wallet/documents", by=ana, raw=document_form(), headers=headers)
    path = f"/v1/wallet/files/{reply.json['downloadUrl']}"
    here.clock.advance(15 * 60 - 1)
    assert (await here.call("GET", path)).status == 307
    here.clock.advance(1)
    assert await refusal(here, "GET", path, None) == (400, "token_expired")


@pytest.mark.contract("jobs.wallet-purge.fix-account")
async def test_documents_of_a_deleted_account_are_deleted(here: World, ana: User, tmp_path: Path) -> None:
    headers = dict((FORM_DATA,))
    reply = await here.call("POST", "/v1/wallet/documents", by=ana, raw=document_form(), headers=headers)
    assert reply.status == 201
    stored = [file for file in tmp_path.rglob(reply.json["id"]) if file.is_file()]
    assert len(stored) == 1
    async with here.pool.connection() as connection:
        await connection.execute("DELETE FROM user_profiles WHERE id = $1", ana.id)
    ports = here.ports
    for hours in (0, 2):
        now = here.clock() + timedelta(hours=hours)
        await upkeep.sweep(documents=ports.documents, files=ports.document_files, now=now)
    assert not stored[0].exists()


@pytest.mark.contract("jobs.notifications")
async def test_old_notifications_are_deleted_after_30_days(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    draft = Draft.of(EventId(here.ports.new_id()), ana.id, Notice(Kind.TRIP, "TRIP_UPDATED", {}, [ana.id]))
    await here.ports.notifications.store(TripId(trip), [draft], caused_at=here.clock(), now=here.clock())
    for later_s, deleted in ((-1, 0), (1, 1)):
        now = here.clock() + timedelta(days=30, seconds=later_s)
        assert await here.ports.retention.delete_notifications(now) == deleted


@pytest.mark.contract("jobs.settings.environment")
@pytest.mark.parametrize(
    "headers", [{"x-simulator-bypass": "true"}, {"x-simulator": "1"}, {"authorization": "Bearer simulator"}]
)
async def test_no_header_signs_in_without_a_token(here: World, headers: dict[str, str]) -> None:
    assert (await here.call("GET", "/v1/trips", headers=headers)).status == 401
