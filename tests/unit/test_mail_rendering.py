"""Contents of mails and pages, and the escaping of user input."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from nomadcrew.adapters.mime import MailSender, compose
from nomadcrew.api.mail.consumer import send_mail_for
from nomadcrew.api.mail.messages import confirmation_mail, contact_email_mail, invitation_mail, registered_mail
from nomadcrew.api.pages.html import confirm_page, confirmed_page, invitation_page, refused_page, welcome_page
from nomadcrew.api.rendering import MAX_SHOWN, days, minute, one_line, unlinked
from nomadcrew.core.auth.errors import InvalidCredentials
from nomadcrew.core.auth.model import Account
from nomadcrew.core.auth.ports import (
    DeviceId,
    EmailChange,
    EmailChangeId,
    KnownDevice,
    PasswordReset,
    PasswordResetId,
    Registration,
    RegistrationId,
)
from nomadcrew.core.errors import TooMany
from nomadcrew.core.events import Event
from nomadcrew.core.ids import EventId, InvitationId, TripId, UserId
from nomadcrew.core.invitations.errors import BadInvitationToken, Expired
from nomadcrew.core.invitations.model import Invitation, InvitationDetails
from nomadcrew.core.mail import MailMessage, MailRefused
from nomadcrew.core.ports import Site
from nomadcrew.core.users.model import Profile
from nomadcrew.core.users.ports import UnconfirmedContactEmail
from tests.fakes import fake_ports

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
SITE = Site("https://trips.example", mail_leaves=True)
TOKEN = "ab.c-d_e"
DETAILS = InvitationDetails(
    id=InvitationId(UUID(int=1)),
    trip_id=TripId(UUID(int=2)),
    email="ben@example.org",
    status="PENDING",
    role="MEMBER",
    created_at=NOON,
    expires_at=NOON + timedelta(days=7),
    trip_name="Porto & Douro",
    trip_description="",
    trip_start_date=datetime(2026, 7, 10, tzinfo=UTC),
    trip_end_date=datetime(2026, 7, 19, tzinfo=UTC),
    inviter_id=UserId(UUID(int=3)),
    inviter_username="ana",
    inviter_first_name="Ana",
    inviter_last_name="Lima",
    inviter_avatar_url="",
    member_count=2,
)
HOSTILE = "<script>alert(1)</script>\r\nBcc: all@example.org\r\n\r\n\"' onload=x {{7*7}} \u202eevil\x00"
ACCOUNT = Account(Profile(UserId(UUID(int=9)), "ben@example.org", "ben", "", "", "", None, None, {}, NOON, NOON))
CONFIRMED = Account(ACCOUNT.profile, confirmed=True)
REGISTRATION = Registration(RegistrationId(UUID(int=8)), "ben@example.org", "ben", NOON + timedelta(days=1))


def hostile_details() -> InvitationDetails:
    return replace(
        DETAILS,
        trip_name=HOSTILE,
        inviter_username=HOSTILE,
        inviter_first_name=HOSTILE,
        inviter_last_name="",
    )


class Tags(HTMLParser):
    """The tags of a document with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.tags if found == tag]


@pytest.mark.contract("rest-core.links.form", "jobs.mail.invitation", "jobs.mail.fix-content")
def test_an_invitation_mail_names_inviter_trip_and_expiry() -> None:
    mail = invitation_mail("id-1", DETAILS.email, DETAILS, TOKEN, SITE)
    assert (mail.id, mail.to, mail.subject) == ("id-1", "ben@example.org", "Ana Lima invites you to Porto & Douro")
    facts = ("Ana Lima", "10 July 2026 – 19 July 2026", "member", "8 July 2026, 12:00 UTC", "ben@example.org")
    for text in (mail.text, Tags(mail.html).text):
        assert all(fact in text for fact in (*facts, "Porto & Douro"))
    assert "https://trips.example/invite/accept/ab.c-d_e\n" in mail.text
    assert "nomadcrew://invite/accept/ab.c-d_e\n" in mail.text
    assert Tags(mail.html).attributes("a", "href") == [
        "https://trips.example/invite/accept/ab.c-d_e",
        "nomadcrew://invite/accept/ab.c-d_e",
    ]
    assert "Porto &amp; Douro" in mail.html


@pytest.mark.contract("rest-core.links.form", "jobs.mail.fix-url")
def test_an_invitation_links_to_the_apps_host_if_there_is_one() -> None:
    mail = invitation_mail("id", DETAILS.email, DETAILS, TOKEN, replace(SITE, app_url="https://nomadcrew.uk"))
    assert "https://nomadcrew.uk/invite/accept/ab.c-d_e\n" in mail.text
    assert "trips.example" not in mail.text


def test_an_invitation_of_a_deleted_inviter_is_readable() -> None:
    without_inviter = replace(
        DETAILS, inviter_id=None, inviter_username="", inviter_first_name="", inviter_last_name=""
    )
    assert (
        invitation_mail("id", DETAILS.email, without_inviter, TOKEN, SITE).subject
        == "A member invites you to Porto & Douro"
    )


def test_a_confirmation_mail_has_a_link_and_a_repeated_registration_none() -> None:
    mail = confirmation_mail("id", REGISTRATION, "c0de", SITE)
    assert "https://trips.example/auth/confirm/c0de\n" in mail.text
    assert Tags(mail.html).attributes("a", "href") == ["https://trips.example/auth/confirm/c0de"]
    assert "2 July 2026, 12:00 UTC" in mail.text
    again = registered_mail("id", ACCOUNT)
    assert again.to == "ben@example.org"
    assert "http" not in again.text
    assert "<a" not in again.html


@pytest.mark.contract("jobs.mail.invitation")
@pytest.mark.parametrize(
    "mail",
    [
        invitation_mail("id", DETAILS.email, hostile_details(), TOKEN, SITE),
        confirmation_mail("id", replace(REGISTRATION, username=HOSTILE), "c", SITE),
        registered_mail("id", Account(replace(ACCOUNT.profile, username=HOSTILE))),
    ],
    ids=lambda mail: mail.subject[:10],
)
def test_hostile_names_are_escaped(mail: MailMessage) -> None:
    assert "script" not in [tag for tag, _ in Tags(mail.html).tags]
    assert all("onload" not in attributes for _, attributes in Tags(mail.html).tags)
    assert "&lt;script&gt;" in mail.html
    for text in (mail.text, mail.html, mail.subject):
        assert "\nBcc:" not in text
        assert "\x00" not in text
        assert "\u202e" not in text
        assert "49" not in text
    composed = compose(mail, MailSender("NomadCrew", "trips@example.org"), NOON)
    assert composed["bcc"] is None
    assert str(make_header(decode_header(composed["subject"]))) == mail.subject


def test_user_input_is_shortened_to_one_visible_line() -> None:
    assert one_line("  a\r\n\tb\u2028c\u200bd\x1b[31m ") == "a b cd [31m"
    assert one_line("👨\u200d👩\u200d👧") == "👨\u200d👩\u200d👧"
    assert one_line("x" * 115 + "👨\u200d👩\u200d👧" * 2) == "x" * 115 + "…"
    assert len(one_line("x" * 500)) == MAX_SHOWN
    assert one_line("x" * 500).endswith("…")


@pytest.mark.parametrize("text", [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f1f5\U0001f1f9",
    "1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "علی\u200cرضا", "ন্\u200d",
    "\U0001faea new",
])  # fmt: skip
def test_names_keep_joiners_flags_and_new_emoji(text: str) -> None:
    assert unlinked(text) == one_line(text) == text


# Mail programs make links of these: schemes, `www.`, domains with a letter in the last label, addresses.
_LINKS = re.compile(r"\w:/+[^\s/]|\bwww\.\S|\S[.\u3002\uff0e\uff61][^\W\d_]", re.IGNORECASE)
_OWN = re.compile(r"https://trips\.example/\S+|nomadcrew://invite/accept/ab\.c-d_e|ben@example\.org")
DOMAINS = [
    "http://evil.example", "https://evil.example/a?b=c", "www.evil.example", "evil.example", "HTTP://EVIL.EXAMPLE",
    "ana@evil.example", "mailto:ana@evil.example", "evil.example.", "(evil.example)", "ev\u00adil.exa\u200bmple",
    "http:\u200b//evil.exa\u2060mple", "evil。example", "evil．example", "evil｡example", "почта.рф",
    "http://1.2.3.4/x", "nomadcrew://invite/accept/x", "http://localhost", "evil.xn--p1ai",
    "http:/\u200b/evil.\u200bexample", "evil..example", "evil.\ufe0fexample", "evil\u2024example",
]  # fmt: skip


@pytest.mark.parametrize("link", DOMAINS)
def test_urls_in_names_do_not_become_links_in_mails(link: str) -> None:
    hostile = replace(DETAILS, trip_name=f"Win {link} now", inviter_first_name=link, inviter_last_name="")
    mails = [
        invitation_mail("id", DETAILS.email, hostile, TOKEN, SITE),
        confirmation_mail("id", replace(REGISTRATION, username=link), "c", SITE),
        registered_mail("id", Account(replace(ACCOUNT.profile, username=link))),
        contact_email_mail("id", UnconfirmedContactEmail(ACCOUNT.user_id, link, "ben@example.org"), "c", SITE),
    ]
    for mail in mails:
        for text in (mail.subject, mail.text, Tags(mail.html).text):
            named = _OWN.sub("", text)
            assert not _LINKS.search(unicodedata.normalize("NFKC", named)), named


@pytest.mark.parametrize(("name", "shown"), [
    ("J.R. Lima", "J. R. Lima"), ("Porto & Douro", "Porto & Douro"), ("Trip 2.0", "Trip 2.0"),
    ("10:30 – 12.15", "10:30 – 12.15"),
    ("Ana...", "Ana..."), ("a/b", "a/b"), ("St. Gallen", "St. Gallen"), ("Rock’n’Roll!", "Rock’n’Roll!"),
])  # fmt: skip
def test_ordinary_names_stay_readable_in_mails(name: str, shown: str) -> None:
    assert unlinked(name) == shown


def test_days_and_minutes_are_readable() -> None:
    first = datetime(2026, 7, 1, tzinfo=UTC)
    assert days(first, first) == "1 July 2026"
    assert minute(first + timedelta(hours=9, minutes=5)) == "1 July 2026, 09:05 UTC"


PAGES: dict[str, tuple[Any, int]] = {
    "invitation": (invitation_page(DETAILS, TOKEN, SITE), 200),
    "refused form": (
        invitation_page(
            hostile_details(),
            TOKEN,
            replace(SITE, app_url="https://nomadcrew.uk"),
            refusal=InvalidCredentials(),
            form={"intent": "sign_in", "login": '"><b>ben', "password": "S3cret!pass", "username": HOSTILE},
        ),
        401,
    ),
    "welcome": (welcome_page(hostile_details(), ACCOUNT, TOKEN, SITE), 200),
    "confirm": (confirm_page(), 200),
    "confirmed": (confirmed_page(ACCOUNT), 200),
    "broken link": (refused_page(BadInvitationToken()), 404),
    "too late": (refused_page(Expired()), 410),
    "too many": (refused_page(TooMany(7)), 429),
}


@pytest.mark.parametrize(("reply", "status"), PAGES.values(), ids=PAGES)
def test_every_page_is_private_and_loads_nothing(reply: Any, status: int) -> None:
    assert reply.status == status
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    page = Tags(reply.body.decode())
    assert not {"script", "img", "link", "iframe", "b"} & {tag for tag, _ in page.tags}


@pytest.mark.parametrize(("reply", "status"), PAGES.values(), ids=PAGES)
def test_every_page_is_accessible(reply: Any, status: int) -> None:
    page = Tags(reply.body.decode())
    tags = [tag for tag, _ in page.tags]
    assert page.attributes("html", "lang") == ["en"]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert "width=device-width" in str(page.attributes("meta", "content"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = page.attributes("label", "for")
    for tag, attributes in page.tags:
        if tag == "input" and attributes.get("type") != "hidden":
            assert attributes["id"] in labelled
            assert attributes["autocomplete"]
        for reference in (attributes.get("aria-describedby") or attributes.get("aria-labelledby") or "").split():
            assert reference in ids


def test_a_refused_form_keeps_its_input_except_the_password() -> None:
    reply, _ = PAGES["refused form"]
    html = reply.body.decode()
    page = Tags(html)
    assert "S3cret!pass" not in html
    assert '"><b>ben' in page.attributes("input", "value")
    assert ("div", {"class": "wrong", "role": "alert", "id": "refusal"}) in page.tags
    assert InvalidCredentials.text in page.text
    assert "https://nomadcrew.uk/invite/accept/ab.c-d_e" in page.attributes("a", "href")
    assert all("onload" not in attributes for _, attributes in page.tags)


def test_a_rate_limited_page_has_retry_after() -> None:
    reply, _ = PAGES["too many"]
    assert reply.headers["retry-after"] == "7"


@dataclass
class RecordingMailer:
    sent: list[MailMessage] = field(default_factory=list)

    async def send(self, message: MailMessage) -> None:
        self.sent.append(message)


class RefusingMailer(RecordingMailer):
    async def send(self, message: MailMessage) -> None:
        raise MailRefused("550")


@dataclass
class Stored:
    """Stored invitations and accounts for the mail consumer."""

    invitation: tuple[Invitation, InvitationDetails] | None = None
    registration: Registration | None = None
    account: Account | None = None
    reset: PasswordReset | None = None
    change: EmailChange | None = None
    former_email: str | None = None
    device: KnownDevice | None = None
    mails: list[tuple[InvitationId, EventId]] = field(default_factory=list)

    async def mail_sent(self, invitation_id: InvitationId, event_id: EventId, *, now: datetime) -> None:
        assert now == NOON
        self.mails.append((invitation_id, event_id))

    async def get_for_mail(self, invitation_id: InvitationId) -> tuple[Invitation, InvitationDetails] | None:
        return self.invitation

    async def get_pending(self, registration_id: RegistrationId, *, now: datetime) -> Registration | None:
        return self.registration

    async def get_account(self, user_id: UserId) -> Account | None:
        return self.account

    async def get_reset(self, reset_id: PasswordResetId, *, now: datetime) -> PasswordReset | None:
        return self.reset

    async def get_email_change(self, change_id: EmailChangeId, *, now: datetime) -> EmailChange | None:
        return self.change

    async def get_former_email(self, change_id: EmailChangeId) -> str | None:
        return self.former_email

    async def get_device(self, device_id: DeviceId) -> KnownDevice | None:
        return self.device


class Secrets:
    def issue(self, invitation: Invitation, *, now: datetime) -> str:
        return f"link-of-{invitation.id.int}-at-{now:%H%M}"

    def confirmation_code(self, registration_id: RegistrationId) -> str:
        return f"code-of-{registration_id.int}"


def an_event(type_: str, **payload: str) -> Event:
    return Event(
        EventId(UUID(int=77)), type_, "x", None, None, None, "internal", NOON, msgspec.json.encode(payload).decode()
    )


async def mails_for(event: Event, stored: Stored, mailer: RecordingMailer | None = None) -> list[MailMessage]:
    mailer = mailer or RecordingMailer()
    ports = fake_ports(
        mailer=mailer,
        invitations=stored,
        registrations=stored,
        codes=Secrets(),
        invitation_links=Secrets(),
        site=SITE,
        clock=lambda: NOON,
    )
    await send_mail_for(event, ports)
    return mailer.sent


def an_invitation(status: str = "PENDING", expires_in: timedelta = timedelta(days=7)) -> Stored:
    invitation = Invitation(
        DETAILS.id, DETAILS.trip_id, None, DETAILS.email, None, "MEMBER", status, NOON + expires_in, NOON, NOON
    )
    return Stored(invitation=(invitation, DETAILS))


@pytest.mark.parametrize("type_", ["TRIP_INVITATION_CREATED", "invitation.renewed", "invitation.reminder"])
async def test_an_invitation_mail_has_the_id_of_its_event(type_: str) -> None:
    event = an_event(type_, invitation_id=str(DETAILS.id), role="MEMBER")
    [mail] = await mails_for(event, an_invitation())
    assert mail.id == str(event.id)
    assert "/invite/accept/link-of-1-at-1200" in mail.text


@pytest.mark.parametrize("type_", ["TRIP_INVITATION_CREATED", "invitation.renewed"])
async def test_the_mail_of_an_invitation_is_recorded_once_it_was_sent(type_: str) -> None:
    event, stored = an_event(type_, invitation_id=str(DETAILS.id)), an_invitation()
    await mails_for(event, stored)
    assert stored.mails == [(DETAILS.id, event.id)]


async def test_neither_a_refused_mail_nor_a_reminder_counts_as_the_mail_of_an_invitation() -> None:
    event, stored = an_event("TRIP_INVITATION_CREATED", invitation_id=str(DETAILS.id)), an_invitation()
    with pytest.raises(MailRefused):
        await mails_for(event, stored, RefusingMailer())
    await mails_for(an_event("invitation.reminder", invitation_id=str(DETAILS.id)), stored)
    assert stored.mails == []


async def test_a_reminder_says_until_when_the_invitation_is_valid() -> None:
    [mail] = await mails_for(an_event("invitation.reminder", invitation_id=str(DETAILS.id)), an_invitation())
    assert mail.subject == "Your invitation to Porto & Douro ends soon"
    for text in ("Ana Lima invites you", "8 July 2026", "only reminder", "/invite/accept/link-of-1-at-1200"):
        assert text in mail.text
        assert text in Tags(mail.html).text


@pytest.mark.parametrize("type_", ["TRIP_INVITATION_CREATED", "invitation.reminder"])
@pytest.mark.parametrize(
    "stored",
    [Stored(), an_invitation("DECLINED"), an_invitation("ACCEPTED"), an_invitation(expires_in=timedelta(0))],
)
async def test_a_closed_invitation_is_not_mailed(stored: Stored, type_: str) -> None:
    event = an_event(type_, invitation_id=str(DETAILS.id))
    assert await mails_for(event, stored) == []


async def test_a_pending_registration_is_mailed_its_code() -> None:
    event = an_event("account.confirmation_requested", registration_id=str(REGISTRATION.id))
    [mail] = await mails_for(event, Stored(registration=REGISTRATION))
    assert "/auth/confirm/code-of-8" in mail.text
    assert await mails_for(event, Stored()) == []


async def test_the_owner_of_an_address_is_mailed_that_an_account_exists() -> None:
    event = an_event("account.confirmation_requested", user_id=str(ACCOUNT.user_id))
    [mail] = await mails_for(event, Stored(account=ACCOUNT))
    assert mail.subject == "You have an account already"
    assert await mails_for(event, Stored()) == []


async def test_a_reset_that_works_is_mailed_its_code() -> None:
    reset = PasswordReset(PasswordResetId(UUID(int=7)), ACCOUNT, NOON + timedelta(minutes=30))
    event = an_event("account.password_reset_requested", reset_id=str(reset.id))
    [mail] = await mails_for(event, Stored(reset=reset))
    assert (mail.to, "/auth/reset/code-of-7" in mail.text) == ("ben@example.org", True)
    assert "12:30" in mail.html
    assert await mails_for(event, Stored()) == []


async def test_a_change_of_the_address_is_mailed_to_the_new_one() -> None:
    change = EmailChange(EmailChangeId(UUID(int=9)), CONFIRMED, "ben@example.net", NOON + timedelta(minutes=30))
    event = an_event("account.email_change_requested", change_id=str(change.id))
    [mail] = await mails_for(event, Stored(change=change))
    assert (mail.to, "/auth/email/code-of-9" in mail.text) == ("ben@example.net", True)
    assert await mails_for(event, Stored()) == []


@pytest.mark.parametrize("change", ["password", "totp_enabled", "totp_disabled"])
async def test_a_change_of_an_account_is_mailed_to_its_confirmed_address(change: str) -> None:
    event = an_event("account.changed", user_id=str(ACCOUNT.user_id), change=change)
    [mail] = await mails_for(event, Stored(account=CONFIRMED))
    assert (mail.to, "choose a new password" in mail.text) == ("ben@example.org", True)
    assert await mails_for(event, Stored(account=ACCOUNT)) == []
    assert await mails_for(event, Stored()) == []


async def test_a_changed_address_is_mailed_to_the_former_one() -> None:
    event = an_event("account.changed", user_id=str(ACCOUNT.user_id), change="email", change_id=str(UUID(int=9)))
    [mail] = await mails_for(event, Stored(account=CONFIRMED, former_email="old@example.org"))
    assert (mail.to, "write to the operator" in mail.text) == ("old@example.org", True)
    assert await mails_for(event, Stored(account=CONFIRMED)) == []


async def test_a_new_device_is_mailed_by_its_name() -> None:
    event = an_event(
        "account.changed", user_id=str(ACCOUNT.user_id), change="new_device", device_id=str(UUID(int=9))
    )
    [mail] = await mails_for(event, Stored(device=KnownDevice(CONFIRMED, "<b>Firefox</b>", NOON)))
    assert "<b>Firefox" not in mail.html
    assert "Firefox" in mail.text
    [mail] = await mails_for(event, Stored(device=KnownDevice(CONFIRMED, "", NOON)))
    assert "A device signed in" in mail.text
    assert await mails_for(event, Stored()) == []


async def test_other_events_send_no_mail() -> None:
    assert await mails_for(an_event("TRIP_UPDATED"), Stored()) == []
