"""Second factors, changes of the email address, and the mails about changes of an account."""

import base64
from typing import Any
from uuid import UUID

import pytest

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.api.mail.consumer import send_mail_for
from nomadcrew.core.auth import totp
from nomadcrew.core.auth.totp import STEP_S
from nomadcrew.core.events import CONSUMERS, EMAIL, Event
from nomadcrew.core.ids import EventId, UserId
from tests.world import Answer, User, World

PASSWORD = "Sail2Porto!"
ANA: dict[str, Any] = {"email": "ana@example.org", "username": "ana", "password": PASSWORD}
_OUTBOX = compile_statement("outbox", "SELECT * FROM outbox ORDER BY position")
_CONFIRMED = compile_statement("confirmed", "UPDATE accounts SET confirmed_at = now() RETURNING user_id")
_SECRETS = compile_statement("secrets", "SELECT totp_secret, recovery_hashes FROM accounts")
MFA = "/v1/auth/mfa"


async def register(here: World, **fields: Any) -> User:
    reply = await here.call("POST", "/v1/auth/register", body=ANA | fields)
    assert reply.status == 201, reply.body
    await here.pool.fetch(_CONFIRMED)
    return bearer(reply)


async def login(here: World, user_agent: str = "", **fields: str) -> Answer:
    headers = {"user-agent": user_agent} if user_agent else None
    body = {"email": ANA["email"], "password": PASSWORD} | fields
    return await here.call("POST", "/v1/auth/login", body=body, headers=headers)


def bearer(reply: Answer) -> User:
    user = reply.json["user"]
    return User(UserId(UUID(user["id"])), user["email"], user["username"], reply.json["access_token"])


async def mails(here: World) -> list[str]:
    """The new mails of the outbox, as text."""
    before = set(here.mail.iterdir()) if here.mail.exists() else set()
    for row in await here.pool.fetch(_OUTBOX):
        if EMAIL not in CONSUMERS.get(row["type"], ()):
            continue
        event = Event(
            EventId(row["id"]), row["type"], row["source"], None, None, None, row["audience"], row["occurred_at"],
            row["payload"],
        )  # fmt: skip
        await send_mail_for(event, here.ports)
    return [path.read_text() for path in sorted(here.mail.iterdir()) if path not in before]


class App:
    """An authenticator app."""

    def __init__(self, here: World, begun: Answer) -> None:
        assert begun.status == 200, begun.body
        self.secret = base64.b32decode(begun.json["secret"])
        self.recovery_codes: list[str] = begun.json["recovery_codes"]
        self._here = here

    def code(self) -> str:
        """The code of the next step, which was not used before."""
        self._here.clock.advance(STEP_S)
        return totp.code_at(self.secret, totp.step_at(self._here.clock()))


async def with_app(here: World) -> tuple[User, App]:
    ana = await register(here)
    app = App(here, await here.call("POST", f"{MFA}/totp", by=ana, body={"password": PASSWORD}))
    assert (await login(here)).status == 200, "an app that is not confirmed asks for nothing"
    assert (await here.call("POST", f"{MFA}/totp/confirm", by=ana, body={"code": app.code()})).status == 204
    return ana, app


async def verify(here: World, mfa_token: str, code: str) -> Answer:
    return await here.call("POST", f"{MFA}/verify", body={"mfa_token": mfa_token, "code": code})


async def test_a_sign_in_needs_the_code_of_the_app_which_works_once(here: World) -> None:
    _, app = await with_app(here)
    asked = await login(here)
    assert (asked.status, asked.code) == (401, "mfa_required")
    token, code = asked.json["mfa_token"], app.code()
    signed_in = await verify(here, token, code)
    assert signed_in.status == 200, signed_in.body
    assert (await here.call("GET", "/v1/users/me", by=bearer(signed_in))).status == 200
    spent = await verify(here, token, code)
    assert (spent.status, spent.code) == (403, "wrong_code")
    assert (await verify(here, token, "000000")).code == "wrong_code"
    assert (await verify(here, token, app.code())).status == 200


async def test_a_wrong_password_is_refused_before_a_code_is_asked_for(here: World) -> None:
    await with_app(here)
    assert (await login(here, password="Wrong1pass!")).code == "invalid_credentials"
    again = await here.call("POST", "/v1/auth/register", body=ANA)
    assert (again.status, again.code) == (401, "mfa_required")


async def test_a_recovery_code_signs_in_once(here: World) -> None:
    ana, app = await with_app(here)
    asked = (await login(here)).json["mfa_token"]
    assert (await verify(here, asked, app.recovery_codes[0].upper())).status == 200
    assert (await verify(here, asked, app.recovery_codes[0])).code == "wrong_code"
    status = await here.call("GET", MFA, by=ana)
    assert status.json == {"totp": True, "recovery_codes_left": 9}


async def test_wrong_codes_are_limited(here: World) -> None:
    _, app = await with_app(here)
    asked = (await login(here)).json["mfa_token"]
    for _ in range(5):
        assert (await verify(here, asked, "nothing")).code == "wrong_code"
    refused = await verify(here, asked, app.code())
    assert (refused.status, refused.code) == (429, "too_many_failures")


async def test_the_token_of_an_interrupted_sign_in_expires_and_ends_with_the_app(here: World) -> None:
    ana, app = await with_app(here)
    asked = (await login(here)).json["mfa_token"]
    here.clock.advance(301)
    expired = await verify(here, asked, app.code())
    assert (expired.status, expired.code) == (401, "invalid_mfa_token")
    asked = (await login(here)).json["mfa_token"]
    assert (await here.call("DELETE", f"{MFA}/totp", by=ana, body={"code": app.code()})).status == 204
    assert (await verify(here, asked, app.code())).code == "invalid_mfa_token"
    assert (await login(here)).status == 200


async def test_an_app_is_set_up_with_the_password_and_removed_with_a_code(here: World) -> None:
    ana, app = await with_app(here)
    for method, path, body, refusal in (
        ("POST", "/totp", {"password": PASSWORD}, (409, "mfa_enabled")),
        ("POST", "/totp/confirm", {"code": "000000"}, (403, "wrong_code")),
        ("DELETE", "/totp", {"code": "000000"}, (403, "wrong_code")),
    ):
        refused = await here.call(method, MFA + path, by=ana, body=body)
        assert (refused.status, refused.code) == refusal
    again = await here.call("POST", f"{MFA}/totp/confirm", by=ana, body={"code": app.code()})
    assert again.status == 204, "a repeat after a lost reply"
    code = {"code": app.recovery_codes[1]}
    assert (await here.call("DELETE", f"{MFA}/totp", by=ana, body=code)).status == 204
    gone = await here.call("DELETE", f"{MFA}/totp", by=ana, body=code)
    assert (gone.status, gone.code) == (409, "mfa_disabled")
    assert (await here.call("GET", MFA, by=ana)).json == {"totp": False, "recovery_codes_left": 0}
    assert (await here.call("POST", f"{MFA}/totp/confirm", by=ana, body=code)).code == "mfa_disabled"
    wrong = await here.call("POST", f"{MFA}/totp", by=ana, body={"password": "Wrong1pass!"})
    assert (wrong.status, wrong.code) == (403, "wrong_password")


async def test_an_unconfirmed_app_is_replaced_with_its_recovery_codes(here: World) -> None:
    ana = await register(here)
    first = App(here, await here.call("POST", f"{MFA}/totp", by=ana, body={"password": PASSWORD}))
    second = App(here, await here.call("POST", f"{MFA}/totp", by=ana, body={"password": PASSWORD}))
    refused = await here.call("POST", f"{MFA}/totp/confirm", by=ana, body={"code": first.code()})
    assert refused.code == "wrong_code"
    assert (await here.call("POST", f"{MFA}/totp/confirm", by=ana, body={"code": second.code()})).status == 204
    asked = (await login(here)).json["mfa_token"]
    assert (await verify(here, asked, first.recovery_codes[0])).code == "wrong_code"
    assert (await verify(here, asked, second.recovery_codes[0])).status == 200


async def test_recovery_codes_are_stored_as_hashes(here: World) -> None:
    _, app = await with_app(here)
    [row] = await here.pool.fetch(_SECRETS)
    assert set(row["recovery_hashes"]) == {totp.recovery_hash(code) for code in app.recovery_codes}


async def test_the_page_of_an_invitation_sends_a_user_with_an_app_to_the_app(here: World) -> None:
    ana, _ = await with_app(here)
    ben = await here.user("ben")
    trip = await here.trip(ben)
    body = {"email": ana.email, "role": "MEMBER"}
    invited = await here.call("POST", f"/v1/trips/{trip}/invitations", by=ben, body=body)
    stored = await here.ports.invitations.get_for_mail(invited.json["id"])
    assert stored is not None
    token = here.ports.invitation_links.issue(stored[0], now=here.clock())
    form = f"intent=login&login=ana%40example.org&password={PASSWORD}".encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    page = await here.call("POST", f"/invite/accept/{token}", raw=form, headers=headers)
    assert (page.status, b"accept the invitation in the app" in page.body) == (403, True)
    assert (await here.call("GET", "/v1/trips", by=ana)).json == []


async def change_email(here: World, by: User, email: str, password: str = PASSWORD) -> Answer:
    return await here.call("POST", "/v1/auth/change-email", by=by, body={"email": email, "password": password})


async def confirm_email(here: World, token: str) -> Answer:
    return await here.call("POST", "/v1/auth/change-email/confirm", body={"token": token})


def token_in(mail: str) -> str:
    return mail.replace("=\n", "").split("/auth/email/")[1].split()[0]


async def test_a_new_address_counts_once_its_mail_was_followed(here: World) -> None:
    ana = await register(here)
    assert (await change_email(here, ana, "Ana@Example.net")).status == 202
    [mail] = await mails(here)
    assert "To: ana@example.net" in mail
    assert (await here.call("GET", "/v1/users/me", by=ana)).json["email"] == "ana@example.org"
    assert (await confirm_email(here, token_in(mail))).status == 204
    assert (await here.call("GET", "/v1/users/me", by=ana)).json["email"] == "ana@example.net"
    again = await confirm_email(here, token_in(mail))
    assert (again.status, again.code) == (400, "invalid_email_change")
    assert (await login(here)).code == "invalid_credentials"
    assert (await login(here, email="ana@example.net")).status == 200
    [notice] = [text for text in await mails(here) if "was changed" in text]
    assert "To: ana@example.org" in notice


async def test_a_request_for_a_new_address_does_not_reveal_accounts(here: World) -> None:
    ana = await register(here)
    await register(here, email="ben@example.org", username="ben")
    replies = [await change_email(here, ana, email) for email in ("ben@example.org", "free@example.org")]
    assert {(reply.status, reply.body) for reply in replies} == {(202, replies[0].body)}
    assert ["To: free@example.org" in mail for mail in await mails(here)] == [True]
    wrong = await change_email(here, ana, "other@example.org", "Wrong1pass!")
    assert (wrong.status, wrong.code) == (403, "wrong_password")
    assert (await change_email(here, ana, "no address")).status == 400


async def test_a_later_change_replaces_the_earlier_one(here: World) -> None:
    ana = await register(here)
    await change_email(here, ana, "typo@example.net")
    [first] = await mails(here)
    await change_email(here, ana, "right@example.net")
    [second] = await mails(here)
    for _ in range(2):  # the same address again: no further mail for five minutes
        await change_email(here, ana, "right@example.net")
    assert (await confirm_email(here, token_in(first))).code == "invalid_email_change"
    here.clock.advance(30 * 60)
    assert (await confirm_email(here, token_in(second))).code == "invalid_email_change"
    await change_email(here, bearer(await login(here)), "right@example.net")
    [third] = [mail for mail in await mails(here) if token_in(mail) != token_in(second)]
    assert (await confirm_email(here, token_in(third))).status == 204


async def test_an_address_that_was_taken_meanwhile_is_refused(here: World) -> None:
    ana = await register(here)
    await change_email(here, ana, "taken@example.net")
    [mail] = await mails(here)
    await register(here, email="taken@example.net", username="ben")
    assert (await confirm_email(here, token_in(mail))).code == "invalid_email_change"
    assert (await confirm_email(here, "forged")).code == "invalid_email_change"


async def test_the_page_of_a_new_address_changes_it_by_its_button_only(here: World) -> None:
    ana = await register(here)
    await change_email(here, ana, "ana@example.net")
    [mail] = await mails(here)
    path = f"/auth/email/{token_in(mail)}"
    page = await here.call("GET", path)
    assert (page.status, b"ana@example.net" in page.body, b"Is ana your account?" in page.body) == (200, True, True)
    assert (await here.call("GET", "/v1/users/me", by=ana)).json["email"] == "ana@example.org"
    assert b"is confirmed" in (await here.call("POST", path)).body
    assert (await here.call("GET", "/v1/users/me", by=ana)).json["email"] == "ana@example.net"
    assert [(await here.call(method, path)).status for method in ("GET", "POST")] == [410, 410]


PHONE = "NomadCrew/1.2.0 (Android 14)"


@pytest.mark.parametrize(
    ("user_agent", "mailed"),
    [
        (PHONE, False),
        ("NomadCrew/1.3.1 (Android 15)", False),
        ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", True),
    ],
)
async def test_a_sign_in_on_a_device_of_a_new_kind_is_mailed(here: World, user_agent: str, *, mailed: bool) -> None:
    await register(here)
    assert (await login(here, PHONE)).status == 200
    before = await mails(here)  # of the phone: the registration came without a User-Agent
    assert len(before) == 1
    for _ in range(2):
        assert (await login(here, user_agent)).status == 200
    new = [mail for mail in await mails(here) if mail not in before]
    assert ["A new device signed in" in mail and "Firefox" in mail for mail in new] == [True] * mailed


async def test_a_device_with_a_device_token_is_not_new(here: World) -> None:
    await register(here)
    token = (await login(here, PHONE)).json["device_token"]
    before = await mails(here)
    assert (await login(here, "A renamed app", device_token=token)).status == 200
    assert [mail for mail in await mails(here) if mail not in before] == []


async def test_changes_of_password_and_app_are_mailed_to_a_confirmed_address_only(here: World) -> None:
    ana, _ = await with_app(here)
    body = {"password": PASSWORD, "new_password": "Other1pass!"}
    assert (await here.call("POST", "/v1/auth/change-password", by=ana, body=body)).status == 200
    texts = await mails(here)
    assert len(texts) == 2
    assert {"need a code" in text or "password was changed" in text for text in texts} == {True}
    stranger = await here.call(
        "POST", "/v1/auth/register", body=ANA | {"email": "ben@example.org", "username": "ben"}
    )
    await here.call("POST", "/v1/auth/change-password", by=bearer(stranger), body=body)
    assert [text for text in await mails(here) if "ben@example.org" in text] == []
