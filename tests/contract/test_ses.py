"""Mail by SES: what arrives there, what is refused, and who gets no more."""

import base64
import json
import traceback
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
from nomadcrew.adapters.aws.mailer import SesMailer
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, SES
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import uuid7
from nomadcrew.core.mail import MailRefused
from tests.contract.cloud import Cloud
from tests.contract.test_mailers import MESSAGE, NOON, SENDER, UNWRITABLE, check_it_is_the_message


@dataclass
class Spy:
    """A client of SES that remembers what it was asked, and answers with `error` where one is set."""

    real: AwsClient
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    async def request(self, method: str, path: str, body: Mapping[str, Any]) -> object:
        self.bodies.append(body)
        if self.error is not None:
            raise self.error
        return await self.real.request(method, path, body)


@dataclass
class Office:
    mailer: SesMailer
    ses: Spy
    suppression: DynamoSuppression


@pytest_asyncio.fixture(loop_scope="session")
async def office(cloud: Cloud) -> Office:
    name = f"set-{uuid7()}"
    ses = cloud.aws.boto("sesv2")
    ses.create_configuration_set(ConfigurationSetName=name)
    if SENDER.domain not in {one["IdentityName"] for one in ses.list_email_identities()["EmailIdentities"]}:
        ses.create_email_identity(EmailIdentity=SENDER.domain)
    suppression = DynamoSuppression(cloud.client(DYNAMODB), await cloud.table("address"))
    spy = Spy(cloud.client(SES))
    mailer = SesMailer(
        spy, suppression, SENDER, configuration_set=name, clock=lambda: NOON,  # type: ignore[arg-type]
    )  # fmt: skip
    return Office(mailer, spy, suppression)


def arrived(cloud: Cloud, subject: str) -> list[dict[str, Any]]:
    """What the emulator took."""
    with urllib.request.urlopen(f"{cloud.aws.environment['AWS_ENDPOINT_URL']}/_ministack/ses/messages") as reply:
        accounts = json.load(reply)["messages"].values()
        return [mail for mails in accounts for mail in mails if mail["Subject"] == subject]


async def test_a_mail_arrives_at_ses(office: Office, cloud: Cloud) -> None:
    message = replace(MESSAGE, subject=f"Hello {uuid7()}")
    await office.mailer.send(message)
    [mail] = arrived(cloud, message.subject)
    assert (mail["To"], mail["BodyText"].split()[0]) == ([message.to], "Hello")


async def test_it_is_the_message_under_the_configuration_of_the_site(office: Office) -> None:
    await office.mailer.send(MESSAGE)
    [body] = office.ses.bodies
    check_it_is_the_message(base64.b64decode(body["Content"]["Raw"]["Data"]))
    assert body["Destination"] == {"ToAddresses": ["ben@example.org"]}
    assert body["ConfigurationSetName"].startswith("set-")
    assert body["FromEmailAddress"] == "NomadCrew <trips@example.org>"


@pytest.mark.parametrize("changes", UNWRITABLE, ids=str)
async def test_a_mail_whose_headers_cannot_be_written_is_refused(office: Office, changes: dict[str, str]) -> None:
    with pytest.raises(MailRefused) as caught:
        await office.mailer.send(replace(MESSAGE, **changes))
    assert "example.org" not in "".join(traceback.format_exception(caught.value))
    assert office.ses.bodies == []


async def test_a_domain_with_other_letters_is_spelled_out_and_a_name_with_such_refused(office: Office) -> None:
    await office.mailer.send(replace(MESSAGE, to="ben@exämple.org"))
    assert office.ses.bodies[0]["Destination"] == {"ToAddresses": ["ben@xn--exmple-cua.org"]}
    with pytest.raises(MailRefused):
        await office.mailer.send(replace(MESSAGE, to="bén@example.org"))


async def test_nobody_is_written_to_whose_mail_came_back_however_they_are_spelled(office: Office) -> None:
    await office.suppression.suppress("Ben@Example.org", "bounce", now=NOON)
    await office.suppression.suppress("Ben@Example.org", "complaint", now=NOON)
    with pytest.raises(MailRefused) as caught:
        await office.mailer.send(MESSAGE)
    assert "example.org" not in "".join(traceback.format_exception(caught.value))
    await office.mailer.send(replace(MESSAGE, to="ana@example.org"))
    assert len(office.ses.bodies) == 1


async def test_the_list_of_them_holds_no_address(office: Office, cloud: Cloud) -> None:
    await office.suppression.suppress("ben@example.org", "bounce", now=NOON)
    items = cloud.aws.boto("dynamodb").scan(TableName=office.suppression._table)["Items"]
    assert len(items) == 1
    assert "ben" not in str(items)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (AwsError("MessageRejected", 400, "Email address is not verified: ben@example.org", {}), Unavailable),
        (AwsError("MailFromDomainNotVerifiedException", 400, "ben@example.org", {}), Unavailable),
        (AwsError("AccountSuspendedException", 400, "", {}), Unavailable),
        (AwsError("SendingPausedException", 400, "", {}), Unavailable),
        (AwsError("NotFoundException", 404, "", {}), Unavailable),
        (AwsError("MessageRejected", 400, "virus for ben@example.org", {}), MailRefused),
        (AwsError("BadRequestException", 400, "Illegal address ben@example.org", {}), MailRefused),
        (Unavailable(details="email: TooManyRequestsException"), Unavailable),
    ],
    ids=str,
)
async def test_what_will_never_go_is_refused_and_the_rest_is_tried_again(
    office: Office, error: Exception, outcome: type[Exception]
) -> None:
    office.ses.error = error
    with pytest.raises(outcome) as caught:
        await office.mailer.send(MESSAGE)
    assert "ben@" not in "".join(traceback.format_exception(caught.value))


async def test_a_sender_nobody_proved_is_the_sites_mistake(office: Office, cloud: Cloud) -> None:
    stranger = SesMailer(
        cloud.client(SES), office.suppression, replace(SENDER, address="trips@stranger.example"),
        configuration_set=office.mailer._configuration_set, clock=lambda: NOON,
    )  # fmt: skip
    with pytest.raises(Unavailable):
        await stranger.send(MESSAGE)
