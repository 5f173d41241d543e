"""The pages of invitation and confirmation links."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.ids import InvitationId
from tests.postgres import Postgres
from tests.world import Answer, User, World, world

PASSWORD = "Sail2Porto!"
_RESETS = compile_statement("resets", "SELECT id FROM password_resets")
FORM = {"content-type": "application/x-www-form-urlencoded"}
_CONTACT = compile_statement("contact", "SELECT contact_email_code_id FROM user_profiles WHERE id = :id::uuid")
_COUNT = compile_statement("count", "SELECT count(*) AS people FROM user_profiles")


@pytest_asyncio.fixture(loop_scope="session")
async def closed(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    """A backend that sends mail and admits only invited users."""
    environment = {"NOMADCREW_REGISTRATION": "closed", "NOMADCREW_SMTP_URL": "smtp://127.0.0.1:9"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


class Invited:
    """An invitation from ana to ben, and its page."""

    def __init__(self, here: World, ana: User, trip_id: UUID, invitation_id: UUID, link: str) -> None:
        self.here, self.ana, self.trip_id, self.invitation_id, self.link = here, ana, trip_id, invitation_id, link

    @classmethod
    async def make(cls, here: World, email: str = "ben@example.org", role: str = "MEMBER") -> "Invited":
        ana = await here.user("ana")
        trip_id = await here.trip(ana, name="Porto <&> Douro")
        path = f"/v1/trips/{trip_id}/invitations"
        reply = await here.call("POST", path, by=ana, body={"email": email, "role": role})
        assert reply.status == 201
        id_ = InvitationId(UUID(reply.json["id"]))
        stored = await here.ports.invitations.get_for_mail(id_)
        assert stored is not None
        token = here.ports.invitation_links.issue(stored[0], now=here.clock())
        return cls(here, ana, trip_id, id_, f"/invite/accept/{token}")

    async def look(self) -> Answer:
        return await self.here.call("GET", self.link)

    async def register(self, **fields: str) -> Answer:
        return await post(self.here, self.link, {"intent": "register", "password": PASSWORD} | fields)

    async def sign_in(self, **fields: str) -> Answer:
        return await post(self.here, self.link, {"intent": "sign_in", "password": PASSWORD} | fields)

    async def members(self) -> dict[str, str]:
        reply = await self.here.call("GET", f"/v1/trips/{self.trip_id}/members", by=self.ana)
        return {row["user"]["username"]: row["membership"]["role"] for row in reply.json}


async def post(here: World, path: str, form: Mapping[str, str]) -> Answer:
    return await here.call("POST", path, raw=urlencode(form).encode(), headers=FORM)


async def sign_up(here: World, name: str = "ben") -> None:
    body = {"email": f"{name}@example.org", "password": PASSWORD, "username": name}
    assert (await here.call("POST", "/v1/auth/register", body=body)).status == 201


async def login(here: World, name: str, password: str = PASSWORD) -> int:
    return (await here.call("POST", "/v1/auth/login", body={"username": name, "password": password})).status


def words(reply: Answer) -> str:
    return re.sub(r"<[^>]+>", " ", reply.body.decode())


async def test_an_invitation_page_shows_the_details_with_one_statement(here: World) -> None:
    invited = await Invited.make(here, role="ADMIN")
    page = await invited.look()
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert here.statements == ["details"]
    html = page.body.decode()
    assert "Ana invites you to Porto &lt;&amp;&gt; Douro" in html
    assert "1 December 2026 – 9 December 2026" in html
    assert "admin" in words(page)
    assert f"nomadcrew:/{invited.link}" in html
    assert await invited.members() == {"ana": "OWNER"}


async def test_a_new_user_registers_and_joins(here: World) -> None:
    invited = await Invited.make(here)
    page = await invited.register(username="ben", first_name="Ben", last_name="Lima")
    assert page.status == 200
    assert "Welcome to Porto" in words(page)
    assert f"nomadcrew:/{invited.link}" in page.body.decode()
    assert await invited.members() == {"ana": "OWNER", "ben": "MEMBER"}
    reply = await here.call("POST", "/v1/auth/login", body={"email": "ben@example.org", "password": PASSWORD})
    assert reply.json["user"]["displayName"] == "Ben Lima"


async def test_an_invitation_opens_a_closed_site_and_proves_the_address(closed: World) -> None:
    invited = await Invited.make(closed)
    body = {"email": "ben@example.org", "password": PASSWORD}
    assert (await closed.call("POST", "/v1/auth/register", body=body)).code == "registration_closed"
    assert (await invited.register()).status == 200
    assert await invited.members() == {"ana": "OWNER", "ben": "MEMBER"}
    assert await login(closed, "ben") == 200
    found = await closed.ports.accounts.find("ben", now=closed.clock())
    assert found is not None
    assert found.account is not None
    assert found.account.confirmed


async def test_the_new_account_has_the_invited_address_whatever_the_form_says(here: World) -> None:
    invited = await Invited.make(here)
    await invited.register(username="ben", email="intruder@example.org")
    assert (await here.ports.accounts.find("intruder@example.org", now=here.clock())) is None
    assert (await here.ports.accounts.find("ben@example.org", now=here.clock())) is not None


async def test_an_existing_user_signs_in_by_address_or_username_and_joins(here: World) -> None:
    await sign_up(here)
    invited = await Invited.make(here)
    page = await invited.sign_in(login="BEN@example.org")
    assert (page.status, await invited.members()) == (200, {"ana": "OWNER", "ben": "MEMBER"})


async def test_a_form_sent_twice_joins_once_with_the_same_reply(here: World) -> None:
    invited = await Invited.make(here)
    first = await invited.register(username="ben")
    again = await invited.register(username="ben")
    assert (again.status, again.body) == (first.status, first.body)
    signed_in = await invited.sign_in(login="ben")
    assert (signed_in.status, signed_in.body) == (first.status, first.body)
    assert await invited.members() == {"ana": "OWNER", "ben": "MEMBER"}


async def test_an_accepted_invitation_creates_no_second_account(here: World) -> None:
    invited = await Invited.make(here)
    await invited.register(username="ben")
    [before] = await here.pool.fetch(_COUNT)
    page = await invited.register(username="second", password="Another1pass!")
    assert page.status == 401
    [after] = await here.pool.fetch(_COUNT)
    assert before["people"] == after["people"]
    assert (await invited.look()).status == 410


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"password": "short"}, 400, "at least 8 characters"),
        ({"password": "Password1!"}, 400, "too common"),
        ({"password": ""}, 400, "at least 8"),
        ({"username": "a b"}, 400, "username"),
        ({"username": "ana"}, 400, "username is taken"),
        ({"first_name": "x" * 51}, 400, "at most 50"),
    ],
    ids=str,
)
async def test_a_refused_form_shows_the_error_and_the_entered_values(
    here: World, fields: dict[str, str], status: int, says: str
) -> None:
    await sign_up(here, "cem")
    invited = await Invited.make(here)
    page = await invited.register(**({"username": "b<n", "last_name": 'Li"ma'} | fields))
    assert page.status == status
    assert says in words(page)
    html = page.body.decode()
    assert 'role="alert"' in html
    assert 'value="Li&#34;ma"' in html
    assert PASSWORD not in html
    assert set(await invited.members()) == {"ana"}


async def test_an_address_with_an_account_is_told_to_sign_in(here: World) -> None:
    await sign_up(here)
    invited = await Invited.make(here)
    page = await invited.register(password="Another1pass!")
    assert (page.status, "account with this email" in words(page)) == (400, True)
    assert (await invited.sign_in(login="ben", password="Wrong1pass!")).status == 401
    assert (await invited.sign_in(login="ben")).status == 200


async def test_an_invitation_is_for_the_invited_person(here: World) -> None:
    await sign_up(here, "cem")
    invited = await Invited.make(here)
    page = await invited.sign_in(login="cem")
    assert (page.status, "another email address" in words(page)) == (403, True)
    assert set(await invited.members()) == {"ana"}


async def test_password_attempts_on_the_page_are_limited(here: World) -> None:
    await sign_up(here)
    invited = await Invited.make(here)
    for _ in range(5):
        assert (await invited.sign_in(login="ben", password="Wrong1pass!")).status == 401
    page = await invited.sign_in(login="ben")
    assert page.status == 429
    assert int(page.headers["retry-after"]) > 0
    assert page.headers["content-type"].startswith("text/html")
    assert await login(here, "ben") == 429


async def test_posts_from_one_ip_address_are_limited(here: World) -> None:
    invited = await Invited.make(here)
    for n in range(10):
        assert (await invited.sign_in(login=f"nobody{n}")).status == 401
    assert (await invited.sign_in(login="nobody")).status == 429
    for _ in range(20):
        assert (await invited.register(password="short")).status == 400
    assert (await invited.register()).status == 429
    assert set(await invited.members()) == {"ana"}


async def test_the_page_of_a_dead_link_names_the_reason(here: World) -> None:
    invited = await Invited.make(here)
    for look in (await here.call("GET", "/invite/accept/forged"), await post(here, "/invite/accept/a.b.c", {})):
        assert look.status == 404
        assert "does not work" in words(look)
    path = f"/v1/trips/{invited.trip_id}/invitations/{invited.invitation_id}"
    assert (await here.call("DELETE", path, by=invited.ana)).status == 204
    for page in (await invited.look(), await invited.register()):
        assert page.status == 410
        assert "revoked" in words(page)


async def test_an_expired_invitation_creates_no_account(here: World) -> None:
    invited = await Invited.make(here)
    here.clock.advance(7 * 86_400 + 30)  # the link itself has a minute of grace
    assert (await invited.look()).status == 410
    assert (await invited.register()).status == 410
    [row] = await here.pool.fetch(_COUNT)
    assert row["people"] == 1


async def test_an_invitation_to_a_deleted_trip_is_404(here: World) -> None:
    invited = await Invited.make(here)
    assert (await here.call("DELETE", f"/v1/trips/{invited.trip_id}", by=invited.ana)).status == 204
    assert (await invited.look()).status == 404
    assert (await invited.register()).status == 404


@pytest.mark.parametrize(
    ("raw", "content_type", "status"),
    [
        (b'{"intent": "register"}', "application/json", 400),
        (b"", "", 400),
        (b"intent=register&password=%00", "application/x-www-form-urlencoded", 400),
        (b"intent=register&password=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 30, "application/x-www-form-urlencoded", 400),
        (b"password=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"nothing=useful", "application/x-www-form-urlencoded; charset=utf-8", 401),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_malformed_form_is_refused_with_a_page(
    here: World, raw: bytes, content_type: str, status: int
) -> None:
    invited = await Invited.make(here)
    page = await here.call("POST", invited.link, raw=raw, headers={"content-type": content_type})
    assert page.status == status
    assert page.headers["content-type"].startswith("text/html")


async def confirmation(world_: World) -> str:
    """The path in the mail of ben's registration."""
    body: dict[str, Any] = {"email": "ben@example.org", "password": PASSWORD, "username": "ben"}
    reply = await world_.call("POST", "/v1/auth/register", body=body)
    assert reply.status == 202
    found = await world_.ports.accounts.find("ben", now=world_.clock())
    assert found is not None
    assert found.registration_id is not None
    return f"/auth/confirm/{world_.ports.tokens.confirmation_code(found.registration_id)}"


@pytest.mark.contract("rest-core.join-link", "jobs.mail.fix-url")
async def test_an_old_invitation_link_leads_to_the_page_of_the_app(
    postgres: Postgres, template: str, tmp_path: Path
) -> None:
    environment = {"NOMADCREW_APP_URL": "https://app.example"}
    async with world(postgres, tmp_path, template=template, environment=environment) as site:
        for query, page in (("", "missing_token"), ("?token=a.b.c", "invalid_token")):
            reply = await site.call("GET", f"/v1/invitations/join{query}")
            assert reply.headers["location"] == f"https://app.example/join-trip?error={page}"
        invited = await Invited.make(site)
        token = invited.link.rpartition("/")[2]
        reply = await site.call("GET", f"/v1/invitations/join?token={token}")
        assert reply.headers["location"] == f"https://app.example/join-trip?token={token}"


@pytest_asyncio.fixture(loop_scope="session")
async def mailing(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    environment = {"NOMADCREW_SMTP_URL": "smtp://127.0.0.1:9"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


async def test_opening_a_confirmation_page_confirms_nothing(mailing: World) -> None:
    path = await confirmation(mailing)
    for _ in range(3):
        page = await mailing.call("GET", path)
        assert page.status == 200
        assert '<form method="post">' in page.body.decode()
        assert mailing.statements == []
    wrong = await post(mailing, path, {"password": "Owners1pass!"})
    assert (wrong.status, "not the password" in words(wrong)) == (401, True)
    assert (await post(mailing, path, {})).status == 401
    assert await login(mailing, "ben") == 403


async def test_the_button_confirms_once(mailing: World) -> None:
    path = await confirmation(mailing)
    page = await post(mailing, path, {"password": PASSWORD})
    assert (page.status, "confirmed" in words(page)) == (200, True)
    assert await login(mailing, "ben") == 200
    again = await post(mailing, path, {})
    assert (again.status, "confirmed already" in words(again)) == (410, True)


async def test_a_forged_or_expired_confirmation_gets_a_page(mailing: World) -> None:
    path = await confirmation(mailing)
    forged = path[:-1] + ("B" if path.endswith("A") else "A")
    for reply in (await mailing.call("GET", "/auth/confirm/forged"), await post(mailing, forged, {})):
        assert reply.status == 404
    mailing.clock.advance(86_400)
    assert (await post(mailing, path, {})).status == 404


async def contact_confirmation(here: World, user: User, email: str) -> str:
    """The path in the mail about a user's contact address."""
    assert (await here.call("PUT", "/v1/users/me/contact-email", by=user, body={"email": email})).status == 200
    [row] = await here.pool.fetch(_CONTACT, id=user.id)
    return f"/contact-email/confirm/{here.ports.tokens.confirmation_code(row['contact_email_code_id'])}"


async def test_the_button_confirms_a_contact_address_and_names_its_account(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    path = await contact_confirmation(here, ana, "relay@example.net")
    search = "/v1/users/search?q=relay@example.net"
    page = await here.call("GET", path)
    assert (page.status, "Is ana your account?" in words(page)) == (200, True)
    assert (await here.call("GET", search, by=ben)).json == {"users": []}
    for _ in range(2):
        assert (await post(here, path, {})).status == 200
    [found] = (await here.call("GET", search, by=ben)).json["users"]
    assert found["id"] == str(ana.id)
    assert (await here.call("GET", path)).status == 404
    assert (await here.call("GET", "/contact-email/confirm/forged")).status == 404
    assert (await post(here, "/contact-email/confirm/forged", {})).status == 404


async def test_an_invitation_cannot_be_had_by_claiming_its_address_as_a_contact_address(here: World) -> None:
    owner, attacker = await here.user("owner"), await here.user("attacker")
    await here.call("PUT", "/v1/users/me/contact-email", by=attacker, body={"email": "cfo@corp.example"})
    trip = await here.trip(owner)
    body = {"email": "cfo@corp.example", "role": "ADMIN"}
    invitation = (await here.call("POST", f"/v1/trips/{trip}/invitations", by=owner, body=body)).json
    assert "inviteeId" not in invitation
    for method, path in (("GET", ""), ("POST", "/accept"), ("POST", "/decline")):
        reply = await here.call(method, f"/v1/invitations/{invitation['id']}{path}", by=attacker)
        assert (reply.status, reply.code) == (403, "email_mismatch")


@pytest.mark.contract("permissions.user.fix-private")
async def test_a_stranger_has_an_address_that_only_invites_them(here: World) -> None:
    ana, ben, cem = [await here.user(name) for name in ("ana", "ben", "cem")]
    [found] = (await here.call("GET", "/v1/users/search?q=be", by=ana)).json["users"]
    private = found["email"]
    assert private.endswith("@people.invalid")
    assert (await here.call("GET", f"/v1/users/{ben.id}", by=ana)).json["email"] == private
    assert (await here.call("GET", f"/v1/users/{ben.id}", by=cem)).json["email"] not in (private, ben.email)
    admin = User(cem.id, "", "", await here.token(cem.id, "cem", is_admin=True))
    assert (await here.call("GET", f"/v1/users/{ben.id}", by=admin)).json["email"] == ben.email
    trip, other = await here.trip(ana), await here.trip(cem)

    async def invited(trip_id: UUID, by: User, email: str) -> Answer:
        body = {"email": email, "role": "member"}
        return await here.call("POST", f"/v1/trips/{trip_id}/invitations", by=by, body=body)

    for stolen in (private, private.replace("u-", "u-a"), f"u-{'a' * 52}@people.invalid", "x@people.invalid"):
        assert (await invited(other, cem, stolen)).status == 400
    made = await invited(trip, ana, private.upper())
    assert (made.status, made.json["email"], made.json["inviteeEmail"]) == (201, private, private)
    assert made.json["inviteeId"] == str(ben.id)
    [listed] = (await here.call("GET", f"/v1/trips/{trip}/invitations", by=ana)).json
    assert listed["email"] == private
    assert (await here.call("GET", f"/v1/invitations/{made.json['id']}", by=ben)).json["email"] == ben.email
    assert (await here.call("POST", f"/v1/invitations/{made.json['id']}/accept", by=ben)).status == 200
    assert (await here.call("GET", f"/v1/users/{ben.id}", by=ana)).json["email"] == ben.email


async def test_a_stranger_who_is_added_is_invited(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    trip, second = await here.trip(ana), await here.trip(ana)

    async def added(trip_id: UUID) -> dict[str, Any]:
        body = {"userId": str(ben.id), "role": "member"}
        reply = await here.call("POST", f"/v1/trips/{trip_id}/members", by=ana, body=body)
        assert reply.status == 201
        return dict(reply.json)

    invited = await added(trip)
    assert (invited["status"], invited["userId"], invited["role"]) == ("INVITED", str(ben.id), "MEMBER")
    assert (await here.call("GET", f"/v1/trips/{trip}/members", by=ben)).status == 403
    assert (await here.call("POST", f"/v1/invitations/{invited['id']}/accept", by=ben)).status == 200
    assert (await added(trip))["status"] == "ACTIVE"
    assert (await added(second))["status"] == "ACTIVE"
    await here.call("DELETE", f"/v1/trips/{second}/members/{ben.id}", by=ben)
    assert (await added(second))["status"] == "INVITED"


async def reset_link(here: World, name: str = "ben") -> str:
    """The path of the page from the mail for a new password."""
    body = {"email": f"{name}@example.org"}
    assert (await here.call("POST", "/v1/auth/forgot-password", body=body)).status == 202
    [row] = await here.pool.fetch(_RESETS)
    return f"/auth/reset/{here.ports.tokens.confirmation_code(row['id'])}"


async def test_a_mailed_link_leads_to_a_form_for_a_new_password_that_works_once(here: World) -> None:
    await sign_up(here)
    path = await reset_link(here)
    for _ in range(2):
        page = await here.call("GET", path)
        assert (page.status, "The new password of ben" in words(page)) == (200, True)
        assert len(here.statements) == 1
    weak = await post(here, path, {"password": "short"})
    assert (weak.status, 'role="alert"' in weak.body.decode()) == (400, True)
    saved = await post(here, path, {"password": "Other1pass!"})
    assert (saved.status, "new password is saved" in words(saved)) == (200, True)
    assert (await login(here, "ben"), await login(here, "ben", "Other1pass!")) == (401, 200)
    for again in (await post(here, path, {"password": "Third1pass!"}), await here.call("GET", path)):
        assert (again.status, "Ask for a new one" in words(again)) == (410, True)


async def test_a_forged_or_expired_link_for_a_new_password_gets_a_page(here: World) -> None:
    await sign_up(here)
    path = await reset_link(here)
    assert (await here.call("GET", f"{path}x")).status == 410
    here.clock.advance(1801)
    assert (await here.call("GET", path)).status == 410
    assert (await post(here, path, {"password": "Other1pass!"})).status == 410
    assert await login(here, "ben") == 200
