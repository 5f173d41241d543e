"""Ports of erasure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nomadcrew.core.erasure.model import Erasure, Person, PersonalFile
from nomadcrew.core.ids import EventId, TripId, UserId


class Erasures(Protocol):
    """Accounts that are deleted, and their rows. Every method is safe to repeat, and to interrupt."""

    async def request(
        self, user_id: UserId, event_id: EventId | None, *, due_at: datetime, now: datetime
    ) -> datetime:
        """Delete an account at `due_at`, or earlier if it was requested so. Returns the time.

        With `event_id`, a first request causes a mail.

        Raises:
            NotFound: there is no such user.
        """
        ...

    async def list_due(self, now: datetime, *, limit: int) -> Sequence[UserId]:
        """The users to erase, the first due first."""
        ...

    async def begin(self, user_id: UserId, *, now: datetime) -> Person | None:
        """Begin or continue an erasure; None if none is due. A sign-in no longer cancels it."""
        ...

    async def leave(self, user_id: UserId, trip_id: TripId, event_id: EventId, *, now: datetime) -> bool:
        """End a membership; True if it was active.

        The longest-standing admin, or else member, becomes the owner of a trip without one.
        A trip without members is deleted.
        """
        ...

    async def list_files(self, user_id: UserId, *, limit: int) -> Sequence[PersonalFile]:
        """The files that are erased: the user's, and those of trips that are over."""
        ...

    async def forget_files(self, user_id: UserId, files: Sequence[PersonalFile], *, now: datetime) -> None:
        """Delete the rows of these files; messages no longer have them."""
        ...

    async def erase_rows(self, person: Person) -> None:
        """Delete all other rows of the user. On other members' trips, a former member becomes the author."""
        ...

    async def count(self, user_id: UserId, counts: Mapping[str, int]) -> None:
        """Add to the counts of the receipt."""
        ...

    async def counts(self, user_id: UserId) -> Mapping[str, int] | None:
        """The counts of the receipt; None if the erasure is finished."""
        ...

    async def finish(self, user_id: UserId) -> None:
        """Forget that the user was erased: the last row with the user's id and address."""
        ...


class PersonalCopies(Protocol):
    """Data of users outside the database and the file store."""

    async def erase(self, person: Person) -> Mapping[str, int]:
        """Erase a user's data. Returns counts by kind. Safe to repeat, and to interrupt.

        When it returns, no process has a socket of the user, or accepts the user's tokens.
        """
        ...


class Receipts(Protocol):
    """Signed receipts of erasures."""

    def issue(self, erasure: Erasure) -> str: ...

    def read(self, receipt: str) -> Erasure:
        """Raises InvalidReceipt: it was not issued here, or was changed."""
        ...


class ReceiptMail(Protocol):
    async def send(self, address: str, receipt: str, erasure: Erasure) -> None:
        """Queue the mail with a receipt. Safe to repeat."""
        ...
