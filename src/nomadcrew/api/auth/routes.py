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
    ChangeEmailIn,
    ChangePasswordIn,
    CodeIn,
    ConfirmationRequired,
    ConfirmIn,
    LoginIn,
    MailView,
    MfaVerifyIn,
    MfaView,
    PasswordIn,
    PublicKeys,
    RefreshIn,
    RegisterIn,
    ResetPasswordIn,
    SessionsView,
    SignedInView,
    TokenIn,
    TotpView,
    ValidView,
    sessions_view,
    signed_in_view,
    valid_view,
)
from nomadcrew.core.api_keys.model import ApiKeyNotFound
from nomadcrew.core.api_keys.service import create_key
from nomadcrew.core.auth import accounts, email_changes, new_passwords, sessions
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.mfa import MfaActions
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
        "totp_factors",
    ),
    takes_keys=False,
)


@routes.post("/v1/auth/register", auth=Auth.PUBLIC, bucket="register", status=201, idempotency=Idempotency.NEVER,
             also=((202, ConfirmationRequired),),
             refusals=(401, 403), statements=3, why="the account comes before its first session")  # fmt: skip
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
             refusals=(401, 403), statements=3,
             why="the password is checked before the session is opened; the device is noted")  # fmt: skip
async def login(call: Call, body: LoginIn) -> SignedInView:
    """Sign in with an email address or username.

    After five failures for an account from one network, further attempts from there are refused for a while. An
    account with an authenticator app answers 401 `mfa_required` with an `mfa_token` for `/v1/auth/mfa/verify`.
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
             refusals=(401,), statements=4,
             why="the password is checked, and the account comes before its first session")  # fmt: skip
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
    "/v1/auth/change-password", bucket="sign_in", idempotency=Idempotency.NEVER, refusals=(403,), statements=4,
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


@routes.post("/v1/auth/change-email", bucket="sign_in", status=202, idempotency=Idempotency.NEVER, refusals=(403,),
             statements=2, why="the password is checked before the change is stored")  # fmt: skip
async def change_email(call: Call, body: ChangeEmailIn) -> MailView:
    """Mail a link to a new email address, which replaces the present one once it is followed, within 30 minutes.

    The reply is the same whether or not the address has an account.
    """
    ports = call.ports
    await email_changes.request_email_change(
        call.user_id,
        body.password,
        body.email,
        _origin(call, body.device_token),
        accounts=ports.accounts,
        limits=ports.limits,
        codes=ports.tokens,
        new_id=ports.new_id,
        now=call.now,
    )
    return MailView()


@routes.post("/v1/auth/change-email/confirm", auth=Auth.PUBLIC, bucket="sign_in", status=204,
             idempotency=Idempotency.NEVER, statements=2,
             why="the change is read before it is made")  # fmt: skip
async def confirm_email(call: Call, body: TokenIn) -> None:
    """Confirm a new email address with the token from a mail, which works once. The former address gets a mail."""
    ports = call.ports
    await email_changes.change_email(
        body.token, accounts=ports.accounts, profiles=ports.profiles, codes=ports.tokens, now=call.now
    )


@routes.post("/v1/auth/mfa/verify", auth=Auth.PUBLIC, bucket="sign_in", idempotency=Idempotency.NEVER,
             refusals=(401, 403), statements=4,
             why="the code is read and spent before the session is opened")  # fmt: skip
async def verify_mfa(call: Call, body: MfaVerifyIn) -> SignedInView:
    """Complete a sign-in that answered `mfa_required`, with a code of the authenticator app or a recovery code.

    Each code works once. The `mfa_token` is valid for five minutes.
    """
    ports = call.ports
    signed_in = await _mfa(call, body.device_token).sign_in(
        body.mfa_token, body.code, accounts=ports.accounts, sessions=ports.sessions, tokens=ports.tokens
    )
    return signed_in_view(signed_in)


@routes.get("/v1/auth/mfa")
async def get_mfa(call: Call) -> MfaView:
    """Tell whether the caller's sign-ins need a code."""
    status = await _mfa(call).status(call.user_id)
    return MfaView(status.totp, status.recovery_codes_left)


@routes.post("/v1/auth/mfa/totp", bucket="sign_in", idempotency=Idempotency.NEVER, refusals=(403, 409),
             statements=2, why="the password is checked before the secret is stored")  # fmt: skip
async def begin_totp(call: Call, body: PasswordIn) -> TotpView:
    """Set up an authenticator app. Sign-ins need its codes once it is confirmed."""
    new = await _mfa(call, body.device_token).begin(
        call.user_id, body.password, accounts=call.ports.accounts, issuer=call.ports.site.name
    )
    return TotpView(new.secret, new.uri, new.recovery_codes)


@routes.post("/v1/auth/mfa/totp/confirm", bucket="sign_in", status=204, idempotency=Idempotency.NEVER,
             refusals=(403, 409), statements=2, why="the code is compared with the stored secret")  # fmt: skip
async def confirm_totp(call: Call, body: CodeIn) -> None:
    """Confirm the authenticator app with a code of it: sign-ins need one from now on."""
    await _mfa(call).confirm(call.user_id, body.code)


@routes.delete("/v1/auth/mfa/totp", bucket="sign_in", status=204, idempotency=Idempotency.NEVER,
               refusals=(403, 409), statements=3,
               why="the code is spent before the secret is deleted")  # fmt: skip
async def remove_totp(call: Call, body: CodeIn) -> None:
    """Remove the authenticator app, with a code of it or a recovery code. Sign-ins need no code any more."""
    await _mfa(call).remove(call.user_id, body.code)


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


def _mfa(call: Call, device_token: str | None = None) -> MfaActions:
    ports = call.ports
    return MfaActions(
        _origin(call, device_token), ports.totp_factors, ports.tokens, ports.limits, ports.new_id, call.now
    )


def _origin(call: Call, device_token: str | None = None) -> Origin:
    return Origin(call.request.client_ip, device_token, call.user_agent)
