"""The contract with the shipped app, and the contract's fixes of the monolith."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from nomadcrew.core.ids import UserId
from tests.world import NEW_TRIP, NOON, User, World

PROBLEM = {"type", "title", "status", "detail", "message", "error", "code", "details", "request_id"}


@pytest.fixture
async def ana(here: World) -> User:
    return await here.user("ana")


@pytest.fixture
async def ben(here: World) -> User:
    return await here.user("ben")


@pytest.mark.contract("rest-core.create-trip", "rest-core.create-trip.fix-times")
async def test_a_created_trip_has_a_nested_destination_and_real_times(here: World, ana: User) -> None:
    made = (await here.call("POST", "/v1/trips", by=ana, body=NEW_TRIP)).json
    assert made["destination"] == {
        "address": "Porto, PT", "placeId": "", "coordinates": {"lat": 41.15, "lng": -8.61}, "name": "Porto",
    }  # fmt: skip
    assert made["createdAt"] == made["updatedAt"] == "2026-11-22T12:00:00Z"
    assert (made["startDate"], made["status"], made["invitations"]) == ("2026-12-01T00:00:00Z", "PLANNING", [])
    assert [m["role"] for m in made["members"]] == ["OWNER"]


@pytest.mark.contract("rest-core.create-trip.fix-times")
async def test_a_trips_dates_are_the_calendar_dates_as_written(here: World, ana: User) -> None:
    body = NEW_TRIP | {"startDate": "2026-07-01T23:30:00-05:00", "endDate": "2026-07-03T00:10:00+14:00"}
    made = (await here.call("POST", "/v1/trips", by=ana, body=body)).json
    assert (made["startDate"], made["endDate"]) == ("2026-07-01T00:00:00Z", "2026-07-03T00:00:00Z")


@pytest.mark.contract("rest-core.create-trip.fix-400", "rest-core.bind")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("startDate", "2026-12-01"), ("endDate", "2026-11-01T00:00:00Z"), ("status", "planning"), ("name", ""),
        ("name", "x" * 256), ("destinationLatitude", 91), ("destinationLongitude", None), ("name", "nul\u0000"),
        ("backgroundImageUrl", "x" * 513), ("endDate", None), ("timezone", "Mars/Olympus"), ("timezone", "x" * 65),
    ],
)  # fmt: skip
async def test_an_invalid_trip_gets_400(here: World, ana: User, field: str, value: object) -> None:
    reply = await here.call("POST", "/v1/trips", by=ana, body=NEW_TRIP | {field: value})
    assert reply.status == 400
    assert reply.json["type"] == "VALIDATION"
    assert (await here.call("GET", "/v1/trips", by=ana)).json == []


@pytest.mark.contract("rest-core.create-trip.fix-zero")
async def test_zero_coordinates_are_valid(here: World, ana: User) -> None:
    body = NEW_TRIP | {"destinationLatitude": 0, "destinationLongitude": 0}
    assert (await here.call("POST", "/v1/trips", by=ana, body=body)).status == 201


async def test_keys_are_read_in_any_case_and_unknown_ones_ignored(here: World, ana: User) -> None:
    body = {key.upper(): value for key, value in NEW_TRIP.items()} | {"simulator": True}
    assert (await here.call("POST", "/v1/trips", by=ana, body=body)).status == 201


@pytest.mark.contract("rest-core.trips.fix-members", "permissions.e7")
async def test_lists_and_single_trips_carry_members_with_names_and_roles(here: World, ana: User, ben: User) -> None:
    trip = await here.trip(ana)
    await here.join(trip, ana, ben, "admin")
    single = (await here.call("GET", f"/v1/trips/{trip}", by=ben)).json
    [listed] = (await here.call("GET", "/v1/trips", by=ben)).json
    for shown in (single, listed):
        assert [(m["userId"], m["role"], m["name"], m["createdAt"]) for m in shown["members"]] == [
            (str(ana.id), "OWNER", "Ana", "2026-11-22T12:00:00Z"),
            (str(ben.id), "ADMIN", "Ben", "2026-11-22T12:00:00Z"),
        ]
        assert (shown["participantCount"], shown["createdBy"], shown["createdByName"]) == (2, str(ana.id), "Ana")


@pytest.mark.contract("rest-core.change-trip.fix-nested")
async def test_a_nested_destination_is_understood(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    nested = {"destination": {"address": "Rua 1", "placeId": "p1", "coordinates": {"lat": 1.5, "lng": 2.5}}}
    changed = (await here.call("PUT", f"/v1/trips/{trip}", by=ana, body=nested)).json
    assert (changed["destinationAddress"], changed["destinationPlaceId"]) == ("Rua 1", "p1")
    assert (changed["destinationLatitude"], changed["destinationLongitude"]) == (1.5, 2.5)


@pytest.mark.contract("rest-core.status.fix-400")
async def test_an_illegal_status_change_gets_400_naming_both_statuses(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    reply = await here.call("PATCH", f"/v1/trips/{trip}/status", by=ana, body={"status": "COMPLETED"})
    assert (reply.status, reply.code) == (400, "invalid_status_transition")
    assert reply.json["details"] == "a trip cannot go from PLANNING to COMPLETED"


@pytest.mark.contract("permissions.fix-deleted", "rest-activity.guards.fix-deleted")
async def test_a_deleted_trip_is_404_on_every_route_for_its_members(here: World, ana: User, ben: User) -> None:
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    assert (await here.call("DELETE", f"/v1/trips/{trip}", by=ana)).status == 204
    for path in ("", "/details", "/members", "/todos"):
        assert (await here.call("GET", f"/v1/trips/{trip}{path}", by=ben)).status == 404
    assert (await here.call("POST", f"/v1/trips/{trip}/todos", by=ben, body={"text": "x"})).status == 404


@pytest.mark.contract("permissions.codes", "rest-activity.guards")
@pytest.mark.parametrize("trip", ["not-a-uuid", "00000000-0000-0000-0000-00000000000x", str(uuid4())])
async def test_a_malformed_or_unknown_trip_id_gets_the_refusal_of_a_foreign_trip(
    here: World, ana: User, trip: str
) -> None:
    reply = await here.call("GET", f"/v1/trips/{trip}", by=ana)
    assert (reply.status, reply.code) == (403, "not_trip_member")


@pytest.mark.contract("rest-activity.todos.fields")
async def test_a_todo_without_a_plan_has_the_fields_of_the_contract(here: World, ana: User) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/todos"
    todo = (await here.call("POST", path, by=ana, body={"text": "pack"})).json
    assert set(todo) == {"id", "tripId", "text", "status", "createdBy", "createdAt", "updatedAt"}
    assert (await here.call("GET", path, by=ana)).json["data"] == [todo]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("assigneeId", "ben"), ("assigneeId", "00000000-0000-4000-8000-000000000001"),
        ("dueAt", "2026-12-01T18:00:00"), ("dueAt", "soon"), ("dueAt", "0001-01-01T00:00:00+14:00"),
        ("position", 1e10),
    ],
)  # fmt: skip
async def test_an_invalid_plan_of_a_todo_is_refused(here: World, ana: User, field: str, value: object) -> None:
    path = f"/v1/trips/{await here.trip(ana)}/todos"
    todo = (await here.call("POST", path, by=ana, body={"text": "pack"})).json
    assert (await here.call("POST", path, by=ana, body={"text": "hats", field: value})).status == 400
    assert (await here.call("PUT", f"{path}/{todo['id']}", by=ana, body={field: value})).status == 400


@pytest.mark.contract(
    "rest-activity.pages",
    "rest-activity.pages.envelope",
    "rest-activity.todos.create",
    "rest-activity.todos.list",
    "rest-activity.todos.fix-times",
    "rest-activity.todos.fix-characters",
    "rest-activity.todos.fix-404",
)
async def test_a_todo_counts_characters_and_needs_no_trip_in_its_body(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    path = f"/v1/trips/{trip}/todos"
    assert (await here.call("POST", path, by=ana, body={"text": "é" * 255})).status == 201
    assert (await here.call("POST", path, by=ana, body={"text": "é" * 256})).status == 400
    assert (await here.call("POST", path, by=ana, body={"text": " \t"})).status == 400
    made = (await here.call("POST", path, by=ana, body={"tripId": "whatever", "text": "pack"})).json
    assert (made["tripId"], made["status"], made["createdAt"]) == (str(trip), "INCOMPLETE", "2026-11-22T12:00:00Z")
    for missing in (uuid4(), "nonsense"):
        for method in ("GET", "PUT", "DELETE"):
            body = {"status": "COMPLETE"} if method == "PUT" else None
            assert (await here.call(method, f"{path}/{missing}", by=ana, body=body)).status == 404
    listed = (await here.call("GET", f"{path}?limit=1000&offset=-3", by=ana)).json
    assert listed["pagination"] == {"limit": 100, "offset": 0, "total": 2}


@pytest.mark.contract("rest-core.invite", "rest-core.invitations.fix-token", "rest-core.invitations.fix-email")
async def test_an_invitation_never_shows_its_secret_and_has_the_address_twice(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    body = {"email": "New@Example.org", "role": "member"}
    made = (await here.call("POST", f"/v1/trips/{trip}/invitations", by=ana, body=body)).json
    [listed] = (await here.call("GET", f"/v1/trips/{trip}/invitations", by=ana)).json
    for shown in (made, listed):
        assert shown["inviteeEmail"] == shown["email"] == "new@example.org"
        assert "token" not in shown
        assert (shown["status"], shown["role"], shown["createdAt"]) == ("PENDING", "MEMBER", "2026-11-22T12:00:00Z")


@pytest.mark.contract("rest-core.invite.fix-409", "rest-core.invite.fix-role")
@pytest.mark.parametrize(
    ("email", "role", "status", "code"),
    [
        ("nobody", "member", 400, "invalid_request_payload"), ("a@b.org", "boss", 400, "invalid_role"),
        ("a@b.org", "owner", 403, "owner_role_forbidden"), ("ana@example.org", "member", 409, "already_member"),
    ],
)  # fmt: skip
async def test_invalid_invitations_are_refused(
    here: World, ana: User, email: str, role: str, status: int, code: str
) -> None:
    trip = await here.trip(ana)
    reply = await here.call("POST", f"/v1/trips/{trip}/invitations", by=ana, body={"email": email, "role": role})
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.contract("rest-core.invitation", "rest-core.invitation.private")
async def test_invitation_details_hide_the_inviters_address(here: World, ana: User, ben: User) -> None:
    trip = await here.trip(ana)
    body = {"email": ben.email, "role": "member"}
    made = (await here.call("POST", f"/v1/trips/{trip}/invitations", by=ana, body=body)).json
    shown = (await here.call("GET", f"/v1/invitations/{made['id']}", by=ben)).json
    assert shown["inviter"]["email"] == ""
    assert (shown["inviter"]["displayName"], shown["memberCount"], shown["email"]) == ("Ana", 1, ben.email)
    assert shown["trip"]["startDate"] == "2026-12-01T00:00:00Z"


@pytest.mark.contract("rest-core.invitation.fix-404")
async def test_an_unknown_invitation_gets_404(here: World, ana: User) -> None:
    for missing in (uuid4(), "nonsense"):
        for method, suffix in (("GET", ""), ("POST", "/accept"), ("POST", "/decline")):
            reply = await here.call(method, f"/v1/invitations/{missing}{suffix}", by=ana)
            assert (reply.status, reply.json["type"]) == (404, "NOT_FOUND")


@pytest.mark.contract("rest-core.invitation-by-token", "rest-core.accept-by-token")
async def test_a_forged_link_is_refused_and_a_browser_is_redirected(here: World, ana: User) -> None:
    reply = await here.call("POST", "/v1/invitations/accept", by=ana, body={"token": "a.b.c"})
    assert (reply.status, reply.json["type"]) == (401, "AUTHENTICATION")
    missing = await here.call("GET", "/v1/invitations/details")
    assert (missing.status, missing.code) == (400, "missing_token")
    for query, page in (("", "-"), ("?token=a.b.c", "a.b.c"), ("?token=%2F..%2Fx", "%2F..%2Fx")):
        reply = await here.call("GET", f"/v1/invitations/join{query}")
        assert (reply.status, reply.headers["location"]) == (302, f"http://api.test/invite/accept/{page}")
        shown = await here.call("GET", reply.headers["location"].removeprefix("http://api.test"))
        assert (shown.status, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.contract(
    "rest-core.bind",
    "rest-activity.unknown-route",
    "rest-activity.request-id",
    "rest-activity.client-errors",
)
async def test_every_refusal_has_the_same_body(here: World, ana: User) -> None:
    refusals = [
        await here.call("GET", "/nowhere"),
        await here.call("DELETE", "/v1/trips", by=ana),
        await here.call("GET", "/v1/trips"),
        await here.call("POST", "/v1/trips", by=ana, raw=b"{"),
        await here.call("GET", f"/v1/trips/{uuid4()}", by=ana),
    ]
    assert [reply.status for reply in refusals] == [404, 405, 401, 400, 403]
    for reply in refusals:
        assert set(reply.json) == PROBLEM
        assert reply.json["message"] == reply.json["error"] == reply.json["detail"]
        assert reply.json["request_id"] == reply.headers["x-request-id"] == "req-1"
        assert reply.headers["content-type"].startswith("application/json")


@pytest.mark.contract("rest-core.auth")
@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("Basic x", "invalid_auth_format"),
        ("Bearer ", "invalid_auth_format"),
        ("Bearer x", "auth_failed"),
    ],
)
async def test_a_refused_token_gets_the_code_of_its_fault(here: World, header: str | None, code: str) -> None:
    reply = await here.call("GET", "/v1/trips", headers={"authorization": header} if header else {})
    assert (reply.status, reply.code) == (401, code)


async def test_an_expired_token_gets_refresh_required(here: World, ana: User) -> None:
    here.clock.now = NOON + timedelta(hours=1)
    reply = await here.call("GET", "/v1/trips", by=ana)
    assert (reply.status, reply.code, reply.json["refresh_required"]) == (401, "token_expired", True)


@pytest.mark.contract("rest-core.me.client-404", "rest-core.auth")
async def test_without_a_profile_the_own_profile_is_404_and_other_routes_401(here: World) -> None:
    nobody = User(UserId(uuid4()), "n@example.org", "n", "")
    nobody = replace(nobody, token=await here.token(nobody.id, "n"))
    assert (await here.call("GET", "/v1/users/me", by=nobody)).status == 404
    for method, path in (
        ("GET", "/v1/trips"),
        ("GET", "/v1/notifications"),
        ("GET", f"/v1/trips/{uuid4()}"),
        ("GET", "/v1/events"),
    ):
        reply = await here.call(method, path, by=nobody)
        assert (reply.status, reply.code) == (401, "user_not_onboarded")


@pytest.mark.contract("rest-core.create-trip.rate-limit", "rest-activity.rate-limit")
async def test_successes_and_refusals_have_rate_limit_headers(here: World, ana: User) -> None:
    replies = [await here.call("POST", "/v1/trips", by=ana, body=NEW_TRIP | {"name": str(n)}) for n in range(31)]
    assert [r.status for r in replies] == [201] * 30 + [429]
    assert (replies[0].headers["x-ratelimit-limit"], replies[0].headers["x-ratelimit-remaining"]) == ("30", "29")
    refusal = replies[-1]
    assert refusal.headers["x-ratelimit-remaining"] == "0"
    wait_s = int(refusal.headers["retry-after"])
    assert refusal.json["details"] == f"retry_after: {wait_s} seconds"
    here.clock.advance(wait_s)
    assert (await here.call("POST", "/v1/trips", by=ana, body=NEW_TRIP | {"name": "later"})).status == 201


@pytest.mark.contract(
    "rest-core.me",
    "rest-core.me.client-fields",
    "rest-core.preferences.fix-stored",
    "rest-core.preferences.client-ghost",
    "rest-activity.ghost",
)
async def test_a_profile_has_everything_the_client_reads(here: World, ana: User) -> None:
    await here.call("PUT", f"/v1/users/{ana.id}", by=ana, body={
        "firstName": "Ana", "lastName": "Costa", "profilePictureUrl": "https://img.example.org/a.png",
        "locationPrivacyPreference": "approximate",
    })  # fmt: skip
    reply = await here.call("PUT", f"/v1/users/{ana.id}/preferences", by=ana, body={"ghostMode": True, "old": None})
    me = (await here.call("GET", "/v1/users/me", by=ana)).json
    assert reply.json["preferences"] == me["preferences"] == {"ghostMode": True}
    assert isinstance(reply.json["message"], str)
    assert me["profilePicture"] == me["profilePictureUrl"] == me["avatarUrl"] == "https://img.example.org/a.png"
    assert (me["displayName"], me["locationPrivacyPreference"]) == ("Ana Costa", "approximate")
    assert {"createdAt", "updatedAt", "id", "email", "username"} <= me.keys()


@pytest.mark.contract("rest-core.search", "rest-core.search.fix-is-member")
async def test_a_search_marks_the_members_of_the_trip_it_names(here: World, ana: User, ben: User) -> None:
    benno = await here.user("benno")
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    found = (await here.call("GET", f"/v1/users/search?q=BEN&tripId={trip}", by=ana)).json["users"]
    assert {u["username"]: u.get("isMember", False) for u in found} == {"ben": True, "benno": False}
    unseen = (await here.call("GET", f"/v1/users/search?q=BEN&tripId={trip}", by=benno)).json["users"]
    assert not any(u.get("isMember") for u in unseen)
    assert (await here.call("GET", "/v1/users/search?q=%25%25", by=ana)).json == {"users": []}
    assert (await here.call("GET", "/v1/users/search?q=a", by=ana)).status == 400


@pytest.mark.contract("rest-activity.notifications.list", "rest-activity.notifications.read")
async def test_notifications_are_a_bare_array_with_lenient_paging(here: World, ana: User) -> None:
    assert (await here.call("GET", "/v1/notifications?limit=500&offset=x", by=ana)).json == []
    assert (await here.call("GET", "/v1/notifications?status=maybe", by=ana)).code == "invalid_status"
    assert (await here.call("GET", "/v1/notifications/unread-count", by=ana)).json == {"count": 0}
    reply = await here.call("PATCH", "/v1/notifications/nonsense/read", by=ana)
    assert (reply.status, reply.code) == (400, "invalid_notification_id")


async def test_a_log_line_has_user_and_trip_ids_but_no_private_data(
    here: World, ana: User, caplog: pytest.LogCaptureFixture
) -> None:
    trip = await here.trip(ana)
    body = {"email": "secret@example.org", "role": "member"}
    with caplog.at_level("INFO", logger="nomadcrew.request"):
        await here.call("POST", f"/v1/trips/{trip}/invitations?token=hush", by=ana, body=body)
    [record] = [r for r in caplog.records if r.name == "nomadcrew.request"]
    fields = record.__dict__["fields"]
    assert fields.keys() == {"request_id", "route", "status", "duration_ms", "user_id", "trip_id"}
    assert (fields["user_id"], fields["trip_id"]) == (str(ana.id), str(trip))
    line = json.dumps(fields)
    assert not any(private in line for private in ("secret", "hush", ana.token, ana.email))
