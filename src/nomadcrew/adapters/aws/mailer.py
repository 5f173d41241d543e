"""Mail by SES."""

import base64
import logging

from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.mime import Sender, compose
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.mail import MailRefused, Message

log = logging.getLogger("nomadcrew.mail")

# What SES says of a mail it will never take; other refusals are the site's mistakes, and mails wait until they are
# put right.
_NEVER = frozenset({"BadRequestException", "MessageRejected"})
_NOT_VERIFIED = "not verified"


class SesMailer:
    """`Mailer` that hands mails to SES, but those to people who get no more."""

    def __init__(
        self,
        ses: AwsClient,
        suppression: DynamoSuppression,
        sender: Sender,
        *,
        configuration_set: str,
        clock: Clock,
    ) -> None:
        self._ses = ses
        self._suppression = suppression
        self._sender = sender
        self._configuration_set = configuration_set
        self._clock = clock

    async def send(self, message: Message) -> None:
        mail = compose(message, self._sender, self._clock())
        to = mail["To"].addresses[0].addr_spec
        if not to.isascii():
            raise MailRefused("SES cannot carry an address with such letters")
        if await self._suppression.is_suppressed(message.to):
            raise MailRefused("mail to this address came back, or was complained about")
        body = {
            "FromEmailAddress": mail["From"],
            "Destination": {"ToAddresses": [to]},
            "Content": {"Raw": {"Data": base64.b64encode(mail.as_bytes()).decode()}},
            "ConfigurationSetName": self._configuration_set,
        }
        try:
            # Sent again where an answer was lost: better twice than never.
            await self._ses.request("POST", "/v2/email/outbound-emails", body)
        except AwsError as error:
            # Its message can repeat an address, so it goes nowhere.
            if error.code in _NEVER and _NOT_VERIFIED not in error.message:
                raise MailRefused(f"SES refused with {error.code}") from None
            raise Unavailable("SES takes no mail just now.", details=error.code) from None
