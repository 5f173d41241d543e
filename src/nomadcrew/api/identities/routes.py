"""Sign-in with an account at Google or Apple: /v1/auth/identities."""

from nomadcrew.api.auth.bodies import SignedInView, signed_in_view
from nomadcrew.api.identities.bodies import (
    IdentitiesView,
    LinkIn,
    NonceView,
    ProofIn,
    identities_view,
)
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.identities import IdentityActions
from nomadcrew.core.auth.model import Provider
from nomadcrew.core.errors import NotFound
from nomadcrew.core.flags import REGISTRATION
from nomadcrew.web.call import Call
from nomadcrew.web.routes import Auth, Idempotency, Routes

routes = Routes(
    "identities",
    ports=(
        "accounts",
        "flags",
        "id_tokens",
        "idempotency",
        "identities",
        "limits",
        "open_sessions",
        "outbox",
        "sessions",
        "tokens",
    ),
    takes_keys=False,
)


@routes.post("/v1/auth/identities/nonce", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NEVER,
             statements=0, why="a nonce is stored once it is spent")  # fmt: skip
async def make_nonce(call: Call) -> NonceView:
    """Get a nonce to ask Google or Apple for an ID token with."""
    return NonceView(_actions(call).nonce())


@routes.post("/v1/auth/identities/sign-in", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NEVER,
             refusals=(401, 403, 409), statements=4,
             why="the nonce is spent, and the account comes before its session; the device is noted")  # fmt: skip
async def sign_in_with_identity(call: Call, body: ProofIn) -> SignedInView:
    """Sign in with an ID token of Google or Apple, which is accepted once.

    A new user gets an account with the address that the provider has verified. An address that has an account
    answers 409 `identity_unlinked`: sign in with the password and link the identity.
    """
    ports = call.ports
    signed_in = await _actions(call, body.device_token).sign_in(
        body.proof(),
        is_open=ports.site.registration_open and await ports.flags.enabled(REGISTRATION, otherwise=True),
        sessions=ports.sessions,
        tokens=ports.tokens,
    )
    return signed_in_view(signed_in)


@routes.get("/v1/auth/identities")
async def list_identities(call: Call) -> IdentitiesView:
    """List the services with which the caller signs in."""
    return identities_view(await _actions(call).list(call.user_id))


@routes.post("/v1/auth/identities", bucket="sign_in", status=204, idempotency=Idempotency.NEVER,
             refusals=(401, 403, 409), statements=3,
             why="the password is checked, and the nonce spent, before the identity is linked")  # fmt: skip
async def link_identity(call: Call, body: LinkIn) -> None:
    """Let an account at Google or Apple sign in to the caller's account."""
    await _actions(call, body.device_token).link(
        call.user_id, body.password, body.proof(), limits=call.ports.limits
    )


@routes.delete("/v1/auth/identities/{provider}", status=204, refusals=(404, 409))
async def unlink_identity(call: Call) -> None:
    """Remove the sign-in with a service, `google` or `apple`."""
    await _actions(call).unlink(call.user_id, _provider(call))


def _provider(call: Call) -> Provider:
    try:
        return Provider(call.request.params["provider"])
    except ValueError:
        raise NotFound("identity", code="identity_not_found") from None


def _actions(call: Call, device_token: str | None = None) -> IdentityActions:
    ports = call.ports
    return IdentityActions(
        Origin(call.request.client_ip, device_token, call.user_agent), ports.accounts, ports.identities,
        ports.id_tokens, ports.tokens, ports.new_id, call.now,
    )  # fmt: skip
