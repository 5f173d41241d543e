"""Consumer of the email queue: sends the mail of an event."""

import logging
from datetime import date, datetime
from uuid import UUID

import msgspec

from nomadcrew.api.mail.messages import (
    account_changed_mail,
    confirmation_mail,
    contact_email_mail,
    deletion_cancelled_mail,
    deletion_mail,
    email_change_mail,
    erased_mail,
    invitation_mail,
    invitation_reminder_mail,
    registered_mail,
    reminder_mail,
    reset_mail,
)
from nomadcrew.core import events
from nomadcrew.core.auth.model import AccountChange
from nomadcrew.core.auth.ports import DeviceId, EmailChangeId, PasswordResetId, RegistrationId
from nomadcrew.core.events import Event
from nomadcrew.core.ids import DocumentId, InvitationId, UserId
from nomadcrew.core.invitations.model import InvitationStatus
from nomadcrew.core.mail import MailMessage, MailRefused
from nomadcrew.core.ports import Ports
from nomadcrew.core.users.ports import ContactEmailCodeId

log = logging.getLogger("nomadcrew.mail")

# Events whose mail is the first of an invitation; a reminder needs it sent.
INVITING = frozenset({"TRIP_INVITATION_CREATED", "invitation.renewed"})


class AboutInvitation(msgspec.Struct):
    """`is_mailed` is False beyond the number of mails that one address gets."""

    invitation_id: UUID
    is_mailed: bool = True


class AboutContactEmail(msgspec.Struct):
    code_id: UUID


class AboutAccount(msgspec.Struct):
    """Either an unconfirmed registration, or the account that already has the address."""

    registration_id: UUID | None = None
    user_id: UUID | None = None


class AboutReset(msgspec.Struct):
    reset_id: UUID


class AboutEmailChange(msgspec.Struct):
    change_id: UUID


class AboutAccountChange(msgspec.Struct):
    """A change of an account, and the device or the change of the address that the mail needs."""

    user_id: UUID
    change: AccountChange
    device_id: UUID | None = None
    change_id: UUID | None = None


class AboutDeletion(msgspec.Struct):
    """An account, and when it is deleted; without a time, the deletion was cancelled."""

    user_id: UUID
    due_at: datetime | None = None


class AboutErasure(msgspec.Struct):
    address: str
    receipt: str


class AboutDocument(msgspec.Struct, rename="camel"):
    """A document of which its user is reminded, and its last day."""

    document_id: UUID
    ends_on: date


async def send_mail_for(event: Event, ports: Ports) -> None:
    """Send the mail of an event, unless the stored state makes it obsolete. The event's id is the mail's id.

    The secrets of links are made here, from stored state, so that events and queues contain none.

    Raises:
        Unavailable: the mail server is unreachable; retry later.
        MailRefused: the mail server refuses the mail permanently.
    """
    message = await _mail_for(event, ports)
    if message is not None:
        try:
            await ports.mailer.send(message)
        except MailRefused:
            # Among the dead jobs, this one would store the address of a user who was erased.
            if event.type != events.ACCOUNT_ERASED:
                raise
            log.warning("receipt of an erasure refused")
        if event.type in INVITING:
            about = msgspec.json.decode(event.payload, type=AboutInvitation)
            await ports.invitations.mail_sent(InvitationId(about.invitation_id), event.id, now=ports.clock())


async def _mail_for(event: Event, ports: Ports) -> MailMessage | None:
    match event.type:
        case "TRIP_INVITATION_CREATED" | "invitation.renewed" | events.INVITATION_REMINDER:
            return await _about_invitation(event, ports)
        case "account.confirmation_requested":
            return await _about_account(event, ports)
        case "account.password_reset_requested":
            return await _about_reset(event, ports)
        case "account.email_change_requested":
            return await _about_email_change(event, ports)
        case "account.changed":
            return await _about_account_change(event, ports)
        case "contact_email.confirmation_requested":
            return await _about_contact_email(event, ports)
        case events.DELETION_REQUESTED | events.DELETION_CANCELLED:
            return await _about_deletion(event, ports)
        case events.ACCOUNT_ERASED:
            about = msgspec.json.decode(event.payload, type=AboutErasure)
            return erased_mail(str(event.id), about.address, about.receipt, event.occurred_at, ports.site)
        case events.DOCUMENT_ENDS:
            return await _about_document(event, ports)
        case _:
            return None


async def _about_document(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutDocument)
    ending = await ports.documents.get_ending(DocumentId(about.document_id), about.ends_on)
    if ending is None or not ending.is_mailed or ending.ends_on < ports.clock().date():
        return None
    return reminder_mail(str(event.id), ending)


async def _about_invitation(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutInvitation)
    stored = await ports.invitations.get_for_mail(InvitationId(about.invitation_id)) if about.is_mailed else None
    if stored is None:
        return None
    invitation, details = stored
    if invitation.status != InvitationStatus.PENDING or invitation.expires_at <= ports.clock():
        return None
    token = ports.invitation_links.issue(invitation, now=event.occurred_at)
    compose = invitation_reminder_mail if event.type == events.INVITATION_REMINDER else invitation_mail
    return compose(str(event.id), invitation.invitee_email, details, token, ports.site)


async def _about_contact_email(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutContactEmail)
    code_id = ContactEmailCodeId(about.code_id)
    address = await ports.profiles.get_unconfirmed_contact_email(code_id)
    if address is None:
        return None
    return contact_email_mail(str(event.id), address, ports.codes.confirmation_code(code_id), ports.site)


async def _about_account(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutAccount)
    if about.registration_id is not None:
        registration = await ports.registrations.get_pending(
            RegistrationId(about.registration_id), now=ports.clock()
        )
        if registration is None:
            return None
        code = ports.codes.confirmation_code(registration.id)
        return confirmation_mail(str(event.id), registration, code, ports.site)
    account = None if about.user_id is None else await ports.registrations.get_account(UserId(about.user_id))
    return None if account is None else registered_mail(str(event.id), account)


async def _about_deletion(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutDeletion)
    account = await ports.registrations.get_account(UserId(about.user_id))
    if account is None:
        return None
    if about.due_at is None:
        return deletion_cancelled_mail(str(event.id), account)
    return deletion_mail(str(event.id), account, about.due_at)


async def _about_reset(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutReset)
    reset = await ports.registrations.get_reset(PasswordResetId(about.reset_id), now=ports.clock())
    if reset is None:
        return None
    return reset_mail(str(event.id), reset, ports.codes.confirmation_code(reset.id), ports.site)


async def _about_email_change(event: Event, ports: Ports) -> MailMessage | None:
    about = msgspec.json.decode(event.payload, type=AboutEmailChange)
    change = await ports.registrations.get_email_change(EmailChangeId(about.change_id), now=ports.clock())
    if change is None:
        return None
    return email_change_mail(str(event.id), change, ports.codes.confirmation_code(change.id), ports.site)


async def _about_account_change(event: Event, ports: Ports) -> MailMessage | None:
    """None unless the address is confirmed: a stranger may have registered it."""
    about = msgspec.json.decode(event.payload, type=AboutAccountChange)
    device = None
    if about.device_id is not None:
        device = await ports.registrations.get_device(DeviceId(about.device_id))
        account = None if device is None else device.account
    else:
        account = await ports.registrations.get_account(UserId(about.user_id))
    if account is None or not account.confirmed:
        return None
    to: str | None = account.profile.email
    if about.change_id is not None:
        to = await ports.registrations.get_former_email(EmailChangeId(about.change_id))
    if to is None:
        return None
    return account_changed_mail(str(event.id), to, about.change, account.profile.username, ports.site, device)
