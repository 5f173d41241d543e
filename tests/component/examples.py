"""Records the examples of the API document from requests to a real backend.

`python -m tests.component.examples` sends them and writes `src/nomadcrew/api/examples.json`. Ids, tokens and
addresses are replaced, so that the same API gives nearly the same file.
"""

import asyncio
import base64
import json
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID
from zlib import crc32

import msgspec

from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.api.examples import FILE
from nomadcrew.core.auth import totp
from nomadcrew.web.openapi import Examples
from nomadcrew.web.problems import problem
from tests.authenticator import Authenticator
from tests.component.permission_matrix import Line, successes
from tests.component.requests import (
    FORM_DATA,
    MODES,
    PASSWORD,
    Ask,
    Scene,
    ask,
    document_form,
    encoded,
    notification,
    scene,
)
from tests.id_tokens import IdentityProviders, identity_providers
from tests.postgres import Postgres
from tests.sample_files import JPEG_OF_A_PHONE as PICTURE
from tests.sample_files import PDF
from tests.world import NEW_TRIP, Answer, User, World, world

OLD_ID = UUID(int=0x0100_0000_0000_7000_8000_0000_0000_0001)
HERE = "http://api.test"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Access tokens, links and codes: longer than any id, and without spaces; and API keys.
_SECRET = re.compile(r"[A-Za-z0-9_.~-]{60,}|nck_\w{36}")
_SECRETS = {"challenge", "clientDataJSON", "recovery_codes", "refresh_token", "secret", "uri"}
_EMAIL_CHANGES = compile_statement("email changes", "SELECT id FROM email_changes")
_RESETS = compile_statement("resets", "SELECT id FROM password_resets")
_OUTBOX = compile_statement("outbox", "SELECT payload FROM outbox")


@dataclass
class Backends:
    """A backend without limits, for users of other services too, one with limits, and one that sends mail."""

    open: World
    limited: World
    mailing: World
    providers: IdentityProviders


@dataclass(frozen=True, slots=True)
class Example:
    """A request and its reply; the body is None where the request has no JSON."""

    row: str
    body: Any
    reply: Answer

    @property
    def json(self) -> Any:
        """The body of the reply; None where it has no JSON."""
        is_json = self.reply.headers.get("content-type", "").startswith("application/json")
        return public(self.reply.json) if is_json and self.reply.body else None


@asynccontextmanager
async def backends(postgres: Postgres, home: Path, template: str | None = None) -> AsyncIterator[Backends]:
    async with AsyncExitStack() as stack:
        providers = stack.enter_context(identity_providers())

        async def backend(name: str, **environment: str) -> World:
            made = world(postgres, home / name, template=template, environment=environment)
            return await stack.enter_async_context(made)

        yield Backends(
            await backend("open", NOMADCREW_RATE_LIMITS="off", **providers.settings),
            await backend("limited"),
            await backend("mailing", NOMADCREW_SMTP_URL="smtp://127.0.0.1:9"),
            providers,
        )


async def success(stage: World, line: Line, caller: str, tag: str) -> Example:
    """A row's request by the owner of a trip, or else by `caller`, for whom it succeeds, and the reply."""
    play = await scene(stage, tag)
    if line.row.startswith("GET "):
        await _fill(play)
    by = "OWNER" if line.cells["OWNER"][0] < 400 else caller
    return await _sent(stage, line.row, await ask(play, line.row, line.variant, by))


async def _fill(play: Scene) -> None:
    """Give the lists of the owner and of the trip a row each."""
    stage, owner, trip = play.world, play.people["OWNER"], f"/v1/trips/{play.trip}"
    form, headers = document_form(), dict((FORM_DATA,))
    message = await stage.call(
        "POST", f"{trip}/chat/messages", by=owner, body={"message": "See you at the bridge."}
    )
    path = f"{trip}/chat/messages/{message.json['id']}/reactions"
    for reply in (
        message,
        await stage.call("POST", path, by=owner, body={"emoji": "👍"}),
        await stage.call("PUT", f"{trip}/chat/last-read", by=owner, body={"message_id": message.json["id"]}),
        await stage.call("POST", f"{trip}/polls", by=owner, body=MODES),
        await stage.call("POST", f"{trip}/wallet/documents", by=owner, raw=form, headers=headers),
        await stage.call("POST", "/v1/wallet/documents", by=owner, raw=form, headers=headers),
        await stage.call("POST", f"{trip}/images", by=owner, raw=PICTURE, headers={"content-type": "image/jpeg"}),
        await stage.call("POST", "/v1/calendars", by=owner, body={"parts": ["trips"]}),
    ):
        assert reply.status < 300, reply.body
    await notification(stage, play.trip, owner)


async def of_registration(here: Backends) -> list[Example]:
    """The rows that succeed for no caller of the matrix: those with a code from a mail, and for administrators."""
    form = {"email": "ana@example.org", "password": PASSWORD, "username": "ana"}
    registered = await _sent(here.mailing, "POST /v1/auth/register", Ask("POST", "/v1/auth/register", None, form))
    [row] = await here.mailing.pool.fetch(_OUTBOX)
    registration = UUID(msgspec.json.decode(row["payload"])["registration_id"])
    code = here.mailing.ports.tokens.confirmation_code(registration)
    body = {"token": code, "password": PASSWORD}
    confirmed = await _sent(here.mailing, "POST /v1/auth/confirm", Ask("POST", "/v1/auth/confirm", None, body))
    ana = await here.open.user("root")
    of_passwords = await _new_passwords(here.open)
    of_accounts = [
        *await _second_factor(here.open), *await _identities(here), *await _passkeys(here.open),
    ]  # fmt: skip
    admin = replace(ana, token=await here.open.token(ana.id, ana.username, is_admin=True))
    return [
        registered,
        confirmed,
        *of_passwords,
        *of_accounts,
        await _sent(here.open, "GET /v1/users", Ask("GET", "/v1/users?limit=2", admin)),
    ]


async def _new_passwords(stage: World) -> list[Example]:
    """The rows that need a password: by the token from a mail, and by a user who is signed in."""
    email = "ben@example.org"
    await stage.call("POST", "/v1/auth/register", body={"email": email, "password": PASSWORD})
    assert (await stage.call("POST", "/v1/auth/forgot-password", body={"email": email})).status == 202
    [row] = await stage.pool.fetch(_RESETS)
    body = {"token": stage.ports.tokens.confirmation_code(row["id"]), "password": f"{PASSWORD}-new"}
    reset = await _sent(stage, "POST /v1/auth/reset-password", Ask("POST", "/v1/auth/reset-password", None, body))
    change = {"password": f"{PASSWORD}-new", "new_password": PASSWORD}
    login = await stage.call("POST", "/v1/auth/login", body={"email": email, "password": f"{PASSWORD}-new"})
    ben = User(login.json["user"]["id"], email, "ben", login.json["access_token"])
    path = "/v1/auth/change-password"
    changed = await _sent(stage, f"POST {path}", Ask("POST", path, ben, change))
    path = "/v1/users/me"
    deleted = await _sent(stage, f"DELETE {path}", Ask("DELETE", path, ben, {"password": PASSWORD}))
    return [reset, changed, deleted]


async def _second_factor(stage: World) -> list[Example]:
    """The rows that set up, use and remove an authenticator app, and those that change the address."""
    email = "cem@example.org"
    registered = await stage.call("POST", "/v1/auth/register", body={"email": email, "password": PASSWORD})
    cem = User(registered.json["user"]["id"], email, "cem", registered.json["access_token"])
    mfa, sent = "/v1/auth/mfa", []

    async def send(row: str, body: Any, by: User | None = cem) -> Answer:
        method, _, path = row.partition(" ")
        sent.append(await _sent(stage, row, Ask(method, path, by, body)))
        return sent[-1].reply

    begun = (await send(f"POST {mfa}/totp", {"password": PASSWORD})).json
    secret = base64.b32decode(begun["secret"])
    code = totp.code_at(secret, totp.step_at(stage.clock()))
    assert (await send(f"POST {mfa}/totp/confirm", {"code": code})).status == 204
    asked = await stage.call("POST", "/v1/auth/login", body={"email": email, "password": PASSWORD})
    by_code = {"mfa_token": asked.json["mfa_token"], "code": begun["recovery_codes"][0]}
    assert (await send(f"POST {mfa}/verify", by_code, None)).status == 200
    assert (await send(f"DELETE {mfa}/totp", {"code": begun["recovery_codes"][1]})).status == 204
    change = {"email": "cem@example.net", "password": PASSWORD}
    assert (await send("POST /v1/auth/change-email", change)).status == 202
    [row] = await stage.pool.fetch(_EMAIL_CHANGES)
    token = stage.ports.tokens.confirmation_code(row["id"])
    assert (await send("POST /v1/auth/change-email/confirm", {"token": token}, None)).status == 204
    return sent


async def _identities(here: Backends) -> list[Example]:
    """The rows that sign in with another service, link and unlink it."""
    stage, path = here.open, "/v1/auth/identities"

    async def proof(subject: str) -> dict[str, str]:
        nonce = (await stage.call("POST", f"{path}/nonce")).json["nonce"]
        token = here.providers.token(nonce, stage.clock(), sub=subject, email=f"{subject}@example.org")
        return {"provider": "google", "nonce": nonce, "id_token": token}

    signed_in = await _sent(stage, f"POST {path}/sign-in", Ask("POST", f"{path}/sign-in", None, await proof("dee")))
    registered = await stage.call(
        "POST", "/v1/auth/register", body={"email": "eva@example.org", "password": PASSWORD}
    )
    eva = User(registered.json["user"]["id"], "eva@example.org", "eva", registered.json["access_token"])
    linking = Ask("POST", path, eva, await proof("eva") | {"password": PASSWORD})
    sent = [signed_in, await _sent(stage, f"POST {path}", linking)]
    sent.append(await _sent(stage, f"DELETE {path}/{{provider}}", Ask("DELETE", f"{path}/google", eva)))
    assert [example.reply.status for example in sent] == [200, 204, 204]
    return sent


async def _passkeys(stage: World) -> list[Example]:
    """The rows that add, name, use and remove a passkey."""
    path, phone = "/v1/auth/passkeys", Authenticator()
    body = {"email": "fay@example.org", "password": PASSWORD}
    registered = (await stage.call("POST", "/v1/auth/register", body=body)).json
    fay = User(registered["user"]["id"], "fay@example.org", "fay", registered["access_token"])
    begun = await _sent(stage, f"POST {path}/options", Ask("POST", f"{path}/options", fay, {"password": PASSWORD}))
    made = {"name": "My phone", "credential": phone.create(begun.reply.json)}
    added = await _sent(stage, f"POST {path}", Ask("POST", path, fay, made))
    challenge = (await stage.call("POST", f"{path}/sign-in/options")).json
    answer = {"credential": phone.get(challenge)}
    signed_in = await _sent(stage, f"POST {path}/sign-in", Ask("POST", f"{path}/sign-in", None, answer))
    one = f"{path}/{added.reply.json['id']}"
    sent = [
        begun,
        added,
        signed_in,
        await _sent(stage, f"PATCH {path}/{{passkeyId}}", Ask("PATCH", one, fay, {"name": "Old phone"})),
        await _sent(stage, f"DELETE {path}/{{passkeyId}}", Ask("DELETE", one, fay)),
    ]
    assert [example.reply.status for example in sent] == [200, 201, 200, 200, 204]
    return sent


async def _large_export(stage: World) -> Example:
    """The reply to a request for an archive that a job prepares."""
    play = await scene(stage, "large")
    owner, trip = play.people["OWNER"], f"/v1/trips/{play.trip}"
    form = document_form(PDF + bytes(5 << 20))
    added = await stage.call("POST", f"{trip}/wallet/documents", by=owner, raw=form, headers=dict((FORM_DATA,)))
    assert added.status == 201, added.body
    return await _sent(stage, "GET /v1/trips/{id}/export", Ask("GET", f"{trip}/export", owner))


async def refusals(here: Backends) -> list[Example]:
    """Refused requests, at least one for each status of the document."""
    stage = await scene(here.open, "refused")
    owner, trip = stage.people["OWNER"], f"/v1/trips/{stage.trip}"
    poll = (
        await here.open.call("POST", f"{trip}/polls", by=owner, body={"question": "?", "options": ["a", "b"]})
    ).json
    closed = f"{trip}/polls/{poll['id']}"
    await here.open.call("POST", "/v1/trips", by=owner, body=NEW_TRIP, headers={"idempotency-key": "k"})
    asks = [
        Ask("POST", "/v1/trips", owner, {"name": ""}),
        Ask("POST", "/v1/trips", owner, raw=b"{"),
        Ask("GET", "/v1/trips", None),
        Ask("GET", "/v1/trips", replace(owner, token="not-a-token")),
        Ask("GET", trip, stage.people["outsider"]),
        Ask("DELETE", trip, stage.people["MEMBER"]),
        Ask("GET", f"/v1/trips/{UUID(int=7)}", owner),
        Ask("GET", f"{trip}/polls/{UUID(int=7)}", owner),
        Ask("POST", f"{trip}/invitations", owner, {"email": stage.people["MEMBER"].email, "role": "member"}),
        Ask("POST", f"{closed}/vote", owner, {"optionId": str(UUID(int=7))}),
        Ask("POST", "/v1/trips", owner, raw=b" " * (1 << 20) + b"{}"),
        Ask("POST", "/v1/trips", owner, NEW_TRIP, headers=(("content-encoding", "gzip"),)),
        Ask("POST", "/v1/trips", owner, NEW_TRIP | {"name": "other"}, headers=(("idempotency-key", "k"),)),
        Ask("GET", "/v1/places/suggest?q=po", owner),
        Ask("GET", f"/v1/events?after={OLD_ID}", owner),
    ]
    found = [await _sent(here.open, request.path, request) for request in asks]
    return [*found, await _limited(here.limited), _bug()]


async def recorded(here: Backends) -> Examples:
    """The examples of every row, by requests one after the other."""
    sent = await refusals(here)  # before the list of places is loaded
    for line, caller in successes():
        # A name of its own, which other rows do not change.
        sent.append(await success(here.open, line, caller, f"{crc32(line.row.encode()):x}"))
    sent += [*await of_registration(here), await _large_export(here.open)]
    examples = Examples({}, {}, {})
    for example in sent:
        status = str(example.reply.status)
        if example.reply.status >= 400:
            examples.refusals.setdefault(status, {}).setdefault(example.reply.code, example.json)
            continue
        if example.body is not None:
            examples.bodies.setdefault(example.row, public(example.body))
        if example.json is not None:
            examples.replies.setdefault(example.row, {})[status] = example.json
    return examples


def public(value: Any) -> Any:
    """`value` with ids numbered by appearance, and without secrets and this backend's address."""
    ids: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        return ids.setdefault(match[0], str(UUID(int=0x019A_0000_0000_7000_8000_0000_0000_0001 + len(ids))))

    def walk(part: Any, key: str = "") -> Any:
        if isinstance(part, dict):
            return {name: walk(inner, name) for name, inner in part.items()}
        if isinstance(part, list):
            return [walk(inner, key) for inner in part]
        if not isinstance(part, str):
            return part
        text = _UUID.sub(numbered, part.replace(HERE, "https://trips.example.org"))
        return "secret" if key in _SECRETS else text if key == "id" else _SECRET.sub("secret", text)

    return walk(value)


async def _sent(stage: World, row: str, request: Ask) -> Example:
    reply = await stage.call(
        request.method, request.path, by=request.by, raw=encoded(request), headers=dict(request.headers)
    )
    return Example(row, None if request.raw is not None else request.body, reply)


async def _limited(stage: World) -> Example:
    """A refusal by a rate limit."""
    for number in range(1000):
        body = {"email": f"guess-{number}@example.org", "password": PASSWORD}
        example = await _sent(stage, "", Ask("POST", "/v1/auth/login", None, body))
        if example.reply.status == 429:
            return example
    raise AssertionError("no limit refused 1,000 logins")


def _bug() -> Example:
    reply = problem(RuntimeError(), "req-1")
    return Example("", None, Answer(reply.status, dict(reply.headers), reply.body))


async def _main() -> None:
    async with Postgres() as postgres:
        with tempfile.TemporaryDirectory() as home:
            async with backends(postgres, Path(home)) as here:
                examples = await recorded(here)
    FILE.write_text(json.dumps(msgspec.to_builtins(examples), indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    print(f"{FILE.name}: {len(examples.bodies)} bodies, {len(examples.replies)} replies.")


if __name__ == "__main__":
    asyncio.run(_main())
