"""Mail by SES: delivery, refusals and suppressed addresses."""

import base64
import json
import traceback
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
from nomadcrew.adapters.aws.mailer import SesMailer
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.aws.sdk.services import DYNAMODB, SES
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import uuid7
from nomadcrew.core.mail import MailRefused
from tests.contract.cloud import Cloud
from tests.contract.test_mail import DECEPTIVE, MESSAGE, NOON, SENDER, UNWRITABLE, check_deceptive, check_message


@dataclass
class RecordingClient:
    """An SES client that records requests and raises `error` if set."""

    real: AwsClient
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    async def request(self, method: str, path: str, body: Mapping[str, Any]) -> object:
        self.bodies.append(body)
        if self.error is not None:
            raise self.error
        return await self.real.request(method, path, body)


@dataclass
class SesScenario:
    mailer: SesMailer
    ses: RecordingClient
    suppression: DynamoSuppression


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(cloud: Cloud) -> SesScenario:
    name = f"set-{uuid7()}"
    ses = cloud.aws.boto("sesv2")
    ses.create_configuration_set(ConfigurationSetName=name)
    if SENDER.domain not in {one["IdentityName"] for one in ses.list_email_identities()["EmailIdentities"]}:
        ses.create_email_identity(EmailIdentity=SENDER.domain)
    suppression = DynamoSuppression(cloud.client(DYNAMODB), await cloud.table("address"))
    spy = RecordingClient(cloud.client(SES))
    mailer = SesMailer(
        spy, suppression, SENDER, configuration_set=name, clock=lambda: NOON,  # type: ignore[arg-type]
    )  # fmt: skip
    return SesScenario(mailer, spy, suppression)


def received(cloud: Cloud, subject: str) -> list[dict[str, Any]]:
    """The mails that the emulator received."""
    with urllib.request.urlopen(f"{cloud.aws.environment['AWS_ENDPOINT_URL']}/_ministack/ses/messages") as reply:
        accounts = json.load(reply)["messages"].values()
        return [mail for mails in accounts for mail in mails if mail["Subject"] == subject]


async def test_a_mail_arrives_at_ses(scenario: SesScenario, cloud: Cloud) -> None:
    message = replace(MESSAGE, subject=f"Hello {uuid7()}")
    await scenario.mailer.send(message)
    [mail] = received(cloud, message.subject)
    assert (mail["To"], mail["BodyText"].split()[0]) == ([message.to], "Hello")


async def test_the_request_holds_the_message_and_the_configuration_set(scenario: SesScenario) -> None:
    await scenario.mailer.send(MESSAGE)
    [body] = scenario.ses.bodies
    check_message(base64.b64decode(body["Content"]["Raw"]["Data"]))
    assert body["Destination"] == {"ToAddresses": ["ben@example.org"]}
    assert body["ConfigurationSetName"].startswith("set-")
    assert body["FromEmailAddress"] == "NomadCrew <trips@example.org>"


@pytest.mark.parametrize("subject", DECEPTIVE)
async def test_a_subject_is_read_as_it_was_written(scenario: SesScenario, subject: str) -> None:
    await scenario.mailer.send(replace(MESSAGE, subject=subject))
    [body] = scenario.ses.bodies
    check_deceptive(base64.b64decode(body["Content"]["Raw"]["Data"]), subject)


@pytest.mark.parametrize("changes", UNWRITABLE, ids=str)
async def test_a_mail_with_invalid_headers_is_refused(scenario: SesScenario, changes: dict[str, str]) -> None:
    with pytest.raises(MailRefused) as caught:
        await scenario.mailer.send(replace(MESSAGE, **changes))
    assert "example.org" not in "".join(traceback.format_exception(caught.value))
    assert scenario.ses.bodies == []


async def test_a_non_ascii_domain_is_encoded_and_a_non_ascii_local_part_refused(scenario: SesScenario) -> None:
    await scenario.mailer.send(replace(MESSAGE, to="ben@exämple.org"))
    assert scenario.ses.bodies[0]["Destination"] == {"ToAddresses": ["ben@xn--exmple-cua.org"]}
    with pytest.raises(MailRefused):
        await scenario.mailer.send(replace(MESSAGE, to="bén@example.org"))


async def test_a_suppressed_address_gets_no_mail_in_any_spelling(scenario: SesScenario) -> None:
    await scenario.suppression.suppress("Ben@Example.org", "bounce", now=NOON)
    await scenario.suppression.suppress("Ben@Example.org", "complaint", now=NOON)
    with pytest.raises(MailRefused) as caught:
        await scenario.mailer.send(MESSAGE)
    assert "example.org" not in "".join(traceback.format_exception(caught.value))
    await scenario.mailer.send(replace(MESSAGE, to="ana@example.org"))
    assert len(scenario.ses.bodies) == 1


async def test_the_suppression_list_holds_no_address(scenario: SesScenario, cloud: Cloud) -> None:
    await scenario.suppression.suppress("ben@example.org", "bounce", now=NOON)
    items = cloud.aws.boto("dynamodb").scan(TableName=scenario.suppression._table)["Items"]
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
async def test_permanent_errors_are_refusals_and_others_outages(
    scenario: SesScenario, error: Exception, outcome: type[Exception]
) -> None:
    scenario.ses.error = error
    with pytest.raises(outcome) as caught:
        await scenario.mailer.send(MESSAGE)
    assert "ben@" not in "".join(traceback.format_exception(caught.value))


async def test_an_unverified_sender_is_an_outage(scenario: SesScenario, cloud: Cloud) -> None:
    unverified = SesMailer(
        cloud.client(SES), scenario.suppression, replace(SENDER, address="trips@stranger.example"),
        configuration_set=scenario.mailer._configuration_set, clock=lambda: NOON,
    )  # fmt: skip
    with pytest.raises(Unavailable):
        await unverified.send(MESSAGE)
