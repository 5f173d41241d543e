"""Passkeys: adding, listing, naming and removing them, and sign-in without a password."""

import base64
from typing import Any
from uuid import UUID, uuid4

import pytest

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.auth import totp
from nomadcrew.core.auth.passkeys import MAX_PASSKEYS
from nomadcrew.core.ids import UserId
from tests.authenticator import PRESENT, Authenticator, text
from tests.world import Answer, User, World

PASSWORD = "Sail2Porto!"
PATH = "/v1/auth/passkeys"
_MANY = compile_statement(
    "many passkeys",
    "INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, created_at)"
    " SELECT gen_random_uuid(), :user_id::uuid, sha256(n::text::bytea), '', 0, 'x', now()"
    " FROM generate_series(1, :count::int) n",
)
_NO_PASSWORD = compile_statement("no password", "UPDATE accounts SET has_password = false RETURNING user_id")


async def register(here: World, name: str = "ana") -> User:
    body = {"email": f"{name}@example.org", "username": name, "password": PASSWORD}
    return user_of(await here.call("POST", "/v1/auth/register", body=body))


def user_of(reply: Answer) -> User:
    assert reply.status in (200, 201), reply.body
    user = reply.json["user"]
    return User(UserId(UUID(user["id"])), user["email"], user["username"], reply.json["access_token"])


async def options(here: World, by: User) -> dict[str, Any]:
    reply = await here.call("POST", f"{PATH}/options", by=by, body={"password": PASSWORD})
    assert reply.status == 200, reply.body
    return dict(reply.json)


async def add(here: World, by: User, credential: dict[str, Any], name: str = "My phone") -> Answer:
    return await here.call("POST", PATH, by=by, body={"name": name, "credential": credential})


async def with_passkey(here: World) -> tuple[User, Authenticator]:
    ana, phone = await register(here), Authenticator()
    assert (await add(here, ana, phone.create(await options(here, ana)))).status == 201
    return ana, phone


async def challenge(here: World) -> dict[str, Any]:
    reply = await here.call("POST", f"{PATH}/sign-in/options")
    assert (reply.status, reply.json["rpId"], reply.json["userVerification"]) == (200, "api.test", "required")
    return dict(reply.json)


async def sign_in(here: World, credential: dict[str, Any]) -> Answer:
    return await here.call("POST", f"{PATH}/sign-in", body={"credential": credential})


async def test_a_passkey_signs_in_without_a_password(here: World) -> None:
    ana, phone = await with_passkey(here)
    for _ in range(2):
        assert user_of(await sign_in(here, phone.get(await challenge(here)))).id == ana.id
    [passkey] = (await here.call("GET", PATH, by=ana)).json["passkeys"]
    assert (passkey["name"], passkey["used_at"] is None) == ("My phone", False)


async def test_the_options_require_a_key_that_the_device_finds_and_guards(here: World) -> None:
    ana, phone = await with_passkey(here)
    made = await options(here, ana)
    assert made["rp"] == {"id": "api.test", "name": "NomadCrew api.test"}
    assert made["user"]["id"] == text(ana.id.bytes)
    assert made["authenticatorSelection"] == {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required",
    }  # fmt: skip
    assert [known["id"] for known in made["excludeCredentials"]] == [text(phone.credential_id)]
    wrong = await here.call("POST", f"{PATH}/options", by=ana, body={"password": "Wrong1pass!"})
    assert (wrong.status, wrong.code) == (403, "wrong_password")


async def test_a_passkey_is_two_factors(here: World) -> None:

    ana, phone = await with_passkey(here)
    begun = (await here.call("POST", "/v1/auth/mfa/totp", by=ana, body={"password": PASSWORD})).json
    code = totp.code_at(base64.b32decode(begun["secret"]), totp.step_at(here.clock()))
    assert (await here.call("POST", "/v1/auth/mfa/totp/confirm", by=ana, body={"code": code})).status == 204
    assert (await sign_in(here, phone.get(await challenge(here)))).status == 200


async def test_a_challenge_is_answered_once_and_expires(here: World) -> None:
    _, phone = await with_passkey(here)
    answer = phone.get(await challenge(here))
    assert (await sign_in(here, answer)).status == 200
    again = await sign_in(here, answer)
    assert (again.status, again.code) == (401, "invalid_passkey")
    late = phone.get(await challenge(here))
    here.clock.advance(600)
    assert (await sign_in(here, late)).code == "invalid_passkey"
    assert (await sign_in(here, phone.get({"challenge": text(b"of a stranger")}))).code == "invalid_passkey"


async def test_a_device_that_does_not_count_answers_a_challenge_once_too(here: World) -> None:
    ana, phone = await register(here), Authenticator(counts=False)
    assert (await add(here, ana, phone.create(await options(here, ana)))).status == 201
    answer = phone.get(await challenge(here))
    assert [(await sign_in(here, answer)).status for _ in range(2)] == [200, 401]


async def test_an_unknown_or_forged_signature_is_refused(here: World) -> None:
    _, phone = await with_passkey(here)
    unknown = Authenticator()
    forged = Authenticator(credential_id=phone.credential_id, signatures=7)
    for device in (unknown, forged):
        assert (await sign_in(here, device.get(await challenge(here)))).code == "invalid_passkey"


async def test_a_copied_key_whose_count_lags_is_refused(here: World) -> None:
    _, phone = await with_passkey(here)
    copy = Authenticator(key=phone.key, credential_id=phone.credential_id)
    for _ in range(2):
        assert (await sign_in(here, phone.get(await challenge(here)))).status == 200
    assert (await sign_in(here, copy.get(await challenge(here)))).code == "invalid_passkey"


@pytest.mark.parametrize(
    "device",
    [
        Authenticator(flags=PRESENT),
        Authenticator(origin="https://evil.example"),
        Authenticator(site_id="evil.example"),
    ],
    ids=["user not verified", "another origin", "another site"],
)
async def test_a_key_of_another_site_or_an_unguarded_one_is_refused(here: World, device: Authenticator) -> None:
    ana = await register(here)
    refused = await add(here, ana, device.create(await options(here, ana)))
    assert (refused.status, refused.code) == (401, "invalid_passkey")
    good = Authenticator(key=device.key, credential_id=device.credential_id)
    assert (await add(here, ana, good.create(await options(here, ana)))).status == 201
    assert (await sign_in(here, device.get(await challenge(here)))).code == "invalid_passkey"


@pytest.mark.parametrize(
    "credential",
    [
        {},
        {"rawId": 7, "response": {"clientDataJSON": "e30"}},
        {"rawId": "AAAA", "response": {"clientDataJSON": "é"}},
        {"rawId": "AAAA", "response": {"clientDataJSON": text(b'{"challenge": 7}')}},
        {"rawId": "AAAA", "response": {"clientDataJSON": text(b"[" * 5_000)}},
        {"rawId": "AAAA", "response": []},
    ],
    ids=str,
)
async def test_a_malformed_credential_is_refused(here: World, credential: dict[str, Any]) -> None:
    ana = await register(here)
    for refused in (await add(here, ana, credential), await sign_in(here, credential)):
        assert (refused.status, refused.code) == (401, "invalid_passkey")


async def test_a_credential_without_its_parts_is_refused_after_its_challenge(here: World) -> None:
    ana, phone = await with_passkey(here)
    for key in ("signature", "authenticatorData"):
        answer = phone.get(await challenge(here))
        del answer["response"][key]
        assert (await sign_in(here, answer)).code == "invalid_passkey"
    made = Authenticator().create(await options(here, ana))
    made["response"]["attestationObject"] = text(b"\xff")
    assert (await add(here, ana, made)).code == "invalid_passkey"
    nameless = phone.get(await challenge(here)) | {"rawId": None}
    assert (await sign_in(here, nameless)).code == "invalid_passkey"


async def test_a_passkey_is_added_once_and_belongs_to_one_user(here: World) -> None:
    ana, ben, phone = await register(here), await register(here, "ben"), Authenticator()
    made = phone.create(await options(here, ana))
    first = await add(here, ana, made)
    again = await add(here, ana, made, "Another name")
    assert (again.status, again.json) == (201, first.json), "a repeat after a lost reply"
    of_ben = phone.create(await options(here, ben))
    assert (await add(here, ben, of_ben)).code == "invalid_passkey"
    assert (await here.call("GET", PATH, by=ben)).json == {"passkeys": []}


async def test_a_user_has_a_limited_number_of_passkeys(here: World) -> None:
    ana = await register(here)
    await here.pool.fetch(_MANY, user_id=ana.id, count=MAX_PASSKEYS)
    refused = await add(here, ana, Authenticator().create(await options(here, ana)))
    assert (refused.status, refused.code) == (409, "too_many_passkeys")


async def test_a_passkey_is_renamed_and_removed_by_its_user(here: World) -> None:
    ana, phone = await with_passkey(here)
    ben = await register(here, "ben")
    [passkey] = (await here.call("GET", PATH, by=ana)).json["passkeys"]
    path = f"{PATH}/{passkey['id']}"
    for method, body in (("PATCH", {"name": "x"}), ("DELETE", None)):
        for by, where in ((ben, path), (ana, f"{PATH}/{uuid4()}"), (ana, f"{PATH}/x")):
            refused = await here.call(method, where, by=by, body=body)
            assert (refused.status, refused.code) == (404, "passkey_not_found")
    renamed = await here.call("PATCH", path, by=ana, body={"name": "Old phone"})
    assert (renamed.status, renamed.json["name"]) == (200, "Old phone")
    assert (await here.call("DELETE", path, by=ana)).status == 204
    assert (await sign_in(here, phone.get(await challenge(here)))).code == "invalid_passkey"


async def test_the_last_way_to_sign_in_stays(here: World) -> None:
    ana, _ = await with_passkey(here)
    await here.pool.fetch(_NO_PASSWORD)
    [passkey] = (await here.call("GET", PATH, by=ana)).json["passkeys"]
    refused = await here.call("DELETE", f"{PATH}/{passkey['id']}", by=ana)
    assert (refused.status, refused.code) == (409, "last_sign_in")
