"""Pushes: phones, what they are told, and how it gets there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from nomadcrew.core.errors import Hopeless
from nomadcrew.core.ids import EventId, NotificationId, PushTokenId, UserId

MAX_TOKEN = 255  # characters
# A person's phones and tablets; the one not used for longest makes room.
MAX_TOKENS_PER_USER = 20
# What one call takes at most, and what one message may weigh, below the 4 KiB that phones take.
MAX_BATCH = 100
MAX_RECEIPTS = 1_000
MAX_PAYLOAD_BYTES = 3_900
# Receipts take the service about a quarter of an hour.
RECEIPTS_AFTER_S = 15 * 60
RECEIPT_ROUNDS = 3
# Longer than any attempt may take, so that no two send to a phone at once.
CLAIMED_FOR = timedelta(seconds=90)


class DeviceType(StrEnum):
    IOS = "ios"
    ANDROID = "android"


@dataclass(frozen=True, slots=True)
class PushToken:
    """A phone's address with the push service, which is as good as a password and never logged."""

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
    """Where a push is sent."""

    id: PushTokenId
    user_id: UserId
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The phones one may send to, and how many another attempt is about to send to."""

    phones: Sequence[Phone]
    held: int


@dataclass(frozen=True, slots=True)
class PushMessage:
    """One push to one phone. `data` is flat, and spelled as the client reads it."""

    to: str = field(repr=False)
    title: str
    body: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)


class PushError(StrEnum):
    """Why the service did not deliver a message."""

    GONE = "gone"  # the app is no longer on that phone
    LATER = "later"  # too much for that phone just now
    REFUSED = "refused"  # not ever


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the service says of a message: an `id` to ask for its receipt by, or an error."""

    id: str | None = None
    error: PushError | None = None


@dataclass(frozen=True, slots=True)
class PushTask:
    """What an event has phones show: the same to everybody, but for the notification it belongs to."""

    id: EventId
    type: str
    metadata: Mapping[str, Any]
    recipients: Mapping[UserId, NotificationId]


class PushRefused(Hopeless):
    """The service does not accept us, or what we say: somebody has to look at the settings."""


class Push(Protocol):
    """The service that reaches phones."""

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        """Hand messages over, `MAX_BATCH` at most; returns a ticket each, in their order.

        Raises:
            Unavailable: none was taken, or nobody knows; try again later.
            PushRefused: the service does not accept us.
        """
        ...

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:
        """What became of messages, `MAX_RECEIPTS` at most: None where one was delivered.

        Those without a receipt yet are left out.

        Raises:
            Unavailable, PushRefused: as `send`.
        """
        ...


class PushTokens(Protocol):
    """Phones by whose they are; a token is active for one person at a time."""

    async def register(
        self, token_id: PushTokenId, token: str, device_type: DeviceType, caller: UserId, *, now: datetime
    ) -> PushToken:
        """Make a token the caller's own active one, and nobody else's; the same again only notes its use.

        Raises:
            NotOnboarded: no profile.
            Unavailable: somebody else registers it in this very moment.
        """
        ...

    async def deactivate(self, token: str | None, caller: UserId, *, now: datetime) -> None:
        """Send nothing more to a token of the caller's, or to any for None; one that is none is no error.

        Raises:
            NotOnboarded: no profile.
        """
        ...

    async def claim(self, push_id: EventId, people: Sequence[UserId], *, now: datetime) -> Claimed:
        """Have the active phones of these people that did not get this push yet to oneself, for `CLAIMED_FOR`."""
        ...

    async def release(self, push_id: EventId, phones: Sequence[PushTokenId]) -> None:
        """Give claimed phones back that were sent nothing, for whoever comes next."""
        ...

    async def sent(self, push_id: EventId, tickets: Mapping[PushTokenId, str | None], *, now: datetime) -> None:
        """Note what was handed over to claimed phones, each with its ticket, or None where it was refused."""
        ...

    async def tickets(self, push_id: EventId) -> Mapping[str, PushTokenId]:
        """The tickets of a push."""
        ...

    async def forget(self, gone: Sequence[PushTokenId], *, now: datetime) -> None:
        """Send nothing more to these tokens, whoever has them."""
        ...
