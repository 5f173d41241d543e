"""Deletes accounts: at once, or after a grace that a sign-in ends.

An erasure may be interrupted at any point: its row in the database remains until its last step, and each step is
harmless if it is repeated. The rows of files are deleted after their files.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct

from nomadcrew.core.auth.accounts import require_own_password
from nomadcrew.core.auth.administration import account_of_login
from nomadcrew.core.auth.errors import PasswordElsewhere
from nomadcrew.core.auth.failures import Origin
from nomadcrew.core.auth.ports import Accounts, Codes, Sessions
from nomadcrew.core.batches import in_batches
from nomadcrew.core.erasure.model import Erasure, FileKeeper, Person
from nomadcrew.core.erasure.ports import Erasures, PersonalCopies, ReceiptMail, Receipts
from nomadcrew.core.events import Audience, Event
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId, NewId, TripId, UserId, parse_uuid
from nomadcrew.core.mirror.ports import Mirror
from nomadcrew.core.rate_limits import RateLimits
from nomadcrew.core.realtime import Broadcaster
from nomadcrew.core.retention import DELETION_RETENTION

SOURCE = "member-service"
FILES = 100  # of a batch
DUE = 20  # accounts of a run


class Eraser(Struct, frozen=True):
    """The ports of an erasure, by the names of `Ports`."""

    erasures: Erasures
    personal_copies: PersonalCopies
    files: Files
    document_files: Files
    picture_files: Files
    export_files: Files
    mirror: Mirror
    broadcaster: Broadcaster
    erasure_receipts: Receipts
    receipt_mail: ReceiptMail
    new_id: NewId
    clock: Callable[[], datetime]

    @classmethod
    def of(cls, ports: Any) -> "Eraser":
        """The ports of an erasure among those of a host."""
        return cls(**{name: getattr(ports, name) for name in cls.__struct_fields__})

    def files_of(self, keeper: FileKeeper) -> Files:
        return {
            FileKeeper.ATTACHMENT: self.files,
            FileKeeper.DOCUMENT: self.document_files,
            FileKeeper.PICTURE: self.picture_files,
            FileKeeper.EXPORT: self.export_files,
            FileKeeper.UPLOAD: self.export_files,
        }[keeper]


async def request_deletion(
    user_id: UserId,
    password: str,
    origin: Origin,
    *,
    immediate: bool,
    erasures: Erasures,
    accounts: Accounts,
    sessions: Sessions,
    limits: RateLimits,
    codes: Codes,
    new_id: NewId,
    now: datetime,
) -> datetime:
    """Have the caller's account deleted, at once or after the grace. Returns the time.

    All sessions end; each process notices it within a second.

    Raises:
        WrongPassword, PasswordElsewhere, TooMany: as `require_own_password` says.
    """
    try:
        await require_own_password(user_id, password, origin, accounts=accounts, limits=limits, codes=codes)
    except PasswordElsewhere:
        raise PasswordElsewhere(
            "You sign in with another service. Ask the operator of this site to delete your account."
        ) from None
    due_at = now if immediate else now + DELETION_RETENTION
    event_id = None if immediate else EventId(new_id())
    due_at = await erasures.request(user_id, event_id, due_at=due_at, now=now)
    await sessions.end_others(user_id, None, now=now)
    return due_at


async def delete_account(
    login: str, *, accounts: Accounts, sessions: Sessions, eraser: Eraser
) -> tuple[str, Erasure]:
    """Erase a user at once, for an operator. Returns the receipt.

    Users of other issuers of tokens have no account; their id names them.

    Raises:
        NotFound: no account has that address or username, or no user that id.
    """
    now, id_ = eraser.clock(), parse_uuid(login)
    user_id = (await account_of_login(login, accounts, now)).user_id if id_ is None else UserId(id_)
    await eraser.erasures.request(user_id, None, due_at=now, now=now)
    await sessions.end_others(user_id, None, now=now)
    erased = await erase(user_id, eraser)
    assert erased is not None
    return erased


async def erase_due(eraser: Eraser) -> int:
    """Erase the accounts that are due. One that fails is repeated in the next run. Returns the number.

    Raises:
        ExceptionGroup: the errors of those that failed.
    """
    failed: list[Exception] = []
    erased = 0
    for user_id in await eraser.erasures.list_due(eraser.clock(), limit=DUE):
        try:
            erased += await erase(user_id, eraser) is not None
        except Exception as error:
            failed.append(error)
    if failed:
        raise ExceptionGroup("erasure", failed)
    return erased


async def erase(user_id: UserId, eraser: Eraser) -> tuple[str, Erasure] | None:
    """Erase a user whose deletion is due, and mail the receipt as the last act.

    None if none is due, or another process has finished it.

    Raises:
        Unavailable, MirrorRefused: a store could not be written; the erasure is to be repeated.
    """
    erasures, now = eraser.erasures, eraser.clock()
    person = await erasures.begin(user_id, now=now)
    if person is None:
        return None
    for trip in person.trips:
        if await erasures.leave(user_id, trip.trip_id, EventId(eraser.new_id()), now=now):
            await eraser.broadcaster.broadcast(_left(trip.trip_id, user_id, EventId(eraser.new_id()), now))
    # Read again, since a trip whose last member left is over.
    person = await erasures.begin(user_id, now=now) or person
    await erasures.count(user_id, await eraser.personal_copies.erase(person))
    await _erase_files(person, eraser, now)
    await erasures.erase_rows(person)
    for trip in person.trips:
        if trip.is_over:
            await eraser.mirror.drop_trip(trip.trip_id)
    await eraser.mirror.drop_user(user_id)
    counts = await erasures.counts(user_id)
    if counts is None:
        return None  # another process did the same, and has finished
    erasure = Erasure(user_id, eraser.clock(), counts)
    receipt = eraser.erasure_receipts.issue(erasure)
    await eraser.receipt_mail.send(person.email, receipt, erasure)
    await erasures.finish(user_id)
    return receipt, erasure


async def _erase_files(person: Person, eraser: Eraser, now: datetime) -> None:
    async def batch() -> int:
        files = await eraser.erasures.list_files(person.id, limit=FILES)
        for file in files:
            for key in file.keys:
                await eraser.files_of(file.keeper).delete(key)
        if files:
            await eraser.erasures.forget_files(person.id, files, now=now)
        return len(files)

    await in_batches(batch, FILES)


def _left(trip_id: TripId, user_id: UserId, event_id: EventId, now: datetime) -> Event:
    """The end of a membership, for the crew's sockets. It is never stored, since it names the user."""
    payload = json.dumps({"userId": str(user_id), "removedBy": str(user_id)})
    return Event(
        event_id, "MEMBER_REMOVED", SOURCE, trip_id, user_id, None, Audience.TRIP, now, payload, kept=False
    )
