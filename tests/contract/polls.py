"""Polls in a database, for tests of `Polls`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nomadcrew.adapters.postgres.polls import PostgresPolls
from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, PollId, PollOptionId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER, OWN_OR_ADMIN
from nomadcrew.core.polls.model import Ballot, Kind, Option, Poll, PollStatus
from tests.contract.trip_database import TripDb
from tests.counting_sql import CountingSql
from tests.fakes import NOON

LATER = NOON + timedelta(hours=1)
EXPIRED = NOON + timedelta(days=1)


@dataclass
class Here:
    """A trip of ana, who owns it, and ben and eve."""

    db: TripDb
    sql: CountingSql
    polls: PostgresPolls
    trip: TripId
    ana: UserId
    ben: UserId
    eve: UserId

    async def add(
        self,
        options: Sequence[str] = ("train", "bus", "boat"),
        *,
        by: UserId | None = None,
        at: datetime = NOON,
        fingerprint: bytes | None = None,
        **fields: Any,
    ) -> Poll:
        return await self.polls.add(
            a_poll(self.trip, by or self.ana, options, at=at, **fields),
            MEMBER,
            EventId(uuid7()),
            now=at,
            fingerprint=fingerprint or uuid7().bytes,
        )

    async def get(self, poll: Poll) -> Poll:
        return await self.polls.get(Access(self.trip, self.ana, MEMBER), poll.id)

    async def vote(self, poll: Poll, option: int, by: UserId, *, at: datetime = LATER) -> None:
        await self.polls.vote(self.command(by, at), poll.id, poll.options[option].id)

    async def unvote(self, poll: Poll, option: int, by: UserId, *, at: datetime = LATER) -> None:
        await self.polls.unvote(self.command(by, at), poll.id, poll.options[option].id)

    async def close(self, poll: Poll, by: UserId | None = None, *, at: datetime = LATER) -> Poll:
        return await self.polls.close(self.command(by or self.ana, at, own=True), poll.id)

    async def votes(self, poll: Poll) -> list[set[UserId]]:
        """The voters of each option."""
        return [{vote.user_id for vote in option.votes} for option in (await self.get(poll)).options]

    async def types(self) -> list[str]:
        """The types of the events about polls."""
        return [type_ for type_ in await self.db.types() if type_.lower().startswith("poll")]

    async def payloads(self, type_: str) -> list[dict[str, Any]]:
        return [event["payload"] for event in await self.db.events() if event["type"] == type_]

    def command(self, by: UserId, at: datetime = LATER, *, own: bool = False) -> Command:
        return Command(self.trip, by, OWN_OR_ADMIN if own else MEMBER, EventId(uuid7()), at)


def a_poll(
    trip: TripId, by: UserId, options: Sequence[str] = ("train", "bus"), *, at: datetime = NOON, **fields: Any
) -> Poll:
    values: dict[str, Any] = {
        "id": PollId(uuid7()),
        "trip_id": trip,
        "question": "How do we go?",
        "kind": Kind.CHOICE,
        "ballot": Ballot.OPEN,
        "allow_multiple_votes": False,
        "members_add_options": False,
        "closes_automatically": False,
        "status": PollStatus.ACTIVE,
        "created_by": by,
        "closed_by": None,
        "closed_at": None,
        "expires_at": at + timedelta(days=1),
        "created_at": at,
        "updated_at": at,
        "options": [Option(PollOptionId(uuid7()), text, n, by, at) for n, text in enumerate(options)],
    }
    return Poll(**(values | fields))


async def prepare(db: TripDb) -> Here:
    ana, ben, eve = await db.user("ana"), await db.user("ben"), await db.user("eve")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    await db.join(trip, eve, ana)
    sql = CountingSql(db.pool)
    return Here(db, sql, PostgresPolls(sql), trip, ana, ben, eve)
