"""Pages for users without the app: the page of an invitation, and of a confirmation mail.

The forms need no defence against forged posts: pages use no cookie and no session. Each post proves its sender
itself, with a password or with the secret in the URL.
"""

from collections.abc import Mapping

from nomadcrew.api.pages.html import (
    confirm_contact_email_page,
    confirm_email_page,
    confirm_page,
    confirmed_page,
    contact_email_confirmed_page,
    email_changed_page,
    invitation_page,
    password_reset_page,
    refused_page,
    reset_password_page,
    welcome_page,
)
from nomadcrew.core.auth import accounts, email_changes, new_passwords
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.auth.errors import InvalidCredentials, MfaRequired, WeakPassword
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.ports import PasswordReset
from nomadcrew.core.errors import DomainError, Forbidden, NotFound, TooMany
from nomadcrew.core.invitations import service as invitations
from nomadcrew.core.invitations.errors import Expired, InviterNotAllowed, NotPending
from nomadcrew.core.invitations.model import InvitationDetails, InvitationStatus
from nomadcrew.core.users.profiles import confirm_contact_email, unconfirmed_contact_email
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.forms import form_of
from nomadcrew.web.routes import Auth, Idempotency, Routes

routes = Routes(
    "pages",
    ports=("accounts", "invitation_links", "invitations", "limits", "outbox", "profiles", "tokens"),
)


@routes.get("/invite/accept/{token}", auth=Auth.PUBLIC, html=True, refusals=(404, 410))
async def show_invitation(call: Call) -> Reply:
    """Show an invitation's page, with forms to register and to sign in."""
    try:
        details = await _invited(call)
        if details.status != InvitationStatus.PENDING:
            raise NotPending
    except DomainError as refusal:
        return refused_page(refusal)
    return invitation_page(details, call.request.params["token"], call.ports.site)


@routes.post("/invite/accept/{token}", auth=Auth.PUBLIC, html=True, idempotency=Idempotency.NEVER, statements=3,
             refusals=(400, 401, 403, 404, 409, 410, 413),
             why="it reads the invitation, finds or creates the account, then joins the trip")  # fmt: skip
async def answer_invitation(call: Call) -> Reply:
    """Register or sign in, and join the trip."""
    token, site = call.request.params["token"], call.ports.site
    try:
        details = await _invited(call)
        form = form_of(call.request)
    except DomainError as refusal:
        return refused_page(refusal)
    try:
        account = await _visitor(call, details, form)
        await invitations.accept_invitation(
            details.id,
            account.user_id,
            invitations=call.ports.invitations,
            new_id=call.ports.new_id,
            now=call.now,
        )
    except MfaRequired:
        in_the_app = Forbidden("This account needs a code to sign in: accept the invitation in the app.")
        return invitation_page(details, token, site, refusal=in_the_app, form=form)
    except (NotPending, Expired, InviterNotAllowed, NotFound) as refusal:
        return refused_page(refusal)
    except DomainError as refusal:
        return invitation_page(details, token, site, refusal=refusal, form=form)
    return welcome_page(details, account, token, site)


@routes.get("/auth/confirm/{token}", auth=Auth.PUBLIC, html=True, refusals=(404,), statements=0,
            why="mail scanners follow links, so the page changes nothing and reads nothing")  # fmt: skip
async def show_confirmation(call: Call) -> Reply:
    """Show the button that confirms an email address."""
    try:
        call.ports.tokens.read_confirmation_code(call.request.params["token"])
    except DomainError as refusal:
        return refused_page(refusal)
    return confirm_page()


@routes.post(
    "/auth/confirm/{token}", auth=Auth.PUBLIC, html=True, idempotency=Idempotency.NEVER,
    refusals=(401, 404, 410, 413), statements=2, why="the password is checked before the account is created",
)  # fmt: skip
async def confirm_by_page(call: Call) -> Reply:
    """Confirm an email address with the password of the registration."""
    ports = call.ports
    try:
        await _spend(call, "sign_in")
        # A bad link is a page not found, whatever the form holds.
        ports.tokens.read_confirmation_code(call.request.params["token"])
        account = await accounts.confirm_account(
            call.request.params["token"],
            form_of(call.request).get("password", ""),
            Origin(call.request.client_ip),
            accounts=ports.accounts,
            tokens=ports.tokens,
            limits=ports.limits,
            new_id=ports.new_id,
            now=call.now,
        )
    except InvalidCredentials as refusal:
        return confirm_page(refusal)
    except DomainError as refusal:
        return refused_page(refusal)
    return confirmed_page(account)


@routes.get("/auth/reset/{token}", auth=Auth.PUBLIC, html=True, refusals=(410,))
async def show_reset(call: Call) -> Reply:
    """Show the form for a new password."""
    try:
        reset = await _reset(call)
    except DomainError as refusal:
        return refused_page(refusal)
    return reset_password_page(reset)


@routes.post("/auth/reset/{token}", auth=Auth.PUBLIC, html=True, idempotency=Idempotency.NEVER,
             refusals=(400, 410, 413), statements=3,
             why="the rules for a password need its account; a weak one shows the form again")  # fmt: skip
async def reset_by_page(call: Call) -> Reply:
    """Save a new password."""
    ports = call.ports
    try:
        await _spend(call, "sign_in")
        reset = await _reset(call)
        password = form_of(call.request).get("password", "")
        await new_passwords.reset_password(
            call.request.params["token"], password, accounts=ports.accounts, codes=ports.tokens, now=call.now
        )
    except WeakPassword as refusal:
        return reset_password_page(reset, refusal)
    except DomainError as refusal:
        return refused_page(refusal)
    return password_reset_page(reset)


@routes.get("/auth/email/{token}", auth=Auth.PUBLIC, html=True, refusals=(410,))
async def show_email_change(call: Call) -> Reply:
    """Show the button that confirms a new email address, with the name of its account."""
    ports = call.ports
    try:
        change = await email_changes.find_email_change(
            call.request.params["token"], accounts=ports.accounts, codes=ports.tokens, now=call.now
        )
    except DomainError as refusal:
        return refused_page(refusal)
    return confirm_email_page(change)


@routes.post("/auth/email/{token}", auth=Auth.PUBLIC, html=True, idempotency=Idempotency.NEVER,
             refusals=(410,), statements=2, why="the change is read before it is made")  # fmt: skip
async def change_email_by_page(call: Call) -> Reply:
    """Confirm a new email address."""
    ports = call.ports
    try:
        await _spend(call, "sign_in")
        change = await email_changes.change_email(
            call.request.params["token"],
            accounts=ports.accounts,
            profiles=ports.profiles,
            codes=ports.tokens,
            now=call.now,
        )
    except DomainError as refusal:
        return refused_page(refusal)
    return email_changed_page(change)


@routes.get("/contact-email/confirm/{token}", auth=Auth.PUBLIC, html=True, refusals=(404,))
async def show_contact_email_confirmation(call: Call) -> Reply:
    """Show the button that confirms a contact address, with the name of its account."""
    ports = call.ports
    try:
        address = await unconfirmed_contact_email(
            call.request.params["token"], profiles=ports.profiles, codes=ports.tokens
        )
    except DomainError as refusal:
        return refused_page(refusal)
    return confirm_contact_email_page(address)


@routes.post("/contact-email/confirm/{token}", auth=Auth.PUBLIC, html=True, idempotency=Idempotency.NEVER,
             refusals=(404,))  # fmt: skip
async def confirm_contact_email_by_page(call: Call) -> Reply:
    """Confirm a contact address."""
    ports = call.ports
    try:
        await _spend(call, "sign_in")
        address = await confirm_contact_email(
            call.request.params["token"], profiles=ports.profiles, codes=ports.tokens, now=call.now
        )
    except DomainError as refusal:
        return refused_page(refusal)
    return contact_email_confirmed_page(address)


async def _reset(call: Call) -> PasswordReset:
    ports = call.ports
    return await new_passwords.find_reset(
        call.request.params["token"], accounts=ports.accounts, codes=ports.tokens, now=call.now
    )


async def _invited(call: Call) -> InvitationDetails:
    """The invitation of the link.

    Raises:
        BadInvitationToken, NotFound: no such invitation.
        NotPending, Expired: the invitation was declined or revoked, or has expired.
    """
    invitation_id = call.ports.invitation_links.read(call.request.params["token"], now=call.now)
    details = await invitations.invitation_details(invitation_id, None, invitations=call.ports.invitations)
    if details.status == InvitationStatus.DECLINED:
        raise NotPending
    if details.status == InvitationStatus.PENDING and details.expires_at <= call.now:
        raise Expired
    return details


async def _visitor(call: Call, details: InvitationDetails, form: Mapping[str, str]) -> Account:
    """The account of the visitor: a new one at the invited address, or an existing one.

    An invitation creates one account at most. Once it is accepted, the registration form signs in too, so that a
    post can be repeated.

    Raises:
        DomainError: as `create_account` and `check_credentials` say; `TooMany`.
    """
    ports, password = call.ports, form.get("password", "")
    is_new = form.get("intent") == "register"
    if is_new and details.status == InvitationStatus.PENDING:
        await _spend(call, "register")
        sign_up = SignUp(
            details.email,
            password,
            form.get("username"),
            form.get("first_name", ""),
            form.get("last_name", ""),
        )
        return await accounts.create_account(
            sign_up,
            Origin(call.request.client_ip),
            confirmed=True,  # the link was mailed to this address
            accounts=ports.accounts,
            limits=ports.limits,
            codes=ports.tokens,
            new_id=ports.new_id,
            now=call.now,
        )
    await _spend(call, "sign_in")
    login = details.email if is_new else form.get("login", "")
    return await accounts.check_credentials(
        login,
        password,
        Origin(call.request.client_ip),
        accounts=ports.accounts,
        limits=ports.limits,
        codes=ports.tokens,
        new_id=ports.new_id,
        now=call.now,
    )


async def _spend(call: Call, bucket: str) -> None:
    """Count this post like the API's sign-ins. The row does not do it, so that the refusal is a page.

    Raises:
        TooMany: the visitor's IP address has posted too often.
    """
    allowance = await call.ports.limits.spend(bucket, call.request.client_ip)
    if not allowance.allowed:
        raise TooMany(allowance.retry_after_s)
