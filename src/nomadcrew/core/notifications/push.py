"""Pushes: phones, messages, and the ports that deliver them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from nomadcrew.core.errors import PermanentFailure
from nomadcrew.core.ids import EventId, NotificationId, PushTokenId, UserId

# A push about a message waits this long: a phone that shows the chat reports meanwhile that it was read.
CHAT_MESSAGE, CHAT_HOLD_S = "CHAT_MESSAGE", 5
MAX_TOKEN = 255  # characters
# A user's phones and tablets; a further one replaces the least recently used.
MAX_TOKENS_PER_USER = 20
# Limits of one call, and of one message's payload, below the platforms' 4 KiB.
MAX_BATCH = 100
MAX_RECEIPTS = 1_000
MAX_PAYLOAD_BYTES = 3_900
# The push service needs about 15 minutes for receipts.
RECEIPTS_AFTER_S = 15 * 60
RECEIPT_ROUNDS = 3
# Longer than any attempt, so that two attempts never send to a phone concurrently.
CLAIMED_FOR = timedelta(seconds=90)


class DeviceType(StrEnum):
    IOS = "ios"
    ANDROID = "android"


@dataclass(frozen=True, slots=True)
class PushToken:
    """A phone's address at the push service. The token is a secret and is never logged."""

    id: PushTokenId
    user_id: UserId
    token: str = field(repr=False)
    device_type: str
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone to push to."""

    id: PushTokenId
    user_id: UserId
    token: str = field(repr=False)


class Claimed(Struct, frozen=True):
    """The phones that this attempt has claimed, and the number that another attempt holds."""

    phones: Sequence[Phone]
    held: int


@dataclass(frozen=True, slots=True)
class PushMessage:
    """One push to one phone. `data` is flat, with the keys that the client reads."""

    to: str = field(repr=False)
    title: str
    body: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)


class PushError(StrEnum):
    """The reason why the push service did not deliver a message."""

    GONE = "gone"  # the app was uninstalled from the phone
    LATER = "later"  # the phone's rate limit is reached
    REFUSED = "refused"  # a permanent refusal


class Ticket(Struct, frozen=True):
    """The push service's answer to a message: the `id` of its receipt, or an error."""

    id: str | None = None
    error: PushError | None = None


class PushTask(Struct, frozen=True):
    """A push of an event, the same for all recipients except for the notification's id."""

    id: EventId
    type: str
    metadata: Mapping[str, Any]
    recipients: Mapping[UserId, NotificationId]


class PushRefused(PermanentFailure):
    """The push service refuses our credentials or requests: an operator must check the settings."""


class Push(Protocol):
    """The push service."""

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        """Send at most `MAX_BATCH` messages. Returns a ticket for each, in order.

        Raises:
            Unavailable: no message was accepted, or the outcome is unknown; retry later.
            PushRefused: the push service refuses our credentials.
        """
        ...

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:
        """The receipts of at most `MAX_RECEIPTS` tickets: None for a delivered message, else its error.

        Tickets without a receipt yet are left out.

        Raises:
            Unavailable, PushRefused: as `send`.
        """
        ...


class PushTokens(Protocol):
    """Users' phones. A token is active for one user at a time."""

    async def register(
        self, token_id: PushTokenId, token: str, device_type: DeviceType, caller: UserId, *, now: datetime
    ) -> PushToken:
        """Make a token the caller's, and deactivate it for its previous user. A repeat updates its last use.

        The phone of a caller without a profile waits for the profile.

        Raises:
            NotOnboarded: the caller has no profile, and `MAX_TOKENS_PER_USER` phones are waiting.
            Unavailable: another user registers the token concurrently.
        """
        ...

    async def deactivate(self, token: str | None, caller: UserId, *, now: datetime) -> None:
        """Deactivate a token of the caller, or all of them for None. An unknown token is no error.

        Raises:
            NotOnboarded: the caller has no profile.
        """
        ...

    async def claim(self, push_id: EventId, people: Sequence[UserId], *, now: datetime) -> Claimed:
        """Claim the active phones of these users that have not received this push, for `CLAIMED_FOR`."""
        ...

    async def release(self, push_id: EventId, phones: Sequence[PushTokenId]) -> None:
        """Release claimed phones that were sent nothing, for the next attempt."""
        ...

    async def sent(self, push_id: EventId, tickets: Mapping[PushTokenId, str | None], *, now: datetime) -> None:
        """Record the sent messages of claimed phones, each with its ticket, or None if it was refused."""
        ...

    async def tickets(self, push_id: EventId) -> Mapping[str, PushTokenId]:
        """The tickets of a push."""
        ...

    async def forget(self, gone: Sequence[PushTokenId], *, now: datetime) -> None:
        """Deactivate these phones, for every user who registered one of them."""
        ...
