"""Pages for people without the app at hand: an invitation's, and the one behind a confirmation mail.

There is no defence against forged form posts because there is nothing to forge with: no cookie, no session. Whoever
posts here proves who they are in the post itself, with a password or with the secret in the address.
"""

from collections.abc import Mapping

from nomadcrew.api.pages.html import confirm_page, confirmed_page, invitation_page, refused_page, welcome_page
from nomadcrew.core.auth import accounts
from nomadcrew.core.auth.accounts import SignUp
from nomadcrew.core.auth.model import Account
from nomadcrew.core.errors import DomainError, NotFound, TooMany
from nomadcrew.core.invitations import service as invitations
from nomadcrew.core.invitations.errors import Expired, NotPending
from nomadcrew.core.invitations.model import InvitationDetails, InvitationStatus
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.forms import form_of
from nomadcrew.web.routes import Auth, Replay, Routes

routes = Routes("pages", ports=("accounts", "invitation_links", "invitations", "limits", "outbox", "tokens"))


@routes.get("/invite/accept/{token}", auth=Auth.PUBLIC, html=True, refusals=(404, 410))
async def show_invitation(call: Call) -> Reply:
    """Show an invitation, with forms to register or to sign in."""
    try:
        details = await _invited(call)
        if details.status != InvitationStatus.PENDING:
            raise NotPending
    except DomainError as refusal:
        return refused_page(refusal)
    return invitation_page(details, call.request.params["token"], call.ports.site)


@routes.post("/invite/accept/{token}", auth=Auth.PUBLIC, html=True, replay=Replay.NEVER, statements=3,
             refusals=(400, 401, 403, 404, 409, 410, 413),
             why="the invitation is read, then an account found or made, then the trip joined")  # fmt: skip
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
    except (NotPending, Expired, NotFound) as refusal:
        return refused_page(refusal)
    except DomainError as refusal:
        return invitation_page(details, token, site, refusal=refusal, form=form)
    return welcome_page(details, account, token, site)


@routes.get("/auth/confirm/{token}", auth=Auth.PUBLIC, html=True, refusals=(404,), statements=0,
            why="scanners of mail follow links, so looking changes nothing and asks nothing")  # fmt: skip
async def show_confirmation(call: Call) -> Reply:
    """Show the button that confirms an e-mail address."""
    try:
        call.ports.tokens.read_confirmation_code(call.request.params["token"])
    except DomainError as refusal:
        return refused_page(refusal)
    return confirm_page()


@routes.post("/auth/confirm/{token}", auth=Auth.PUBLIC, html=True, replay=Replay.NEVER, refusals=(404, 410))
async def confirm_by_page(call: Call) -> Reply:
    """Confirm an e-mail address."""
    ports = call.ports
    try:
        await _spend(call, "sign_in")
        account = await accounts.confirm_account(
            call.request.params["token"],
            accounts=ports.accounts,
            tokens=ports.tokens,
            new_id=ports.new_id,
            now=call.now,
        )
    except DomainError as refusal:
        return refused_page(refusal)
    return confirmed_page(account)


async def _invited(call: Call) -> InvitationDetails:
    """The invitation behind the link.

    Raises:
        BadInvitationToken, NotFound: there is none.
        NotPending, Expired: it was declined or withdrawn, or it is too late.
    """
    invitation_id = call.ports.invitation_links.read(call.request.params["token"], now=call.now)
    details = await invitations.invitation_details(invitation_id, None, invitations=call.ports.invitations)
    if details.status == InvitationStatus.DECLINED:
        raise NotPending
    if details.status == InvitationStatus.PENDING and details.expires_at <= call.now:
        raise Expired
    return details


async def _visitor(call: Call, details: InvitationDetails, form: Mapping[str, str]) -> Account:
    """Who fills in the form: somebody new at the invited address, or somebody with an account.

    An invitation makes one account at most: once it is accepted, the first form signs in too, which is what a
    repeated post needs.

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
            confirmed=True,  # the link was mailed to this very address
            accounts=ports.accounts,
            limits=ports.limits,
            new_id=ports.new_id,
            now=call.now,
        )
    await _spend(call, "sign_in")
    login = details.email if is_new else form.get("login", "")
    return await accounts.check_credentials(
        login, password, accounts=ports.accounts, limits=ports.limits, new_id=ports.new_id, now=call.now
    )


async def _spend(call: Call, bucket: str) -> None:
    """Count this post like the API's own sign-ins, here and not in the row, so that a refusal is a page.

    Raises:
        TooMany: the visitor's address has posted too often.
    """
    allowance = await call.ports.limits.take(bucket, call.request.client_ip)
    if not allowance.allowed:
        raise TooMany(allowance.retry_after_s)
