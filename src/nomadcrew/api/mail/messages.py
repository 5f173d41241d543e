"""The mails of the product: subjects and templates."""

from datetime import datetime
from typing import Any

from nomadcrew.api.rendering import day, days, minute, render, unlinked
from nomadcrew.core.auth.model import Account, AccountChange
from nomadcrew.core.auth.ports import EmailChange, KnownDevice, PasswordReset, Registration
from nomadcrew.core.documents.model import EndingDocument
from nomadcrew.core.invitations.model import InvitationDetails
from nomadcrew.core.mail import MailMessage
from nomadcrew.core.ports import Site
from nomadcrew.core.users.ports import UnconfirmedContactEmail

APP_SCHEME = "nomadcrew://"


def invitation_path(token: str) -> str:
    """The path of an invitation link, on every host and in the app's own scheme."""
    return f"invite/accept/{token}"


def invitation_mail(id_: str, to: str, details: InvitationDetails, token: str, site: Site) -> MailMessage:
    """The mail of an invitation to the address `to`, with its link."""
    return _about_invitation(id_, to, "{inviter} invites you to {trip}", "invitation_mail", details, token, site)


def invitation_reminder_mail(id_: str, to: str, details: InvitationDetails, token: str, site: Site) -> MailMessage:
    """The mail that reminds of an invitation before it expires."""
    subject = "Your invitation to {trip} ends soon"
    return _about_invitation(id_, to, subject, "invitation_reminder_mail", details, token, site)


def _about_invitation(
    id_: str, to: str, subject: str, template: str, details: InvitationDetails, token: str, site: Site
) -> MailMessage:
    """A mail with the link of an invitation; `subject` has words in braces for the inviter and the trip."""
    inviter, trip = unlinked(details.inviter_name) or "A member", unlinked(details.trip_name)
    return _message(
        id_,
        to,
        subject.format(inviter=inviter, trip=trip),
        template,
        inviter=inviter,
        trip=trip,
        dates=days(details.trip_start_date, details.trip_end_date),
        role=details.role.lower(),
        email=details.email,
        expires=minute(details.expires_at),
        link=f"{site.link_base}/{invitation_path(token)}",
        app_link=f"{APP_SCHEME}{invitation_path(token)}",
    )


def confirmation_mail(id_: str, registration: Registration, code: str, site: Site) -> MailMessage:
    """The mail with the link that confirms an email address."""
    return _message(
        id_,
        registration.email,
        "Confirm your e-mail address",
        "confirmation_mail",
        username=unlinked(registration.username),
        expires=minute(registration.expires_at),
        link=f"{site.public_url}/auth/confirm/{code}",
    )


def reset_mail(id_: str, reset: PasswordReset, code: str, site: Site) -> MailMessage:
    """The mail with the link to choose a new password."""
    return _message(
        id_,
        reset.account.profile.email,
        "Choose a new password",
        "reset_mail",
        username=unlinked(reset.account.profile.username),
        expires=minute(reset.expires_at),
        link=f"{site.public_url}/auth/reset/{code}",
    )


def email_change_mail(id_: str, change: EmailChange, code: str, site: Site) -> MailMessage:
    """The mail with the link that confirms a new email address."""
    return _message(
        id_,
        change.email,
        "Confirm your new address",
        "email_change_mail",
        username=unlinked(change.account.profile.username),
        expires=minute(change.expires_at),
        link=f"{site.public_url}/auth/email/{code}",
    )


_CHANGES = {
    AccountChange.PASSWORD: (
        "Your password was changed",
        "The account {username} has a new password. All other devices are signed out.",
    ),
    AccountChange.EMAIL: (
        "Your e-mail address was changed",
        "The account {username} has another e-mail address now. This one gets no more mails about it.",
    ),
    AccountChange.TOTP_ENABLED: (
        "Your sign-ins need a code now",
        "The account {username} has an authenticator app: sign-ins need its codes from now on.",
    ),
    AccountChange.TOTP_DISABLED: (
        "Your sign-ins need no code any more",
        "The authenticator app of the account {username} was removed: the password alone signs in now.",
    ),
    AccountChange.PASSKEY_ADDED: (
        "A passkey was added",
        "A new passkey signs in to the account {username} from now on.",
    ),
    AccountChange.PASSKEY_REMOVED: (
        "A passkey was removed",
        "A passkey no longer signs in to the account {username}.",
    ),
    AccountChange.IDENTITY_LINKED: (
        "Another sign-in was added",
        "An account at another service signs in to the account {username} from now on.",
    ),
    AccountChange.IDENTITY_UNLINKED: (
        "A sign-in was removed",
        "An account at another service no longer signs in to the account {username}.",
    ),
    AccountChange.NEW_DEVICE: (
        "A new device signed in",
        "{device} signed in to the account {username} at {moment}.",
    ),
}


def account_changed_mail(
    id_: str, to: str, change: AccountChange, username: str, site: Site, device: KnownDevice | None = None
) -> MailMessage:
    """The mail that tells a user of a change that another person may have made."""
    subject, text = _CHANGES[change]
    values = {"username": unlinked(username)}
    if device is not None:
        values |= {"device": unlinked(device.user_agent) or "A device", "moment": minute(device.created_at)}
    # The former address cannot ask for a new password any more.
    advice = (
        f"write to the operator of {site.public_url} at once."
        if change == AccountChange.EMAIL
        else "choose a new password at once: the app mails you a link for it."
    )
    return _message(id_, to, subject, "account_changed_mail", text=text.format(**values), advice=advice)


def contact_email_mail(id_: str, address: UnconfirmedContactEmail, code: str, site: Site) -> MailMessage:
    """The mail with the link that confirms a contact address."""
    return _message(
        id_,
        address.email,
        "Confirm your contact address",
        "contact_email_mail",
        username=unlinked(address.username),
        link=f"{site.public_url}/contact-email/confirm/{code}",
    )


def registered_mail(id_: str, account: Account) -> MailMessage:
    """The mail to the owner of an account whose address was registered again."""
    username = unlinked(account.profile.username)
    return _message(id_, account.profile.email, "You have an account already", "registered_mail", username=username)


def deletion_mail(id_: str, account: Account, due_at: datetime) -> MailMessage:
    """The mail to a user who asked to delete the account."""
    username, due = unlinked(account.profile.username), minute(due_at)
    return _message(
        id_, account.profile.email, "Your account will be deleted", "deletion_mail", username=username, due=due
    )


def deletion_cancelled_mail(id_: str, account: Account) -> MailMessage:
    """The mail to a user whose sign-in cancelled the deletion of the account."""
    username = unlinked(account.profile.username)
    return _message(id_, account.profile.email, "Your account stays", "deletion_cancelled_mail", username=username)


def erased_mail(id_: str, address: str, receipt: str, erased_at: datetime, site: Site) -> MailMessage:
    """The last mail to an erased user, with the receipt."""
    return _message(
        id_,
        address,
        "Your account is deleted",
        "erased_mail",
        erased=minute(erased_at),
        receipt=receipt,
        url=f"{site.public_url}/v1/privacy/receipts:verify",
    )


def reminder_mail(id_: str, ending: EndingDocument) -> MailMessage:
    """The mail that reminds a user of a document's end."""
    name = unlinked(ending.name) or "A document"
    return _message(
        id_,
        ending.email,
        f"{name} ends on {day(ending.ends_on)}",
        "reminder_mail",
        username=unlinked(ending.username),
        name=name,
        ends_on=day(ending.ends_on),
    )


def _message(id_: str, to: str, subject: str, template: str, **values: Any) -> MailMessage:
    return MailMessage(
        id_,
        to,
        subject,
        render(f"{template}.txt", subject=subject, **values),
        render(f"{template}.html", subject=subject, **values),
    )
