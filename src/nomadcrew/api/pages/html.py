"""The HTML pages of invitation and confirmation links."""

from collections.abc import Mapping
from http import HTTPStatus

from nomadcrew.api.mail.messages import APP_SCHEME, invitation_path
from nomadcrew.api.rendering import days, minute, one_line, render
from nomadcrew.core.auth.errors import (
    ConfirmationUsed,
    InvalidConfirmation,
    InvalidCredentials,
    InvalidEmailChange,
    InvalidReset,
    WeakPassword,
)
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.ports import EmailChange, PasswordReset
from nomadcrew.core.errors import DomainError, TooMany, Unavailable
from nomadcrew.core.invitations.errors import BadInvitationToken, Expired, InviterNotAllowed, NotPending
from nomadcrew.core.invitations.model import InvitationDetails
from nomadcrew.core.ports import Site
from nomadcrew.core.users.ports import UnconfirmedContactEmail
from nomadcrew.web.call import Reply
from nomadcrew.web.problems import status_of

# The URL contains the token: caches must not store the page, and followed links must not send a referrer.
HEADERS: Mapping[str, str] = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}
KEPT_FIELDS = ("intent", "login", "username", "first_name", "last_name")
_STATUS: dict[type[DomainError], int] = {
    BadInvitationToken: HTTPStatus.NOT_FOUND,
    InvalidConfirmation: HTTPStatus.NOT_FOUND,
    NotPending: HTTPStatus.GONE,
    Expired: HTTPStatus.GONE,
    InviterNotAllowed: HTTPStatus.GONE,
    ConfirmationUsed: HTTPStatus.GONE,
    InvalidEmailChange: HTTPStatus.GONE,
    InvalidReset: HTTPStatus.GONE,
}
_HEADINGS = {
    HTTPStatus.NOT_FOUND: "This link does not work",
    HTTPStatus.GONE: "This link was used already or has expired",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts",
    HTTPStatus.SERVICE_UNAVAILABLE: "Temporarily unavailable",
}


def invitation_page(
    details: InvitationDetails,
    token: str,
    site: Site,
    *,
    refusal: DomainError | None = None,
    form: Mapping[str, str] | None = None,
) -> Reply:
    """The invitation with its two forms; after a refusal with the entered values, except the password."""
    values = form or {}
    html = render(
        "invitation.html",
        inviter=one_line(details.inviter_name) or "A member",
        trip=one_line(details.trip_name),
        dates=days(details.trip_start_date, details.trip_end_date),
        role=details.role.lower(),
        email=details.email,
        expires=minute(details.expires_at),
        refusal=None if refusal is None else refusal.text,
        kept={name: values.get(name, "") for name in KEPT_FIELDS},
        **_links(token, site),
    )
    return _reply(HTTPStatus.OK if refusal is None else status_of(refusal), html, refusal)


def welcome_page(details: InvitationDetails, account: Account, token: str, site: Site) -> Reply:
    html = render(
        "welcome.html",
        trip=one_line(details.trip_name),
        role=details.role.lower(),
        username=account.profile.username,
        **_links(token, site),
    )
    return _reply(HTTPStatus.OK, html)


def confirm_page(refusal: InvalidCredentials | None = None) -> Reply:
    """The form that confirms a registration; after a wrong password it says so."""
    status = HTTPStatus.OK if refusal is None else status_of(refusal)
    return _reply(status, render("confirm.html", is_wrong=refusal is not None))


def confirmed_page(account: Account) -> Reply:
    return _reply(HTTPStatus.OK, render("confirmed.html", username=account.profile.username))


def reset_password_page(reset: PasswordReset, refusal: WeakPassword | None = None) -> Reply:
    """The form for a new password; after a weak one it says why."""
    html = render(
        "reset_password.html",
        username=reset.account.profile.username,
        refusal=None if refusal is None else refusal.text,
    )
    return _reply(HTTPStatus.OK if refusal is None else status_of(refusal), html)


def password_reset_page(reset: PasswordReset) -> Reply:
    return _reply(HTTPStatus.OK, render("password_reset.html", username=reset.account.profile.username))


def confirm_email_page(change: EmailChange) -> Reply:
    html = render("confirm_email.html", username=change.account.profile.username, email=change.email)
    return _reply(HTTPStatus.OK, html)


def email_changed_page(change: EmailChange) -> Reply:
    html = render("email_changed.html", username=change.account.profile.username, email=change.email)
    return _reply(HTTPStatus.OK, html)


def confirm_contact_email_page(address: UnconfirmedContactEmail) -> Reply:
    html = render("confirm_contact_email.html", username=address.username, email=address.email)
    return _reply(HTTPStatus.OK, html)


def contact_email_confirmed_page(address: UnconfirmedContactEmail) -> Reply:
    html = render("contact_email_confirmed.html", username=address.username, email=address.email)
    return _reply(HTTPStatus.OK, html)


def refused_page(refusal: DomainError) -> Reply:
    """A refusal without a form."""
    status = HTTPStatus(_STATUS.get(type(refusal)) or status_of(refusal))
    html = render("refused.html", heading=_HEADINGS.get(status, "The request was refused"), refusal=refusal.text)
    return _reply(status, html, refusal)


def _links(token: str, site: Site) -> dict[str, str]:
    """Links into the app: by its own scheme, and by its own host if the site has one."""
    path = invitation_path(token)
    return {"app_link": f"{APP_SCHEME}{path}", "web_link": f"{site.app_url}/{path}" if site.app_url else ""}


def _reply(status: int, html: str, refusal: DomainError | None = None) -> Reply:
    headers = dict(HEADERS)
    if isinstance(refusal, TooMany | Unavailable):
        headers["retry-after"] = str(refusal.retry_after_s)
    return Reply(int(status), html.encode(), headers)
