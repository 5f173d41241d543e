"""Deleting one's account through the public API."""

import pytest

from tests.e2e.client import PASSWORD, Api
from tests.e2e.conftest import Register


async def test_a_deleted_account_is_gone_and_its_crew_goes_on(api: Api, register: Register) -> None:
    ana, ben = await register("ana"), await register("ben")
    trip = await ana.new_trip()
    await ana.add_member(trip, ben)
    chat = f"/v1/trips/{trip}/chat/messages"
    await ana.ask("POST", chat, {"message": "at nine"})
    reply = await ana.ask("DELETE", "/v1/users/me", {"password": PASSWORD, "immediate": True})
    assert reply["state"] == "erased"
    verified = await api.send("POST", "/v1/privacy/receipts:verify", json={"receipt": reply["receipt"]})
    assert (verified.status_code, verified.json()["userId"]) == (200, ana.id)
    assert (await ana.send("GET", "/v1/users/me")).status_code == 401
    login = await api.send("POST", "/v1/auth/login", json={"email": ana.email, "password": PASSWORD})
    assert login.status_code == 401
    [message] = (await ben.ask("GET", chat))["messages"]
    assert (message["content"], message["sender"]["name"]) == ("at nine", "Former member")
    [member] = await ben.ask("GET", f"/v1/trips/{trip}/members")
    assert (member["membership"]["userId"], member["membership"]["role"]) == (ben.id, "OWNER")


async def test_a_sign_in_keeps_an_account_that_was_to_be_deleted(api: Api, register: Register) -> None:
    ana = await register("ana")
    reply = await ana.ask("DELETE", "/v1/users/me", {"password": PASSWORD})
    assert (reply["state"], "receipt" in reply) == ("scheduled", False)
    login = await api.send("POST", "/v1/auth/login", json={"email": ana.email, "password": PASSWORD})
    assert login.status_code == 200
    refused = await ana.send("DELETE", "/v1/users/me", {"password": "wrong"})
    assert refused.status_code in (401, 403)


@pytest.mark.parametrize("receipt", ["", "forged", "a.b"])
async def test_a_forged_receipt_is_refused(api: Api, receipt: str) -> None:
    reply = await api.send("POST", "/v1/privacy/receipts:verify", json={"receipt": receipt})
    assert reply.status_code == 400
