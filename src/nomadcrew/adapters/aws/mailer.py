"""Sends mail through SES."""

import base64
import logging

from nomadcrew.adapters.aws.dynamodb.suppression import DynamoSuppression
from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.adapters.mime import MailSender, compose, recipient_of
from nomadcrew.core.clock import Clock
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.mail import MailMessage, MailRefused

log = logging.getLogger("nomadcrew.mail")

# Error codes for mails that SES will never accept; other refusals are configuration errors, and the mails wait
# until these are fixed.
_NEVER = frozenset({"BadRequestException", "MessageRejected"})
_NOT_VERIFIED = "not verified"


class SesMailer:
    """`Mailer` on SES, which refuses suppressed addresses."""

    def __init__(
        self,
        ses: AwsClient,
        suppression: DynamoSuppression,
        sender: MailSender,
        *,
        configuration_set: str,
        clock: Clock,
    ) -> None:
        self._ses = ses
        self._suppression = suppression
        self._sender = sender
        self._configuration_set = configuration_set
        self._clock = clock

    async def send(self, message: MailMessage) -> None:
        mail = compose(message, self._sender, self._clock())
        to = recipient_of(message)
        if not to.isascii():
            raise MailRefused("SES does not support non-ASCII addresses")
        if await self._suppression.is_suppressed(message.to):
            raise MailRefused("the address is suppressed after a bounce or a complaint")
        body = {
            "FromEmailAddress": self._sender.header,
            "Destination": {"ToAddresses": [to]},
            "Content": {"Raw": {"Data": base64.b64encode(mail.as_bytes()).decode()}},
            "ConfigurationSetName": self._configuration_set,
        }
        try:
            # Retried after a lost response: sending twice is better than never.
            await self._ses.request("POST", "/v2/email/outbound-emails", body)
        except AwsError as error:
            # The message may repeat an address, so it is dropped.
            if error.code in _NEVER and _NOT_VERIFIED not in error.message:
                raise MailRefused(f"SES refused with {error.code}") from None
            raise Unavailable("SES refuses mail at the moment.", details=error.code) from None
