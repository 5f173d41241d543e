"""Accounts and profiles over HTTP: /v1/auth and /v1/users."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import OctKey
from msgspec.structs import replace

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.api.mail.consumer import send_mail_for
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId, UserId
from tests.postgres import Postgres
from tests.world import Answer, User, World, world

PASSWORD = "Sail2Porto!"
ANA: dict[str, Any] = {"email": "ana@example.org", "password": PASSWORD}
SUPABASE, SUPABASE_SECRET = "https://abc.supabase.co", "the-projects-secret-of-forty-characters!"
_RESETS = compile_statement("resets", "SELECT id FROM password_resets")
_OUTBOX = compile_statement("outbox", "SELECT * FROM outbox ORDER BY occurred_at, id")


@pytest_asyncio.fixture(loop_scope="session")
async def mailing(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    """A backend that sends mail, so that addresses must be confirmed."""
    environment = {"NOMADCREW_SMTP_URL": "smtp://127.0.0.1:9"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def beside(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    """A backend that accepts a Supabase project's tokens and its own."""
    environment = {"NOMADCREW_SUPABASE_URL": SUPABASE, "NOMADCREW_SUPABASE_JWT_SECRET": SUPABASE_SECRET}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def closed(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    environment = {"NOMADCREW_REGISTRATION": "closed"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


async def register(here: World, **fields: Any) -> Answer:
    return await here.call("POST", "/v1/auth/register", body=ANA | fields)


async def login(here: World, password: str = PASSWORD, **who: str) -> Answer:
    return await here.call("POST", "/v1/auth/login", body={"password": password} | (who or {"email": ANA["email"]}))


async def refresh(here: World, token: str) -> Answer:
    return await here.call("POST", "/v1/auth/refresh", body={"refresh_token": token})


def bearer(reply: Answer) -> User:
    user = reply.json["user"]
    return User(UserId(UUID(user["id"])), user["email"], user["username"], reply.json["access_token"])


def by_supabase(here: World, **claims: Any) -> User:
    """A user with a Supabase token with these claims."""
    payload = {
        "iss": f"{SUPABASE}/auth/v1",
        "sub": str(uuid4()),
        "exp": int(here.clock().timestamp()) + 3600,
        "user_metadata": claims.pop("metadata", {}),
    } | claims
    token = jwt.encode({"alg": "HS256"}, payload, OctKey.import_key(SUPABASE_SECRET), algorithms=["HS256"])
    return User(UserId(UUID(payload["sub"])), "", "", token)


async def test_registering_signs_in(here: World) -> None:
    reply = await register(here, firstName="Ana", lastName="Lima", username="ana_l")
    assert reply.status == 201
    assert set(reply.json) == {"access_token", "refresh_token", "expires_in", "token_type", "user", "device_token"}
    assert (reply.json["expires_in"], reply.json["token_type"]) == (900, "bearer")
    me = await here.call("GET", "/v1/users/me", by=bearer(reply))
    assert me.json == reply.json["user"]
    assert me.json | {"id": "x"} == {
        "id": "x",
        "email": "ana@example.org",
        "username": "ana_l",
        "firstName": "Ana",
        "lastName": "Lima",
        "displayName": "Ana Lima",
        "preferences": {},
        "locationPrivacyPreference": "precise",
        "createdAt": "2026-11-22T12:00:00Z",
        "updatedAt": "2026-11-22T12:00:00Z",
        "lastSeenAt": "2026-11-22T12:00:00Z",
    }


async def test_registering_again_signs_in_with_the_right_password_only(here: World) -> None:
    first = await register(here)
    again = await register(here, email=" ANA@example.org ")
    assert again.status == 201
    assert again.json["user"] == first.json["user"]
    other = await register(here, password="Other1pass!")
    assert (other.status, other.code) == (400, "email_taken")
    assert "email" in other.json["message"]


async def test_without_a_username_one_is_derived_from_the_address(here: World) -> None:
    await register(here)
    other = await register(here, email="ana+trips@example.net")
    assert other.status == 201
    assert other.json["user"]["username"].startswith("ana")
    assert other.json["user"]["username"] != "ana"
    odd = await register(here, email="!#$@example.net")
    assert odd.json["user"]["username"] == "traveller"


async def test_a_username_belongs_to_one_user(here: World) -> None:
    await register(here, username="Ana")
    reply = await register(here, email="x@example.org", username="ANA")
    assert (reply.status, reply.code) == (400, "username_taken")
    assert "username" in reply.json["message"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"password": "short"}, "weak_password"),
        ({"password": "Password1!"}, "weak_password"),
        ({"email": "no address"}, "invalid_request_payload"),
        ({"email": "a@b"}, "invalid_request_payload"),
        ({"username": "a b"}, "invalid_username"),
        ({"username": "a@b"}, "invalid_username"),
        ({"username": "x" * 31}, "invalid_username"),
        ({"username": "a\u200bb"}, "invalid_username"),
        ({"firstName": "x" * 51}, "invalid_request_payload"),
        ({"firstName": "a\nb"}, "invalid_request_payload"),
        ({"password": 7}, "invalid_request_payload"),
        ({"password": "Sail2\u0000Porto!"}, "invalid_request_payload"),
    ],
    ids=str,
)
async def test_an_invalid_registration_is_refused(here: World, fields: dict[str, Any], code: str) -> None:
    reply = await register(here, **fields)
    assert (reply.status, reply.code) == (400, code)
    assert str(fields.get("password", "#")) not in reply.body.decode()


async def test_registration_can_be_closed(closed: World) -> None:
    reply = await register(closed)
    assert (reply.status, reply.code) == (403, "registration_closed")


async def test_sign_in_accepts_address_or_username_in_any_case(here: World) -> None:
    await register(here, username="Ana")
    for who in ({"email": "ANA@Example.org"}, {"username": "aNa"}, {"email": " ana "}):
        assert (await login(here, **who)).status == 200
    assert (await here.call("POST", "/v1/auth/login", body={"password": PASSWORD})).status == 400


async def test_a_wrong_password_and_an_unknown_account_get_the_same_refusal(here: World) -> None:
    await register(here)
    wrong, nobody = await login(here, "Wrong1pass!"), await login(here, email="nobody@example.org")
    assert (wrong.status, wrong.code) == (nobody.status, nobody.code) == (401, "invalid_credentials")
    assert wrong.body == nobody.body


async def test_five_failures_lock_an_account_under_address_and_username(here: World) -> None:
    await register(here, username="other_name")
    for _ in range(5):
        assert (await login(here, "Wrong1pass!")).status == 401
    for reply in (await login(here), await login(here, username="other_name")):
        assert (reply.status, reply.code) == (429, "too_many_failures")
        assert int(reply.headers["retry-after"]) == 180
    here.clock.advance(181)
    assert (await login(here)).status == 200
    assert (await login(here, email="ben@example.org")).status == 401


async def test_a_device_that_signed_in_before_is_not_locked_by_the_failures_of_others(here: World) -> None:
    known = (await register(here)).json["device_token"]
    assert (await login(here)).json["device_token"] != known
    for _ in range(5):
        await login(here, "Wrong1pass!")
    assert (await login(here)).status == 429
    body = {"email": ANA["email"], "password": PASSWORD, "device_token": known}
    assert (await here.call("POST", "/v1/auth/login", body=body)).status == 200


async def test_concurrent_failures_count_like_sequential_ones(here: World) -> None:
    await register(here)
    replies = await asyncio.gather(*(login(here, "Wrong1pass!") for _ in range(9)))
    assert sorted(reply.status for reply in replies) == [401] * 5 + [429] * 4


async def test_success_does_not_count_as_failure(here: World) -> None:
    await register(here)
    for _ in range(9):
        assert (await login(here)).status == 200


async def test_registration_attempts_count_as_failed_sign_ins(here: World) -> None:
    await register(here)
    for _ in range(5):
        assert (await register(here, password="Guess1pass!")).status == 400
    assert (await register(here)).status == 429
    assert (await login(here)).status == 429


async def test_sign_ins_and_registrations_are_limited_per_ip_address(here: World) -> None:
    for n in range(10):
        assert (await login(here, email=f"{n}@example.org")).status == 401
    assert (await login(here, email="x@example.org")).status == 429
    for n in range(20):
        assert (await register(here, email=f"p{n}@example.org")).status == 201
    assert (await register(here, email="one-more@example.org")).status == 429


async def test_a_refresh_token_is_exchanged_and_its_reuse_ends_the_session(here: World) -> None:
    first = await register(here)
    second = await refresh(here, first.json["refresh_token"])
    assert second.status == 200
    assert second.json["user"] == first.json["user"]
    here.clock.advance(31)
    stolen = await refresh(here, first.json["refresh_token"])
    assert (stolen.status, stolen.code) == (401, "invalid_refresh_token")
    assert (await refresh(here, second.json["refresh_token"])).status == 401
    after = await here.call("GET", "/v1/users/me", by=bearer(second))
    assert (after.status, after.code) == (401, "auth_failed")


async def test_signing_out_ends_the_session_and_may_be_repeated(here: World) -> None:
    reply = await register(here)
    other = await login(here)
    for _ in range(2):
        body = {"refresh_token": reply.json["refresh_token"]}
        assert (await here.call("POST", "/v1/auth/logout", body=body)).status == 204
    assert (await here.call("POST", "/v1/auth/logout", body={"refresh_token": "unknown"})).status == 204
    assert (await refresh(here, reply.json["refresh_token"])).status == 401
    assert (await here.call("GET", "/v1/users/me", by=bearer(reply))).status == 401
    assert (await here.call("GET", "/v1/users/me", by=bearer(other))).status == 200


async def test_a_user_ends_one_session_and_then_all_others(here: World) -> None:
    phone = bearer(await register(here))
    tablet, laptop = bearer(await login(here)), bearer(await login(here))
    listed = (await here.call("GET", "/v1/auth/sessions", by=phone)).json["sessions"]
    last_used = f"/v1/auth/sessions/{listed[0]['id']}"
    assert (await here.call("DELETE", last_used, by=phone)).status == 204
    assert (await here.call("DELETE", last_used, by=phone)).status == 404
    assert [(await here.call("GET", "/v1/users/me", by=one)).status for one in (phone, tablet, laptop)] == [
        200,
        200,
        401,
    ]
    for _ in range(2):
        assert (await here.call("DELETE", "/v1/auth/sessions", by=phone)).status == 204
    assert [(await here.call("GET", "/v1/users/me", by=one)).status for one in (phone, tablet)] == [200, 401]


async def test_a_refresh_token_is_refused_as_access_token(here: World) -> None:
    reply = await register(here)
    wrong = User(bearer(reply).id, "", "", reply.json["refresh_token"])
    assert (await here.call("GET", "/v1/users/me", by=wrong)).code == "auth_failed"
    assert (await refresh(here, reply.json["access_token"])).status in (400, 401)


async def test_a_token_is_validated_until_it_expires(here: World) -> None:
    reply = await register(here)
    valid = await here.call("GET", "/v1/auth/validate", by=bearer(reply))
    assert valid.json == {"valid": True, "expires_at": "2026-11-22T12:15:00Z", "user": reply.json["user"]}
    here.clock.advance(15 * 60 + 60)
    expired = await here.call("GET", "/v1/auth/validate", by=bearer(reply))
    assert (expired.status, expired.code) == (401, "token_expired")
    assert expired.json["refresh_required"] is True


async def test_our_keys_are_published(here: World) -> None:
    reply = await here.call("GET", "/.well-known/jwks.json")
    [key] = reply.json["keys"]
    assert set(key) == {"kid", "kty", "alg", "use", "n", "e"}


async def codes(here: World) -> list[str]:
    """The codes of confirmation mails in the outbox, oldest first; 'known' for a mail to an existing account."""
    found = []
    for row in await here.pool.fetch(_OUTBOX):
        about = msgspec.json.decode(row["payload"])
        known = "registration_id" not in about
        found.append("known" if known else here.ports.tokens.confirmation_code(UUID(about["registration_id"])))
    return found


async def confirm(here: World, code: str, password: str = PASSWORD) -> Answer:
    return await here.call("POST", "/v1/auth/confirm", body={"token": code, "password": password})


async def test_on_a_site_with_mail_registration_always_gets_the_same_reply(mailing: World) -> None:
    first = await register(mailing)
    assert (first.status, first.json) == (202, {"confirmation_required": True})
    [code] = await codes(mailing)
    assert (await confirm(mailing, code)).status == 200
    again = await register(mailing, password="Intruder1!x", email="ana@EXAMPLE.org")
    assert (again.status, again.body) == (first.status, first.body)
    assert await codes(mailing) == [code, "known"]


async def test_a_confirmation_signs_in_once(mailing: World) -> None:
    await register(mailing, username="ana", firstName="Ana")
    [code] = await codes(mailing)
    reply = await confirm(mailing, code)
    assert (reply.status, reply.json["user"]["displayName"]) == (200, "Ana")
    assert (await mailing.call("GET", "/v1/users/me", by=bearer(reply))).status == 200
    again = await confirm(mailing, code)
    assert (again.status, again.code) == (400, "confirmation_used")
    assert (await confirm(mailing, "forged")).code == "invalid_confirmation"
    assert (await login(mailing)).status == 200


async def test_the_owner_of_an_address_cannot_confirm_a_strangers_registration(mailing: World) -> None:
    await register(mailing, username="mallory")
    [code] = await codes(mailing)
    assert (await mailing.call("POST", "/v1/auth/confirm", body={"token": code})).status == 400
    refused = await confirm(mailing, code, "Owners1pass!")
    assert (refused.status, refused.code) == (401, "invalid_credentials")
    assert (await login(mailing)).code == "email_not_confirmed"
    for _ in range(4):
        await confirm(mailing, code, "Owners1pass!")
    assert (await confirm(mailing, code)).code == "too_many_failures"
    mailing.clock.advance(901)
    assert (await confirm(mailing, code)).status == 200


async def test_signing_in_before_confirming_sends_the_mail_again(mailing: World) -> None:
    await register(mailing)
    mailing.clock.advance(301)
    reply = await login(mailing)
    assert (reply.status, reply.code) == (403, "email_not_confirmed")
    assert (await login(mailing)).code == "email_not_confirmed"
    first, second = await codes(mailing)
    assert first == second
    assert (await login(mailing, "Wrong1pass!")).code == "invalid_credentials"


async def test_the_code_in_the_mail_confirms(here: World, mailing: World) -> None:
    await register(mailing)
    [row] = await mailing.pool.fetch(_OUTBOX)
    event = Event(
        EventId(row["id"]),
        row["type"],
        row["source"],
        None,
        None,
        None,
        row["audience"],
        row["occurred_at"],
        row["payload"],
    )
    await send_mail_for(event, replace(mailing.ports, mailer=here.ports.mailer))
    [file] = here.mail.iterdir()
    code = file.read_text().split("/auth/confirm/")[1].split()[0]
    assert (await confirm(mailing, code)).status == 200


@pytest.mark.contract(
    "rest-core.onboard",
    "rest-core.onboard.without-profile",
    "rest-core.onboard.fix-change",
    "rest-core.onboard.fix-metadata",
    "permissions.onboard",
    "jobs.supabase-tokens",
)
async def test_onboarding_uses_the_tokens_claims_and_the_bodys_username(beside: World) -> None:
    metadata = {"firstName": "Ana", "lastName": "Lima", "avatar_url": "https://x.example/a.png"}
    ana = by_supabase(beside, email="Ana@Example.org", username="from_token", metadata=metadata)
    before = await beside.call("GET", "/v1/users/me", by=ana)
    assert (before.status, before.code) == (404, "profile_not_found")
    assert (await beside.call("GET", "/v1/trips", by=ana)).code == "user_not_onboarded"
    made = await beside.call("POST", "/v1/users/onboard", by=ana)
    assert made.status == 200
    assert (made.json["email"], made.json["username"]) == ("ana@example.org", "from_token")
    assert (made.json["displayName"], made.json["profilePicture"]) == ("Ana Lima", "https://x.example/a.png")
    renamed = await beside.call("POST", "/v1/users/onboard", by=ana, body={"username": " anita "})
    assert renamed.json["username"] == "anita"
    for raw in (b"", b"{", b"[]", b'{"username": 7}', b'{"username": "  "}', b"\xff"):
        kept = await beside.call("POST", "/v1/users/onboard", by=ana, raw=raw)
        assert (kept.status, kept.json["username"]) == (200, "anita")
    assert (await beside.call("GET", "/v1/users/me", by=ana)).json == kept.json


@pytest.mark.contract("rest-core.onboard.fix-metadata")
async def test_a_full_name_is_split(beside: World) -> None:
    ana = by_supabase(beside, email="a@example.org", username="ana", metadata={"full_name": "Ana de Lima"})
    made = await beside.call("POST", "/v1/users/onboard", by=ana)
    assert (made.json["firstName"], made.json["lastName"]) == ("Ana", "de Lima")


@pytest.mark.parametrize("metadata", [{"firstName": "x" * 99, "avatar_url": "javascript:x"}, {"full_name": 7}])
async def test_malformed_metadata_does_not_prevent_onboarding(beside: World, metadata: dict[str, Any]) -> None:
    ana = by_supabase(beside, email="a@example.org", username="ana", metadata=metadata)
    made = await beside.call("POST", "/v1/users/onboard", by=ana)
    assert made.status == 200
    assert "avatarUrl" not in made.json


@pytest.mark.contract("rest-core.onboard.refused")
async def test_onboarding_refuses_invalid_and_taken_names(beside: World) -> None:
    await register(beside, username="ana")
    cases = (
        ({"email": "b@example.org"}, None, "invalid_username"),
        ({"email": "b@example.org"}, {"username": "ANA"}, "username_taken"),
        ({"email": "b@example.org"}, {"username": "a b"}, "invalid_username"),
        ({"email": "ANA@example.org", "username": "ben"}, None, "email_taken"),
        ({"username": "ben"}, None, "email_required"),
    )
    for claims, body, code in cases:
        reply = await beside.call("POST", "/v1/users/onboard", by=by_supabase(beside, **claims), body=body)
        assert (reply.status, reply.code) == (400, code)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ("ANA", r"ANA\d{4}"),
        ("Ana Silva", "Ana_Silva"),
        ("b.lima@example.org", r"b\.lima"),
        ("x" * 35, "x{30}"),
        ("น้ำฝน", "น้ำฝน"),
        ("น้ำ ฝน", "น้ำ_ฝน"),
        ("@ana_s", "ana_s"),
        ("\u3164", "traveller"),
        (" ", "traveller"),
    ],
)
async def test_the_register_screen_gets_a_near_free_username(beside: World, wanted: str, made: str) -> None:
    """The screen checks nothing; it sends the name that it has just stored at the identity provider."""
    await register(beside, username="ana")
    ben = by_supabase(beside, email="b@example.org", metadata={"username": wanted})
    for _ in range(2):
        reply = await beside.call("POST", "/v1/users/onboard", by=ben, body={"username": wanted})
        assert reply.status == 200
        assert re.fullmatch(made, reply.json["username"])
    assert (await beside.call("GET", "/v1/users/me", by=ben)).json == reply.json
    other = by_supabase(beside, email="c@example.org")
    refused = await beside.call("POST", "/v1/users/onboard", by=other, body={"username": "a b"})
    assert (refused.status, refused.code) == (400, "invalid_username")


async def test_a_phone_that_registers_before_the_profile_gets_pushes_with_it(beside: World) -> None:
    ana = by_supabase(beside, email="ana@example.org", username="ana")
    body = {"token": "ExponentPushToken[a]", "deviceType": "ios"}
    waiting = await beside.call("POST", "/v1/users/push-token", by=ana, body=body)
    assert (waiting.status, waiting.json["token"], waiting.json["userId"]) == (200, body["token"], str(ana.id))
    claim = beside.ports.push_tokens.claim
    assert (await claim(EventId(beside.ports.new_id()), [ana.id], now=beside.clock())).phones == []
    await beside.call("POST", "/v1/users/onboard", by=ana)
    [phone] = (await claim(EventId(beside.ports.new_id()), [ana.id], now=beside.clock())).phones
    assert (phone.token, str(phone.id)) == (body["token"], waiting.json["id"])


@pytest.mark.contract("rest-core.feedback", "rest-activity.feedback")
async def test_feedback_is_stored_once(here: World) -> None:
    body = {
        "name": " Ana ",
        "email": "ana@example.org",
        "message": "The map is blank. (1.2, iOS)",
        "source": "app_bug",
    }
    for _ in range(2):
        reply = await here.call("POST", "/v1/feedback", body=body)
        assert (reply.status, reply.json) == (201, {"status": "Feedback submitted successfully"})
    [stored] = await here.ports.feedback_box.list_newest(limit=10)
    assert (stored.name, stored.message, stored.source) == ("Ana", body["message"], "app_bug")
    for change in (
        {"message": " short   "},
        {"message": "\u3164" * 12},
        {"name": " "},
        {"email": "x"},
        {"source": "x"},
    ):
        assert (await here.call("POST", "/v1/feedback", body=body | change)).status == 400


@pytest.mark.contract("rest-core.change-user", "rest-core.change-user.fix-stored", "rest-core.sync")
async def test_a_profile_change_is_stored(here: World) -> None:
    ana = bearer(await register(here))
    change = {
        "username": "anita",
        "firstName": " Ana ",
        "lastName": "Lima",
        "profilePictureUrl": "https://x.example/a.png",
        "locationPrivacyPreference": "approximate",
        "somethingElse": 1,
    }
    reply = await here.call("PUT", f"/v1/users/{ana.id}", by=ana, body=change)
    assert reply.status == 200
    expected = {
        "username": "anita",
        "firstName": "Ana",
        "displayName": "Ana Lima",
        "avatarUrl": change["profilePictureUrl"],
    }
    assert expected.items() <= reply.json.items()
    assert reply.json["profilePictureUrl"] == reply.json["profilePicture"] == "https://x.example/a.png"
    assert reply.json["locationPrivacyPreference"] == "approximate"
    assert (await here.call("GET", "/v1/users/me", by=ana)).json == reply.json
    assert (await here.call("POST", "/v1/users/sync", by=ana)).json == reply.json
    emptied = await here.call("PUT", f"/v1/users/{ana.id}", by=ana, body={"profilePictureUrl": ""})
    assert "avatarUrl" not in emptied.json


@pytest.mark.contract("rest-core.change-user")
@pytest.mark.parametrize(
    "body",
    [
        {"username": ""},
        {"username": "x" * 31},
        {"firstName": "x" * 51},
        {"profilePictureUrl": "javascript:alert(1)"},
        {"profilePictureUrl": "http://["},
        {"profilePictureUrl": "https://x.example/" + "a" * 2048},
        {"locationPrivacyPreference": "PRECISE"},
        [],
        None,
    ],
    ids=lambda body: str(body)[:40],
)
async def test_an_invalid_profile_change_is_refused(here: World, body: Any) -> None:
    ana = bearer(await register(here))
    reply = await here.call("PUT", f"/v1/users/{ana.id}", by=ana, raw=msgspec.json.encode(body))
    assert reply.status == 400


@pytest.mark.contract("rest-core.preferences", "rest-core.preferences.fix-stored")
async def test_preferences_are_stored_and_returned_with_the_profile(here: World) -> None:
    ana = bearer(await register(here))
    path = f"/v1/users/{ana.id}/preferences"
    reply = await here.call("PUT", path, by=ana, body={"ghostMode": True, "notifications": {"push": False}})
    assert reply.status == 200
    assert reply.json["message"]
    assert reply.json["preferences"] == {"ghostMode": True, "notifications": {"push": False}}
    await here.call("PUT", path, by=ana, body={"notifications": None})
    assert (await here.call("GET", "/v1/users/me", by=ana)).json["preferences"] == {"ghostMode": True}
    assert (await here.call("PUT", path, by=ana, body={"GHOST_MODE": False})).json["preferences"] == {
        "ghostMode": False
    }
    refused = await here.call("PUT", path, by=ana, body={"ghostMode": "true"})
    assert (refused.status, refused.code) == (400, "invalid_preferences")
    for raw in (b"null", b"[]", b"7", b"", b'{"a": "\\u0000"}', b'{"a": "' + b"x" * 20_000 + b'"}'):
        assert (await here.call("PUT", path, by=ana, raw=raw)).status == 400


@pytest.mark.contract("rest-core.me.fix-contact-email", "rest-core.user", "permissions.user.fix-private")
async def test_other_users_see_a_profile_without_private_fields(here: World) -> None:
    ana = bearer(await register(here))
    ben = await here.user("ben")
    await here.call("PUT", "/v1/users/me/contact-email", by=ana, body={"email": "relay@example.net"})
    await here.call("PUT", f"/v1/users/{ana.id}/preferences", by=ana, body={"ghostMode": True})
    seen = await here.call("GET", f"/v1/users/{ana.id}", by=ben)
    assert seen.status == 200
    assert not {"preferences", "contactEmail", "locationPrivacyPreference"} & set(seen.json)
    own = await here.call("GET", f"/v1/users/{ana.id}", by=ana)
    assert own.json["contactEmail"] == "relay@example.net"


@pytest.mark.contract("rest-core.change-user.self", "rest-core.preferences.self", "permissions.user.self")
async def test_a_user_cannot_change_another_profile(here: World) -> None:
    ana, ben = bearer(await register(here)), await here.user("ben")
    for path, body in ((f"/v1/users/{ana.id}", {"firstName": "x"}), (f"/v1/users/{ana.id}/preferences", {"a": 1})):
        reply = await here.call("PUT", path, by=ben, body=body)
        assert (reply.status, reply.code) == (403, "not_self")
    admin = User(ben.id, "", "", await here.token(ben.id, "ben", is_admin=True))
    reply = await here.call("PUT", f"/v1/users/{ana.id}", by=admin, body={"firstName": "Anna"})
    assert (reply.status, reply.json["firstName"]) == (200, "Anna")
    assert "preferences" not in reply.json


@pytest.mark.contract("rest-core.user")
async def test_malformed_and_unknown_user_ids_are_refused(here: World) -> None:
    ana = bearer(await register(here))
    malformed = await here.call("GET", "/v1/users/nonsense", by=ana)
    assert (malformed.status, malformed.code) == (400, "invalid_user_id")
    unknown = await here.call("GET", f"/v1/users/{uuid4()}", by=ana)
    assert (unknown.status, unknown.code) == (404, "user_not_found")
    assert (await here.call("PUT", "/v1/users/nonsense", by=ana, body={})).status == 400
    assert (await here.call("PUT", f"/v1/users/{uuid4()}", by=ana, body={})).status == 403


@pytest.mark.contract("rest-core.contact-email")
async def test_a_contact_address_is_returned_as_it_was_sent(here: World) -> None:
    ana, _ = bearer(await register(here)), await here.user("ben")
    reply = await here.call("PUT", "/v1/users/me/contact-email", by=ana, body={"email": "Ana.L@Relay.example"})
    assert (reply.status, reply.json) == (200, {"contactEmail": "Ana.L@Relay.example"})
    assert (await here.call("PUT", "/v1/users/me/contact-email", by=ana, body={"email": "x"})).status == 400
    taken = await here.call("PUT", "/v1/users/me/contact-email", by=ana, body={"email": "ben@example.org"})
    assert (taken.status, taken.code) == (400, "email_taken")


@pytest.mark.contract("rest-core.search", "rest-core.search.q")
async def test_a_user_search_marks_members_of_the_callers_trip(here: World) -> None:
    ana, ben, cem = [await here.user(f"traveller_{name}") for name in ("ana", "ben", "cem")]
    trip = await here.trip(ana)
    await here.join(trip, ana, ben)
    search = f"/v1/users/search?q=TRAVELLER&tripId={trip}"
    reply = await here.call("GET", search, by=ana)
    assert [user.get("isMember", False) for user in reply.json["users"]] == [True, True, False]
    assert set(reply.json["users"][2]) == {"id", "email", "username", "firstName"}
    outside = await here.call("GET", search, by=cem)
    assert not any("isMember" in user for user in outside.json["users"])
    assert len((await here.call("GET", f"{search}x&limit=2", by=ana)).json["users"]) == 2
    for query in ("", "?q=", "?q=a", "?q=%F0%9F%8F%96", "?q=%20%20", "?q=%00%00"):
        assert (await here.call("GET", f"/v1/users/search{query}", by=ana)).status == 400
    assert (await here.call("GET", "/v1/users/search?q=%F0%9F%8F%96x", by=ana)).json == {"users": []}


@pytest.mark.contract("rest-core.users", "rest-core.users.fix-admin")
async def test_only_administrators_can_list_users(here: World) -> None:
    ana, ben = await here.user("ana"), await here.user("ben")
    assert (await here.call("GET", "/v1/users", by=ana)).code == "admin_only"
    admin = User(ana.id, "", "", await here.token(ana.id, "ana", is_admin=True))
    reply = await here.call("GET", "/v1/users?limit=1.5", by=admin)
    assert reply.json["pagination"] == {"total": 2, "offset": 0, "limit": 1}
    assert [user["id"] for user in reply.json["users"]] == [str(ben.id)]
    for query in ("limit=0", "limit=101", "limit=x", "offset=-1", "limit=%D9%A1"):
        assert (await here.call("GET", f"/v1/users?{query}", by=admin)).status == 400
    stranger = User(UserId(uuid4()), "", "", await here.token(UserId(uuid4()), "x", is_admin=True))
    assert (await here.call("GET", "/v1/users", by=stranger)).code == "user_not_onboarded"


async def test_an_invitation_to_a_user_is_not_had_by_claiming_the_users_private_address(beside: World) -> None:
    ben, mallory = await beside.user("ben"), await beside.user("mallory")
    private = f"{ben.id}@people.invalid"
    refused = {
        "register": await register(beside, email=private),
        "contact": await beside.call("PUT", "/v1/users/me/contact-email", by=mallory, body={"email": private}),
        "onboard": await beside.call("POST", "/v1/users/onboard", by=by_supabase(beside, email=private), body={}),
    }
    assert {way: reply.status for way, reply in refused.items()} == dict.fromkeys(refused, 400)


async def test_a_request_for_a_new_password_does_not_reveal_accounts(here: World) -> None:
    await register(here)
    for path in ("/v1/auth/forgot-password", "/v1/auth/resend"):
        replies = []
        for email in ("ana@example.org", "unknown@example.org", "not an address"):
            replies.append(await here.call("POST", path, body={"email": email}))
            assert len(here.statements) == 1
        assert {(reply.status, reply.body) for reply in replies} == {(202, replies[0].body)}


async def test_a_password_is_reset_with_the_mailed_token(here: World) -> None:
    signed_in = await register(here)
    await here.call("POST", "/v1/auth/forgot-password", body={"email": "ana@example.org"})
    [row] = await here.pool.fetch(_RESETS)
    code = here.ports.tokens.confirmation_code(row["id"])
    for body, refusal in (
        ({"token": code, "password": "weak"}, "weak_password"),
        ({"token": "forged", "password": "Other1pass!"}, "invalid_reset"),
    ):
        reply = await here.call("POST", "/v1/auth/reset-password", body=body)
        assert (reply.status, reply.code) == (400, refusal)
    reply = await here.call("POST", "/v1/auth/reset-password", body={"token": code, "password": "Other1pass!"})
    assert reply.status == 204
    refreshed = {"refresh_token": signed_in.json["refresh_token"]}
    assert (await here.call("POST", "/v1/auth/refresh", body=refreshed)).status == 401
    assert (await login(here)).code == "invalid_credentials"
    assert (await login(here, "Other1pass!")).status == 200


async def change_password(here: World, by: User, present: str, new: str) -> Answer:
    return await here.call(
        "POST", "/v1/auth/change-password", by=by, body={"password": present, "new_password": new}
    )


async def test_a_user_changes_the_password_and_stays_signed_in_on_this_device_alone(here: World) -> None:
    phone, tablet = await register(here), await login(here)
    refused = await change_password(here, bearer(phone), "Wrong1pass!", "Other1pass!")
    assert (refused.status, refused.code) == (403, "wrong_password")
    refused = await change_password(here, bearer(phone), PASSWORD, "weak")
    assert (refused.status, refused.code) == (400, "weak_password")
    changed = await change_password(here, bearer(phone), PASSWORD, "Other1pass!")
    assert changed.status == 200
    [session] = (await here.call("GET", "/v1/auth/sessions", by=bearer(changed))).json["sessions"]
    assert session["current"]
    refreshed = {"refresh_token": tablet.json["refresh_token"]}
    assert (await here.call("POST", "/v1/auth/refresh", body=refreshed)).status == 401
    assert (await login(here)).code == "invalid_credentials"
    assert (await login(here, "Other1pass!")).status == 200


async def test_wrong_present_passwords_are_limited(here: World) -> None:
    ana = bearer(await register(here))
    for _ in range(5):
        assert (await change_password(here, ana, "Wrong1pass!", "Other1pass!")).code == "wrong_password"
    assert (await change_password(here, ana, PASSWORD, "Other1pass!")).code == "too_many_failures"


async def test_a_user_of_another_issuer_has_no_password_here(beside: World) -> None:
    ana = by_supabase(beside, email="ana@example.org", username="ana")
    assert (await beside.call("POST", "/v1/users/onboard", by=ana)).status == 200
    refused = await change_password(beside, ana, PASSWORD, "Other1pass!")
    assert (refused.status, refused.code) == (403, "password_elsewhere")
