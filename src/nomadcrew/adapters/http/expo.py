"""Sends pushes through Expo, which delivers them through Apple and Google.

Source: https://docs.expo.dev/push-notifications/sending-notifications/
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.exchange import HttpAnswer, exchange
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.notifications.push import PushError, PushMessage, PushRefused, Ticket

log = logging.getLogger("nomadcrew.push")

TIMEOUT_S = 10.0
_ERRORS = {"DeviceNotRegistered": PushError.GONE, "MessageRateExceeded": PushError.LATER}
# Statuses that blame one of the messages, not the sender.
_MESSAGE_REFUSED = frozenset({400, 413, 422})


class _Details(msgspec.Struct):
    error: str = ""


class _Outcome(msgspec.Struct):
    """A ticket or a receipt."""

    status: Literal["ok", "error"]
    id: str | None = None
    details: _Details | None = None

    @property
    def error(self) -> PushError | None:
        if self.status == "ok":
            return None
        return _ERRORS.get(self.details.error if self.details is not None else "", PushError.REFUSED)


class _Tickets(msgspec.Struct):
    data: list[_Outcome]


class _Receipts(msgspec.Struct):
    data: dict[str, _Outcome]


_tickets_in = msgspec.json.Decoder(_Tickets).decode
_receipts_in = msgspec.json.Decoder(_Receipts).decode


class ExpoPush:
    """`Push` on Expo's API at `url`, such as https://exp.host/--/api/v2/push."""

    def __init__(
        self,
        url: str,
        access_token: Callable[[], str | None],
        *,
        breaker: Breaker | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`access_token` is called for each request; it returns None if the project requires no token."""
        self._url = url.rstrip("/")
        self._access_token = access_token
        self._breaker = breaker or Breaker()
        self._timeout_s = timeout_s

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        answer = await self._ask("send", [_message(message) for message in messages])
        if answer.status in _MESSAGE_REFUSED and len(messages) > 1:
            # One message is at fault, such as one with another project's token; the others are sent without it.
            middle = len(messages) // 2
            return [*await self.send(messages[:middle]), *await self.send(messages[middle:])]
        if answer.status in _MESSAGE_REFUSED:
            log.error("push refused", extra={"fields": {"status": answer.status}})
            return [Ticket(error=PushError.REFUSED)]
        try:
            outcomes = _tickets_in(_accepted(answer)).data
        except msgspec.MsgspecError as error:
            raise Unavailable(details=f"expo: {type(error).__name__}") from None
        if len(outcomes) != len(messages):
            raise Unavailable(details="expo: the numbers of tickets and messages differ")
        return [Ticket(None if outcome.error else outcome.id, outcome.error) for outcome in outcomes]

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:
        answer = await self._ask("getReceipts", {"ids": list(tickets)})
        try:
            outcomes = _receipts_in(_accepted(answer)).data
        except msgspec.MsgspecError as error:
            raise Unavailable(details=f"expo: {type(error).__name__}") from None
        return {ticket: outcome.error for ticket, outcome in outcomes.items() if ticket in tickets}

    async def _ask(self, operation: str, body: object) -> HttpAnswer:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if token := self._access_token():
            headers["authorization"] = f"Bearer {token}"
        with self._breaker.call():
            answer = await exchange(
                "POST", f"{self._url}/{operation}", msgspec.json.encode(body), headers, timeout_s=self._timeout_s
            )
            if answer.status == 429 or answer.status >= 500:
                raise Unavailable(details=f"expo: {answer.status}")
            return answer


def _accepted(answer: HttpAnswer) -> bytes:
    if answer.status != 200:
        raise PushRefused(f"the push service answered {answer.status}")
    return answer.body


def _message(message: PushMessage) -> dict[str, Any]:
    return {
        "to": message.to,
        "title": message.title,
        "body": message.body,
        "data": message.data,
        "sound": "default",
        "priority": "high",
    }
