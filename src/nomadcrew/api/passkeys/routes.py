"""Passkeys: /v1/auth/passkeys."""

from nomadcrew.api.auth.bodies import SignedInView, signed_in_view
from nomadcrew.api.passkeys.bodies import (
    CreationOptions,
    PasskeyBeginIn,
    PasskeyIn,
    PasskeyNameIn,
    PasskeySignInIn,
    PasskeysView,
    PasskeyView,
    RequestOptions,
    creation_options,
    passkey_view,
    request_options,
)
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import PasskeyId
from nomadcrew.core.auth.passkeys import PasskeyActions
from nomadcrew.core.errors import NotFound
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Idempotency, Routes

routes = Routes(
    "passkeys",
    ports=(
        "accounts",
        "idempotency",
        "identities",
        "limits",
        "open_sessions",
        "outbox",
        "passkey_proofs",
        "passkeys",
        "sessions",
        "tokens",
    ),
    takes_keys=False,
)


@routes.post("/v1/auth/passkeys/sign-in/options", auth=Auth.PUBLIC, bucket="sign_in",
             idempotency=Idempotency.NEVER, statements=0, why="a challenge is stored once it is spent")  # fmt: skip
async def begin_sign_in(call: Call) -> RequestOptions:
    """Get the options to sign in with a passkey: the device offers those it has for this site."""
    return request_options(_actions(call).challenge(), call.ports.passkey_proofs.site_id)


@routes.post("/v1/auth/passkeys/sign-in", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NEVER,
             refusals=(401,), statements=5,
             why="the key is read, and the challenge spent, before the session is opened")  # fmt: skip
async def sign_in_with_passkey(call: Call, body: PasskeySignInIn) -> SignedInView:
    """Sign in with a passkey, without a password or a code."""
    ports = call.ports
    signed_in = await _actions(call, body.device_token).sign_in(
        body.credential, sessions=ports.sessions, tokens=ports.tokens
    )
    return signed_in_view(signed_in)


@routes.post("/v1/auth/passkeys/options", bucket="sign_in", idempotency=Idempotency.NEVER, refusals=(403,),
             statements=2, why="the password is checked before the keys are listed")  # fmt: skip
async def begin_passkey(call: Call, body: PasskeyBeginIn) -> CreationOptions:
    """Get the options for a new passkey."""
    ports = call.ports
    new = await _actions(call, body.device_token).begin(call.user_id, body.password, limits=ports.limits)
    return creation_options(new, ports.passkey_proofs.site_id, ports.site.name)


@routes.post("/v1/auth/passkeys", bucket="sign_in", status=201, idempotency=Idempotency.NEVER,
             refusals=(401, 409), statements=3,
             why="the key is compared with known ones, and the challenge spent, before it is stored")  # fmt: skip
async def add_passkey(call: Call, body: PasskeyIn) -> PasskeyView:
    """Store a new passkey with a name for the list; at most 20."""
    return passkey_view(await _actions(call).add(call.user_id, body.name, body.credential))


@routes.get("/v1/auth/passkeys")
async def list_passkeys(call: Call) -> PasskeysView:
    """List the passkeys of the caller, the oldest first."""
    return PasskeysView([passkey_view(each) for each in await _actions(call).list(call.user_id)])


@routes.patch("/v1/auth/passkeys/{passkeyId}", refusals=(404,))
async def rename_passkey(call: Call, body: PasskeyNameIn) -> PasskeyView:
    """Rename a passkey."""
    return passkey_view(await _actions(call).rename(call.user_id, _passkey_id(call), body.name))


@routes.delete("/v1/auth/passkeys/{passkeyId}", status=204, refusals=(404, 409))
async def remove_passkey(call: Call) -> None:
    """Remove a passkey. The device keeps its half, which is of no use then."""
    await _actions(call).remove(call.user_id, _passkey_id(call))


def _passkey_id(call: Call) -> PasskeyId:
    return PasskeyId(call.id("passkeyId", NotFound("passkey", code="passkey_not_found")))


def _actions(call: Call, device_token: str | None = None) -> PasskeyActions:
    ports = call.ports
    return PasskeyActions(
        Origin(call.request.client_ip, device_token, call.user_agent), ports.accounts, ports.passkeys,
        ports.passkey_proofs, ports.identities, ports.tokens, ports.new_id, call.now,
    )  # fmt: skip
