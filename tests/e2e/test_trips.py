"""The main job through the public API: users plan a trip together and see each other's changes live."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.e2e.client import NEW_TRIP, PASSWORD, Api, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.mailbox import Mailbox, link_to

HOSTS_OWN = "routes of the machine host, which no function serves"


class Forms(HTMLParser):
    """The forms of a page: the names of their fields, with the initial values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.posted: list[dict[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and (given.get("method") or "").lower() == "post":
            assert "action" not in given, "forms are posted to the page's own address"
            self.posted.append({})
        elif tag == "input" and given.get("name"):
            self.posted[-1][str(given["name"])] = given.get("value") or ""

    def with_intent(self, intent: str) -> dict[str, str]:
        [form] = [form for form in self.posted if form["intent"] == intent]
        return form


async def invitation_to(address: str, mailbox: Mailbox) -> str:
    """The path of the link in an invitation mail."""
    return await link_to(address, "/invite/accept", mailbox)


async def roles(user: User, trip_id: str) -> dict[str, str]:
    """The role of every member of a trip, by user id."""
    members = await user.ask("GET", f"/v1/trips/{trip_id}/members")
    return {member["user"]["id"]: member["membership"]["role"] for member in members}


@pytest.mark.contract("rest-core.me")
async def test_registration_signs_the_user_in(api: Api, register: Register) -> None:
    ana = await register("ana", lastName="Costa")
    me = await ana.ask("GET", "/v1/users/me")
    assert (me["id"], me["email"], me["username"]) == (ana.id, ana.email, ana.username)
    assert me["displayName"] == "Ana Costa"
    assert await ana.ask("GET", "/v1/trips") == []


@pytest.mark.contract("rest-core.create-trip")
async def test_a_trip_is_listed_and_shown_as_created(register: Register) -> None:
    ana = await register("ana")
    made = await ana.ask("POST", "/v1/trips", NEW_TRIP, status=201)
    assert made["destination"]["coordinates"] == {"lat": 41.15, "lng": -8.61}
    [listed] = await ana.ask("GET", "/v1/trips")
    shown = await ana.ask("GET", f"/v1/trips/{made['id']}")
    assert listed == shown
    assert (shown["name"], shown["participantCount"]) == ("Porto", 1)
    assert [(member["userId"], member["role"]) for member in shown["members"]] == [(ana.id, "OWNER")]


async def test_a_new_user_joins_by_the_link_in_the_mail(
    api: Api, mailbox: Mailbox, register: Register, connect: Connect
) -> None:
    ana = await register("ana")
    live = await connect(ana)
    trip_id = await ana.new_trip(name="Lisbon & <Sintra>")
    address = f"new.{ana.username}@example.org"
    await ana.invite(trip_id, address)

    link = await invitation_to(address, mailbox)
    page = await api.send("GET", link)
    assert page.status_code == 200
    assert "Lisbon &amp; &lt;Sintra&gt;" in page.text

    form = Forms(page.text).with_intent("register") | {"password": PASSWORD, "first_name": "Ben"}
    welcome = await api.send("POST", link, data=form)
    assert welcome.status_code == 200, welcome.text

    signed_in = await api.send("POST", "/v1/auth/login", json={"email": address, "password": PASSWORD})
    ben = User.of(api, signed_in.json())
    assert [trip["id"] for trip in await ben.ask("GET", "/v1/trips")] == [trip_id]
    assert await roles(ana, trip_id) == {ana.id: "OWNER", ben.id: "MEMBER"}
    await live.event("MEMBER_ADDED", trip_id, userId=ben.id, role="member")


async def test_a_registered_user_joins_by_the_link_in_the_mail(
    api: Api, mailbox: Mailbox, register: Register
) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.invite(trip_id, ben.email, role="ADMIN")
    link = await invitation_to(ben.email, mailbox)
    form = Forms((await api.send("GET", link)).text).with_intent("sign_in")
    assert form["login"] == ben.email

    wrong = await api.send("POST", link, data=form | {"password": "not it"})
    assert wrong.status_code == 401
    assert Forms(wrong.text).with_intent("sign_in")["login"] == ben.email
    assert ben.id not in await roles(ana, trip_id)

    right = await api.send("POST", link, data=form | {"password": PASSWORD})
    assert right.status_code == 200
    assert (await roles(ana, trip_id))[ben.id] == "ADMIN"


@pytest.mark.contract("rest-core.invitation-by-token", "rest-core.accept-by-token.fix")
async def test_the_app_joins_with_the_token_of_the_link(mailbox: Mailbox, register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.invite(trip_id, ben.email)
    token = (await invitation_to(ben.email, mailbox)).rpartition("/")[2]
    details = await ben.ask("GET", f"/v1/invitations/details?token={token}")
    assert (details["tripId"], details["email"]) == (trip_id, ben.email)
    joined = await ben.ask("POST", "/v1/invitations/accept", {"token": token})
    assert (joined["tripId"], joined["userId"], joined["role"]) == (trip_id, ben.id, "MEMBER")


@pytest.mark.contract("rest-core.decline")
async def test_a_declined_invitation_does_not_change_the_trip(register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    invitation = await ana.invite(trip_id, ben.email)
    await ben.ask("POST", f"/v1/invitations/{invitation['id']}/decline", status=204)
    assert await roles(ana, trip_id) == {ana.id: "OWNER"}
    assert [i["status"] for i in await ana.ask("GET", f"/v1/trips/{trip_id}/invitations")] == ["DECLINED"]
    declined = await notifications(ana, "TRIP_INVITATION_DECLINED")
    assert declined[0]["metadata"]["memberID"] == ben.id


@pytest.mark.contract("rest-activity.todos.events")
async def test_members_see_each_others_to_dos_live(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    sockets = [await connect(ana), await connect(ben)]

    boots = await ana.new_todo(trip_id, "boots")
    maps = await ben.new_todo(trip_id, "maps")
    await ben.ask("PUT", f"/v1/trips/{trip_id}/todos/{maps['id']}", {"status": "COMPLETE"})
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/todos/{boots['id']}")

    for live in sockets:
        await live.event("TODO_CREATED", trip_id, id=boots["id"], text="boots", createdBy=ana.id)
        await live.event("TODO_CREATED", trip_id, id=maps["id"], text="maps", createdBy=ben.id)
        await live.event("TODO_UPDATED", trip_id, id=maps["id"], status="COMPLETE")
        await live.event("TODO_DELETED", trip_id, id=boots["id"])
    for user in (ana, ben):
        listed = await user.ask("GET", f"/v1/trips/{trip_id}/todos")
        assert [(todo["text"], todo["status"]) for todo in listed["data"]] == [("maps", "COMPLETE")]
        assert listed["pagination"]["total"] == 1


@pytest.mark.contract("rest-core.status.fix-400", "rest-core.status.fix-event")
async def test_a_trip_changes_its_status_and_members_see_it(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    live = await connect(ben)
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"name": "Porto, by boat"})
    await ana.ask("PATCH", f"/v1/trips/{trip_id}/status", {"status": "ACTIVE"})
    await live.event("TRIP_UPDATED", trip_id, name="Porto, by boat")
    await live.event("TRIP_STATUS_UPDATED", trip_id, status="ACTIVE", old_status="PLANNING")
    refused = await ana.send("PATCH", f"/v1/trips/{trip_id}/status", {"status": "PLANNING"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_status_transition")


async def notifications(user: User, type_: str, *, count: int = 1) -> list[dict[str, Any]]:
    """A user's notifications of a type, waiting for `count` of them."""

    async def found() -> list[dict[str, Any]]:
        page = await user.ask("GET", "/v1/notifications?limit=100")
        of_type = [n for n in page if n["type"] == type_]
        return of_type if len(of_type) >= count else []

    return await eventually(found)


@pytest.mark.contract(
    "rest-activity.notifications.list",
    "rest-activity.notifications.unread",
    "rest-activity.notifications.read",
    "rest-activity.notifications.read-all",
    "rest-activity.notifications.delete",
)
async def test_users_are_notified_and_mark_notifications_as_read(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    live = await connect(ben)
    trip_id = await ana.new_trip()
    invitation = await ana.invite(trip_id, ben.email)
    [invited] = await notifications(ben, "TRIP_INVITATION_RECEIVED")
    await live.event("notification.created", id=invited["id"])
    await ben.ask("POST", f"/v1/invitations/{invitation['id']}/accept")
    # An answered invitation has no buttons to press any more.
    assert await ben.ask("GET", "/v1/notifications") == []
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"description": "by boat"})
    [updated] = await notifications(ben, "TRIP_UPDATED")
    [accepted] = await notifications(ana, "TRIP_INVITATION_ACCEPTED")
    assert accepted["metadata"]["memberID"] == ben.id
    await ana.ask("PUT", f"/v1/trips/{trip_id}", {"description": "by train"})
    await live.event("notification.created", id=updated["id"])
    [newest, first] = await notifications(ben, "TRIP_UPDATED", count=2)
    assert first["id"] == updated["id"]

    assert await ben.ask("GET", "/v1/notifications/unread-count") == {"count": 2}
    await ben.ask("PATCH", f"/v1/notifications/{first['id']}/read", status=204)
    unread = await ben.ask("GET", "/v1/notifications?status=unread")
    assert [n["id"] for n in unread] == [newest["id"]]
    assert await ben.ask("PATCH", "/v1/notifications/read-all") == {"marked_as_read_count": 1}
    assert await ben.ask("GET", "/v1/notifications/unread-count") == {"count": 0}
    foreign = await ana.send("PATCH", f"/v1/notifications/{updated['id']}/read")
    assert foreign.status_code == 404
    assert await ben.ask("DELETE", "/v1/notifications") == {"deleted_count": 2}
    assert await ben.ask("GET", "/v1/notifications") == []


@pytest.mark.contract("rest-core.remove-member.client-leave")
async def test_a_member_who_leaves_is_off_the_trip(register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    last_owner = await ana.send("DELETE", f"/v1/trips/{trip_id}/members/{ana.id}")
    assert (last_owner.status_code, last_owner.json()["code"]) == (400, "last_owner")
    await ben.ask("DELETE", f"/v1/trips/{trip_id}/members/{ben.id}", status=204)
    assert (await ben.send("GET", f"/v1/trips/{trip_id}")).json()["code"] == "not_trip_member"
    assert await ben.ask("GET", "/v1/trips") == []
    [left] = await notifications(ana, "TRIP_MEMBER_LEFT")
    assert left["metadata"]["memberID"] == ben.id


@pytest.mark.contract(
    "rest-core.remove-member.client-leave",
    "rest-core.role.client-event",
    "rest-core.role.client-owner",
    "permissions.created-by",
    "permissions.e4",
)
async def test_an_owner_transfers_the_trip_and_then_leaves(register: Register, connect: Connect) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    live = await connect(ben)
    await ana.ask("PUT", f"/v1/trips/{trip_id}/members/{ben.id}/role", {"role": "OWNER"})
    assert await roles(ana, trip_id) == {ana.id: "ADMIN", ben.id: "OWNER"}
    await live.event("MEMBER_ROLE_UPDATED", trip_id, userId=ben.id, role="owner", previousRole="member")
    await live.event("MEMBER_ROLE_UPDATED", trip_id, userId=ana.id, role="admin", previousRole="owner")
    assert (await ana.ask("GET", f"/v1/trips/{trip_id}"))["createdBy"] == ben.id
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{ana.id}", status=204)
    assert await roles(ben, trip_id) == {ben.id: "OWNER"}


@pytest.mark.contract("rest-core.trip", "rest-core.delete-trip")
async def test_a_deleted_trip_is_gone_for_every_member(register: Register, connect: Connect) -> None:
    ana, ben, eve = await register("ana"), await register("ben"), await register("eve")
    trip_id = await ana.new_trip()
    await ana.add_member(trip_id, ben)
    live = await connect(ben)
    await ana.ask("DELETE", f"/v1/trips/{trip_id}", status=204)
    await live.event("TRIP_DELETED", trip_id)
    for user, status in ((ana, 404), (ben, 404), (eve, 403)):
        assert (await user.send("GET", f"/v1/trips/{trip_id}")).status_code == status
        assert await user.ask("GET", "/v1/trips") == []


@pytest.mark.contract("rest-core.gate")
async def test_a_non_member_cannot_distinguish_a_trip_from_no_trip(register: Register) -> None:
    ana, eve = await register("ana"), await register("eve")
    trip_id = await ana.new_trip()
    for path in ("", "/members", "/todos", "/details", "/invitations"):
        existing = await eve.send("GET", f"/v1/trips/{trip_id}{path}")
        missing = await eve.send("GET", f"/v1/trips/{ana.id}{path}")
        assert existing.status_code == missing.status_code == 403
        assert existing.json()["code"] == missing.json()["code"] == "not_trip_member"


@pytest.mark.contract("rest-core.docs")
@pytest.mark.one_machine(HOSTS_OWN)
@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/health", "/health/liveness", "/health/readiness"])
async def test_a_public_page_needs_no_token(api: Api, path: str) -> None:
    assert (await api.send("GET", path)).status_code == 200


@pytest.mark.contract("rest-core.metrics")
@pytest.mark.one_machine("on AWS metrics need a token")
async def test_metrics_need_no_token_on_the_machine_itself(api: Api, register: Register) -> None:
    await (await register("ana")).new_trip()
    lines = (await api.send("GET", "/metrics")).text.splitlines()
    counted = re.compile(r'nomadcrew_requests_total\{method="POST",route="/v1/trips".*\} [1-9]')
    assert any(map(counted.match, lines))


@pytest.mark.contract("rest-core.health")
@pytest.mark.one_machine(HOSTS_OWN)
async def test_health_reports_every_component_up(api: Api) -> None:
    health = (await api.send("GET", "/health")).json()
    assert health["status"] == "UP"
    assert {part["status"] for part in health["components"].values()} == {"UP"}
