"""Sign-in, refresh and sign-out through the public API."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nomadcrew.core.auth import totp
from nomadcrew.core.clock import utc_now
from tests.e2e.client import PASSWORD, Api, User, eventually
from tests.e2e.conftest import Connect, Register
from tests.e2e.mailbox import Mail, Mailbox, link_to
from tests.e2e.server import Server

SESSION_ENDED = 4401  # the shipped app then refreshes its token and reconnects


async def refreshed(api: Api, refresh_token: str) -> User:
    reply = await api.send("POST", "/v1/auth/refresh", json={"refresh_token": refresh_token})
    assert reply.status_code == 200, reply.text
    return User.of(api, reply.json())


async def refused_refresh(api: Api, refresh_token: str) -> str:
    reply = await api.send("POST", "/v1/auth/refresh", json={"refresh_token": refresh_token})
    assert reply.status_code == 401, reply.text
    return str(reply.json()["code"])


@pytest.mark.contract("rest-activity.auth-routes")
@pytest.mark.parametrize("by", ["email", "username"])
async def test_a_user_signs_in_by(api: Api, register: Register, by: str) -> None:
    ana = await register("ana")
    login = {"email": ana.email.upper(), "username": ana.username}[by]
    reply = await api.send("POST", "/v1/auth/login", json={by: login, "password": PASSWORD})
    assert reply.status_code == 200
    assert (reply.json()["user"]["id"], reply.json()["token_type"]) == (ana.id, "bearer")
    assert 0 < reply.json()["expires_in"] <= 900


async def test_a_wrong_password_and_an_unknown_address_get_the_same_reply(api: Api, register: Register) -> None:
    ana = await register("ana")
    replies = [
        await api.send("POST", "/v1/auth/login", json={"email": address, "password": "Guessed-1!"})
        for address in (ana.email, f"not.{ana.email}")
    ]
    assert [reply.status_code for reply in replies] == [401, 401]
    first, second = (reply.json() | {"request_id": ""} for reply in replies)
    assert first == second


@pytest.mark.contract("rest-activity.auth-routes")
async def test_validate_returns_the_user_of_a_token(api: Api, register: Register) -> None:
    ana = await register("ana")
    valid = await ana.ask("GET", "/v1/auth/validate")
    assert (valid["valid"], valid["user"]["id"]) == (True, ana.id)
    assert (await api.send("GET", "/v1/auth/validate")).status_code == 401


@pytest.mark.contract("rest-activity.auth-routes")
async def test_a_refresh_token_is_exchanged_for_new_tokens(api: Api, register: Register) -> None:
    ana = await register("ana")
    again = await refreshed(api, ana.refresh_token)
    assert again.refresh_token != ana.refresh_token
    assert (await again.ask("GET", "/v1/users/me"))["id"] == ana.id


async def test_a_refresh_whose_reply_was_lost_may_be_repeated(api: Api, register: Register) -> None:
    ana = await register("ana")
    first = await refreshed(api, ana.refresh_token)
    second = await refreshed(api, ana.refresh_token)
    for user in (first, second):
        await user.ask("GET", "/v1/users/me")
    await refreshed(api, second.refresh_token)


async def test_a_user_sees_their_devices_and_signs_one_out(api: Api, register: Register) -> None:
    phone = await register("ana")
    body = {"email": phone.email, "password": PASSWORD}
    agent = {"user-agent": "Firefox on a tablet"}
    tablet = User.of(api, (await api.send("POST", "/v1/auth/login", json=body, headers=agent)).json())
    listed = (await phone.ask("GET", "/v1/auth/sessions"))["sessions"]
    assert [(one["user_agent"], one["current"]) for one in listed][:1] == [("Firefox on a tablet", False)]
    assert [one["current"] for one in listed] == [False, True]
    await phone.ask("DELETE", f"/v1/auth/sessions/{listed[0]['id']}", status=204)
    assert (await tablet.send("GET", "/v1/users/me")).status_code == 401
    assert await refused_refresh(api, tablet.refresh_token) == "invalid_refresh_token"
    assert len((await phone.ask("GET", "/v1/auth/sessions"))["sessions"]) == 1


async def test_a_user_signs_all_other_devices_out(api: Api, register: Register) -> None:
    phone, ben = await register("ana"), await register("ben")
    tablet, laptop = await phone.sign_in(), await phone.sign_in()
    await phone.ask("DELETE", "/v1/auth/sessions", status=204)
    for device in (tablet, laptop):
        assert (await device.send("GET", "/v1/users/me")).status_code == 401
    for user in (phone, ben):
        await user.ask("GET", "/v1/users/me")


@pytest.mark.contract("rest-activity.auth-routes")
async def test_signing_out_ends_the_session_of_that_device_only(
    api: Api, register: Register, connect: Connect
) -> None:
    phone = await register("ana")
    tablet = await phone.sign_in()
    trip_id = await tablet.new_trip()
    ended, live = await connect(phone), await connect(tablet)
    await api.send("POST", "/v1/auth/logout", json={"refresh_token": phone.refresh_token})
    await refused_refresh(api, phone.refresh_token)
    await tablet.new_todo(trip_id, "boots")
    await live.event("TODO_CREATED", trip_id, text="boots")
    assert [event for event in ended.events if event["type"] == "TODO_CREATED"] == []
    await tablet.ask("GET", "/v1/users/me")


async def test_signing_out_ends_the_access_token_at_once(api: Api, register: Register) -> None:
    phone = await register("ana")
    tablet = await phone.sign_in()
    trip_id = await tablet.new_trip()
    paths = ("/v1/users/me", "/v1/trips", f"/v1/trips/{trip_id}/chat/messages", "/v1/auth/validate")
    assert [(await phone.send("GET", path)).status_code for path in paths] == [200] * len(paths)
    await api.send("POST", "/v1/auth/logout", json={"refresh_token": phone.refresh_token})
    assert [(await phone.send("GET", path)).status_code for path in paths] == [401] * len(paths)
    assert [(await tablet.send("GET", path)).status_code for path in paths] == [200] * len(paths)


@pytest.mark.one_machine("API Gateway keeps the sockets of ended sessions open, which get nothing more")
async def test_signing_devices_out_closes_their_sockets(register: Register, connect: Connect) -> None:
    phone = await register("ana")
    tablet, laptop = await phone.sign_in(), await phone.sign_in()
    of_tablet, of_laptop, of_phone = [await connect(device) for device in (tablet, laptop, phone)]
    [last_used, *_] = (await phone.ask("GET", "/v1/auth/sessions"))["sessions"]
    await phone.ask("DELETE", f"/v1/auth/sessions/{last_used['id']}", status=204)
    assert await of_laptop.closed() == SESSION_ENDED
    await phone.ask("DELETE", "/v1/auth/sessions", status=204)
    assert await of_tablet.closed() == SESSION_ENDED
    await of_phone.catch_up()


@pytest.mark.one_machine("API Gateway keeps the sockets of ended sessions open, which get nothing more")
async def test_signing_out_closes_sockets_and_rejects_the_token_at_once(
    api: Api, register: Register, connect: Connect
) -> None:
    phone = await register("ana")
    tablet = await phone.sign_in()
    sockets = [await connect(phone), await connect(phone)]
    live = await connect(tablet)
    await api.send("POST", "/v1/auth/logout", json={"refresh_token": phone.refresh_token})
    assert [await socket.closed() for socket in sockets] == [SESSION_ENDED] * 2
    assert (await phone.send("GET", "/v1/users/me")).status_code == 401
    await live.catch_up()


async def test_signing_out_twice_succeeds(api: Api, register: Register) -> None:
    ana = await register("ana")
    for _ in range(2):
        reply = await api.send("POST", "/v1/auth/logout", json={"refresh_token": ana.refresh_token})
        assert reply.status_code == 204


@pytest.mark.one_machine("needs rate limits, which that server has off")
async def test_a_login_is_locked_after_five_wrong_passwords() -> None:
    async with Server() as guarded:
        api = Api(guarded.url)
        ana = await api.register("ana")
        wrong = {"email": ana.email, "password": "Guessed-1!"}
        statuses = [(await api.send("POST", "/v1/auth/login", json=wrong)).status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        right = await api.send("POST", "/v1/auth/login", json=wrong | {"password": PASSWORD})
        assert right.status_code == 429
        assert int(right.headers["retry-after"]) > 0
        await api.close()


@pytest.mark.one_machine("it restarts the host")
async def test_a_token_of_an_ended_session_stays_refused_after_a_restart() -> None:
    async with Server() as server:
        api = Api(server.url)
        phone = await api.register("ana")
        tablet = await phone.sign_in()
        await api.send("POST", "/v1/auth/logout", json={"refresh_token": phone.refresh_token})
        await server.stop()
        await server.start()
        assert (await phone.send("GET", "/v1/users/me")).status_code == 401
        await tablet.ask("GET", "/v1/users/me")
        await api.close()


@pytest.mark.one_machine("an operator's command beside a running host")
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reset_password_ends_tokens_and_sockets_of_the_running_host(workers: int) -> None:
    async with Server(NOMADCREW_WORKERS=str(workers)) as server:
        api = Api(server.url)
        ana = await api.register("ana")
        sockets = [await ana.connect() for _ in range(4)]
        await asyncio.to_thread(nomadcrew, server, "user", "reset-password", ana.email)
        assert [await socket.closed() for socket in sockets] == [SESSION_ENDED] * 4
        for _ in range(10):  # by each worker
            assert (await ana.send("GET", "/v1/users/me")).status_code == 401
        await api.close()


def nomadcrew(server: Server, *words: str) -> None:
    """Run a command on the server's data folder."""
    command = [str(Path(sys.executable).with_name("nomadcrew")), *words]
    subprocess.run(command, env={**os.environ, "NOMADCREW_HOME": str(server.home)}, check=True, capture_output=True)


async def test_a_forgotten_password_is_replaced_by_a_mailed_link(
    api: Api, register: Register, mailbox: Mailbox
) -> None:
    ana = await register("ana")
    for _ in range(2):
        reply = await api.send("POST", "/v1/auth/forgot-password", json={"email": ana.email})
        assert reply.status_code == 202, reply.text
    path = await link_to(ana.email, "/auth/reset", mailbox)
    page = await api.send("GET", path)
    assert (page.status_code, ana.username in page.text) == (200, True)
    saved = await api.send("POST", path, data={"password": "Over-the-sea-8"})
    assert saved.status_code == 200, saved.text
    assert await refused_refresh(api, ana.refresh_token) == "invalid_refresh_token"
    for password, status in ((PASSWORD, 401), ("Over-the-sea-8", 200)):
        login = await api.send("POST", "/v1/auth/login", json={"email": ana.email, "password": password})
        assert login.status_code == status, login.text
    assert (await api.send("GET", path)).status_code == 410


async def test_a_user_changes_the_password(api: Api, register: Register) -> None:
    ana = await register("ana")
    body = {"password": PASSWORD, "new_password": "Over-the-sea-8"}
    again = User.of(api, await ana.ask("POST", "/v1/auth/change-password", body))
    await again.ask("GET", "/v1/users/me")
    assert await refused_refresh(api, ana.refresh_token) == "invalid_refresh_token"
    login = {"email": ana.email, "password": "Over-the-sea-8"}
    assert (await api.send("POST", "/v1/auth/login", json=login)).status_code == 200


async def test_a_sign_in_needs_the_code_of_an_authenticator_app(api: Api, register: Register) -> None:
    ana = await register("ana")
    app = await ana.ask("POST", "/v1/auth/mfa/totp", {"password": PASSWORD})
    # The last of three steps that count, so that the next one counts too.
    step = totp.step_at(utc_now()) - 1
    code = totp.code_at(base64.b32decode(app["secret"]), step)
    confirmed = await ana.send("POST", "/v1/auth/mfa/totp/confirm", {"code": code})
    assert confirmed.status_code == 204, confirmed.text
    login = {"email": ana.email, "password": PASSWORD}
    asked = await api.send("POST", "/v1/auth/login", json=login)
    assert (asked.status_code, asked.json()["code"]) == (401, "mfa_required")
    spent = await api.send(
        "POST", "/v1/auth/mfa/verify", json={"mfa_token": asked.json()["mfa_token"], "code": code}
    )
    assert (spent.status_code, spent.json()["code"]) == (403, "wrong_code")
    fresh = {"mfa_token": asked.json()["mfa_token"], "code": app["recovery_codes"][0]}
    verified = await api.send("POST", "/v1/auth/mfa/verify", json=fresh)
    assert verified.status_code == 200, verified.text
    again = User.of(api, verified.json())
    assert await again.ask("GET", "/v1/auth/mfa") == {"totp": True, "recovery_codes_left": 9}
    removed = await again.send("DELETE", "/v1/auth/mfa/totp", {"code": app["recovery_codes"][1]})
    assert removed.status_code == 204, removed.text
    assert (await api.send("POST", "/v1/auth/login", json=login)).status_code == 200


async def test_an_address_is_changed_by_a_mailed_link(api: Api, register: Register, mailbox: Mailbox) -> None:
    ana = await register("ana")
    other = f"new-{ana.email}"
    requested = await ana.send("POST", "/v1/auth/change-email", {"email": other, "password": PASSWORD})
    assert requested.status_code == 202, requested.text
    path = await link_to(other, "/auth/email", mailbox)
    page = await api.send("GET", path)
    assert (page.status_code, ana.username in page.text) == (200, True)
    assert (await api.send("POST", path)).status_code == 200
    assert (await ana.ask("GET", "/v1/users/me"))["email"] == other
    for email, status in ((ana.email, 401), (other, 200)):
        login = await api.send("POST", "/v1/auth/login", json={"email": email, "password": PASSWORD})
        assert login.status_code == status, login.text

    async def notices() -> Sequence[Mail]:
        return [mail for mail in await mailbox.mails(ana.email) if "has another e-mail address" in mail.text]

    assert len(await eventually(notices)) == 1
