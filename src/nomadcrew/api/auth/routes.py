"""This site's own accounts: /v1/auth, API keys, and the keys that verify its tokens."""

import msgspec

from nomadcrew.api.auth.api_keys import (
    ApiKeysView,
    CreatedApiKeyView,
    NewApiKeyIn,
    Scope,
    api_keys_view,
    created_key_view,
)
from nomadcrew.api.auth.bodies import (
    AddressIn,
    ChangePasswordIn,
    ConfirmationRequired,
    ConfirmIn,
    LoginIn,
    MailView,
    PublicKeys,
    RefreshIn,
    RegisterIn,
    ResetPasswordIn,
    SessionsView,
    SignedInView,
    ValidView,
    sessions_view,
    signed_in_view,
    valid_view,
)
from nomadcrew.core.api_keys.model import ApiKeyNotFound
from nomadcrew.core.api_keys.service import create_key
from nomadcrew.core.auth import accounts, new_passwords, sessions
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.errors import NotFound
from nomadcrew.core.flags import REGISTRATION
from nomadcrew.core.ids import ApiKeyId, SessionId
from nomadcrew.core.users import profiles
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.problems import JSON_TYPE
from nomadcrew.web.routes import Auth, Idempotency, Routes

routes = Routes(
    "auth",
    ports=(
        "accounts",
        "api_keys",
        "flags",
        "idempotency",
        "limits",
        "open_sessions",
        "outbox",
        "profiles",
        "sessions",
        "tokens",
    ),
    takes_keys=False,
)


@routes.post("/v1/auth/register", auth=Auth.PUBLIC, bucket="register", status=201, idempotency=Idempotency.NEVER,
             also=((202, ConfirmationRequired),),
             refusals=(403,), statements=2, why="the account is created before its first session")  # fmt: skip
async def register(call: Call, body: RegisterIn) -> SignedInView | Reply:
    """Register an account.

    Repeating the request with the same password signs in. If the site sends mail, the reply is always 202
    `{"confirmation_required": true}`, and following the link in the mail creates the account.
    """
    ports = call.ports
    is_open = ports.site.registration_open and await ports.flags.enabled(REGISTRATION, otherwise=True)
    if ports.site.mail_leaves:
        await accounts.request_account(
            body.to_sign_up(),
            is_open=is_open,
            accounts=ports.accounts,
            new_id=ports.new_id,
            now=call.now,
        )
        return Reply(202, msgspec.json.encode(ConfirmationRequired()), {"content-type": JSON_TYPE})
    signed_in = await accounts.register(
        body.to_sign_up(),
        _origin(call),
        is_open=is_open,
        accounts=ports.accounts,
        sessions=ports.sessions,
        tokens=ports.tokens,
        limits=ports.limits,
        new_id=ports.new_id,
        now=call.now,
    )
    return signed_in_view(signed_in)


@routes.post("/v1/auth/login", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NEVER,
             refusals=(401, 403), statements=2,
             why="the password is checked between reading it and opening a session")  # fmt: skip
async def login(call: Call, body: LoginIn) -> SignedInView:
    """Sign in with an email address or username.

    After five failures for an account from one network, further attempts from there are refused for a while.
    """
    ports = call.ports
    signed_in = await accounts.sign_in(
        body.login,
        body.password,
        _origin(call, body.device_token),
        accounts=ports.accounts,
        sessions=ports.sessions,
        tokens=ports.tokens,
        limits=ports.limits,
        new_id=ports.new_id,
        now=call.now,
    )
    return signed_in_view(signed_in)


@routes.post("/v1/auth/refresh", auth=Auth.PUBLIC, idempotency=Idempotency.NEVER, refusals=(401,))
async def refresh(call: Call, body: RefreshIn) -> SignedInView:
    """Exchange a refresh token for new tokens.

    A refresh token works once, and again within 30 seconds in case the reply was lost. Later reuse ends the
    session.
    """
    ports = call.ports
    signed_in = await sessions.refresh(
        body.refresh_token, sessions=ports.sessions, tokens=ports.tokens, now=call.now
    )
    return signed_in_view(signed_in)


@routes.post("/v1/auth/logout", auth=Auth.PUBLIC, status=204, idempotency=Idempotency.NEVER)
async def logout(call: Call, body: RefreshIn) -> None:
    """End the session of a refresh token.

    Safe to repeat.
    """
    ports = call.ports
    await sessions.sign_out(body.refresh_token, sessions=ports.sessions, tokens=ports.tokens, now=call.now)


@routes.post("/v1/auth/confirm", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NEVER,
             refusals=(401,), statements=3,
             why="the password is checked, then the account is created before its first session")  # fmt: skip
async def confirm(call: Call, body: ConfirmIn) -> SignedInView:
    """Confirm an email address with the token from a mail and the password of the registration.

    The token works once, within 24 hours.
    """
    ports = call.ports
    signed_in = await accounts.confirm(
        body.token,
        body.password,
        _origin(call),
        accounts=ports.accounts,
        sessions=ports.sessions,
        tokens=ports.tokens,
        limits=ports.limits,
        new_id=ports.new_id,
        now=call.now,
    )
    return signed_in_view(signed_in)


@routes.post("/v1/auth/resend", auth=Auth.PUBLIC, bucket="sign_in", status=202, idempotency=Idempotency.NEVER)
async def resend_confirmation(call: Call, body: AddressIn) -> MailView:
    """Mail the link that confirms a registration again, at most once every five minutes.

    The reply is the same whether or not the address is known.
    """
    await accounts.remind(body.email, accounts=call.ports.accounts, new_id=call.ports.new_id, now=call.now)
    return MailView()


@routes.post("/v1/auth/forgot-password", auth=Auth.PUBLIC, bucket="sign_in", status=202,
             idempotency=Idempotency.NEVER)  # fmt: skip
async def forgot_password(call: Call, body: AddressIn) -> MailView:
    """Mail a link with which to choose a new password, at most once every five minutes; it works for 30 minutes.

    The reply is the same whether or not the address is known.
    """
    await new_passwords.request_reset(
        body.email, accounts=call.ports.accounts, new_id=call.ports.new_id, now=call.now
    )
    return MailView()


@routes.post("/v1/auth/reset-password", auth=Auth.PUBLIC, bucket="sign_in", status=204,
             idempotency=Idempotency.NEVER, statements=2,
             why="the rules for a password need its account")  # fmt: skip
async def reset_password(call: Call, body: ResetPasswordIn) -> None:
    """Choose a new password with the token from a mail, which works once.

    All devices are signed out, and all API keys end.
    """
    await new_passwords.reset_password(
        body.token, body.password, accounts=call.ports.accounts, codes=call.ports.tokens, now=call.now
    )


@routes.post(
    "/v1/auth/change-password", bucket="sign_in", idempotency=Idempotency.NEVER, refusals=(403,), statements=3,
    why="the present password is checked before it is replaced, and this device gets a session",
)  # fmt: skip
async def change_password(call: Call, body: ChangePasswordIn) -> SignedInView:
    """Replace the password. All devices are signed out; this one gets new tokens. All API keys end."""
    ports = call.ports
    signed_in = await new_passwords.change_password(
        call.user_id,
        body.password,
        body.new_password,
        _origin(call, body.device_token),
        accounts=ports.accounts,
        sessions=ports.sessions,
        tokens=ports.tokens,
        limits=ports.limits,
        new_id=ports.new_id,
        now=call.now,
    )
    return signed_in_view(signed_in)


@routes.get("/v1/auth/sessions")
async def list_sessions(call: Call) -> SessionsView:
    """List the devices on which the caller is signed in, the latest used first; at most 100."""
    listed = await sessions.list_sessions(call.user_id, sessions=call.ports.sessions, now=call.now)
    return sessions_view(listed, call.claims)


@routes.delete("/v1/auth/sessions/{sessionId}", status=204, refusals=(404,))
async def end_session(call: Call) -> None:
    """Sign out a device: its tokens are refused and its sockets close."""
    ports = call.ports
    session_id = call.id("sessionId", NotFound("session", code="session_not_found"))
    await sessions.end_session(
        call.user_id, SessionId(session_id), sessions=ports.sessions, tokens=ports.tokens, now=call.now
    )


@routes.delete("/v1/auth/sessions", status=204)
async def end_other_sessions(call: Call) -> None:
    """Sign out all devices of the caller but this one."""
    ports = call.ports
    await sessions.end_other_sessions(call.claims, sessions=ports.sessions, tokens=ports.tokens, now=call.now)


@routes.post("/v1/auth/keys", status=201, bucket="api_key_create", idempotency=Idempotency.NEVER,
             uses_outbox=False, refusals=(403, 409))  # fmt: skip
async def create_api_key(call: Call, body: NewApiKeyIn) -> CreatedApiKeyView:
    """Create an API key, for programs of the caller.

    A program sends it as `Authorization: Bearer nck_…`. The reply shows the key once. A key for some trips is
    accepted for paths of these trips only. Requests on accounts, sessions and keys, and sockets, accept no keys.
    """
    created = await create_key(
        call.user_id,
        body.name,
        writes=body.scope is Scope.WRITE,
        trips=body.trips,
        expires_at=body.expires_at,
        api_keys=call.ports.api_keys,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return created_key_view(created)


@routes.get("/v1/auth/keys")
async def list_api_keys(call: Call) -> ApiKeysView:
    """List the caller's API keys, newest first; at most 25."""
    return api_keys_view(await call.ports.api_keys.of(call.user_id))


@routes.delete("/v1/auth/keys/{keyId}", status=204, uses_outbox=False, refusals=(404,))
async def delete_api_key(call: Call) -> None:
    """Delete an API key, so that it is refused."""
    key_id = call.id("keyId", ApiKeyNotFound())
    await call.ports.api_keys.delete(call.user_id, ApiKeyId(key_id))


@routes.get("/v1/auth/validate")
async def validate(call: Call) -> ValidView:
    """Get the access token's user and expiry."""
    return valid_view(
        call.claims, await profiles.get_profile(call.user_id, call.user_id, profiles=call.ports.profiles)
    )


@routes.get("/.well-known/jwks.json", auth=Auth.PUBLIC, statements=0, why="the keys are in memory")
async def jwks(call: Call) -> PublicKeys:
    """List the public keys that verify this site's access tokens."""
    return msgspec.convert(await call.ports.tokens.jwks(now=call.now), PublicKeys)


def _origin(call: Call, device_token: str | None = None) -> Origin:
    return Origin(call.request.client_ip, device_token, call.user_agent)
