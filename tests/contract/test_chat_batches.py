"""Reactions and receipts that share a statement: each has the effect and the verdict that it has alone."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any

import pytest
from msgspec.structs import replace

from nomadcrew.adapters.postgres.chat import PostgresChat
from nomadcrew.adapters.postgres.database import Database
from nomadcrew.adapters.postgres.sql import compile_statement
from nomadcrew.core.chat.model import MAX_REACTIONS, Message, MessageNotFound, Reaction, TooManyReactions
from nomadcrew.core.errors import NotTripMember
from nomadcrew.core.ids import EventId, MessageId, TripId, UserId, uuid7
from nomadcrew.core.permissions import MEMBER
from tests.contract.test_chat import post, react, read, unreact
from tests.contract.trip_database import TripDb
from tests.counting_sql import CountingSql
from tests.fakes import NOON, CountingOutbox

_REACTIONS = compile_statement("reactions", "SELECT user_id, emoji FROM chat_reactions")


class Batches:
    """A trip of ana and ben with some messages, and a chat whose statements are counted."""

    def __init__(self, db: TripDb, trip: TripId, ana: UserId, ben: UserId) -> None:
        self.db, self.trip, self.ana, self.ben = db, trip, ana, ben
        self.sql = CountingSql(db.pool)
        self.chat = PostgresChat(self.sql, CountingOutbox())
        self.messages: list[Message] = []

    async def outcomes(self, *calls: Awaitable[object]) -> list[Any]:
        """The outcomes of concurrent calls, which share a batch: the types of refusals, or None."""
        self.sql.statements.clear()
        results = await asyncio.gather(*calls, return_exceptions=True)
        return [type(result) if isinstance(result, Exception) else None for result in results]

    async def payloads(self, type_: str) -> list[dict[str, Any]]:
        return [event["payload"] for event in await self.db.events() if event["type"] == type_]


async def prepare(pool: Database) -> Batches:
    db = TripDb(pool)
    ana, ben = await db.user("ana"), await db.user("ben")
    trip = await db.trip(ana)
    await db.join(trip, ben, ana)
    here = Batches(db, trip, ana, ben)
    here.messages = [await post(here.chat, trip, ana, str(n)) for n in range(4)]
    return here


def missing(here: Batches) -> Reaction:
    return Reaction(MessageId(uuid7()), here.trip, here.ana, "a", NOON)


async def test_a_reaction_is_added_and_removed_once_beside_others(pool: Database) -> None:
    here = await prepare(pool)
    eve = await here.db.user("eve")
    first, second, *_ = here.messages
    chat = here.chat
    assert await here.outcomes(
        react(chat, first, here.ana, "a"),
        react(chat, first, here.ana, "a"),
        react(chat, first, here.ben, "a"),
        chat.add_reaction(missing(here), MEMBER, EventId(uuid7())),
        react(chat, second, here.ana, "b"),
        react(chat, second, eve, "b"),
    ) == [None, None, None, MessageNotFound, None, NotTripMember]
    assert here.sql.statements == ["react", "react"]
    added = await here.payloads("CHAT_REACTION_ADDED")
    assert [(payload["messageId"], payload["reaction"], payload["user"]["id"]) for payload in added] == [
        (str(first.id), "a", str(here.ana)), (str(first.id), "a", str(here.ben)),
        (str(second.id), "b", str(here.ana)),
    ]  # fmt: skip
    assert await here.outcomes(
        unreact(chat, first, here.ana, "a"),
        unreact(chat, second, eve, "b"),
        unreact(chat, first, here.ana, "a"),
        unreact(chat, second, here.ana, "b"),
    ) == [None, NotTripMember, None, None]
    assert here.sql.statements == ["unreact", "unreact"]
    assert len(await here.payloads("CHAT_REACTION_REMOVED")) == 2
    assert [(row["user_id"], row["emoji"]) for row in await pool.fetch(_REACTIONS)] == [(here.ben, "a")]


async def test_reactions_of_a_user_in_a_batch_stay_within_the_limit(pool: Database) -> None:
    here = await prepare(pool)
    emoji = [chr(ord("a") + n) for n in range(MAX_REACTIONS + 2)]
    outcomes = await here.outcomes(*(react(here.chat, here.messages[0], here.ana, each) for each in emoji))
    assert outcomes == [None] * MAX_REACTIONS + [TooManyReactions] * 2


async def test_a_repeated_reaction_returns_the_time_of_the_first(pool: Database) -> None:
    here = await prepare(pool)
    first, repeat = await asyncio.gather(
        react(here.chat, here.messages[0], here.ana, "a"), react(here.chat, here.messages[0], here.ana, "a", at_s=9)
    )
    assert repeat == first


async def test_receipts_in_a_batch_move_forward_only(pool: Database) -> None:
    here = await prepare(pool)
    eve = await here.db.user("eve")
    one, two, three, _ = here.messages
    assert await here.outcomes(
        read(here.chat, two, here.ana),
        read(here.chat, one, here.ana),
        read(here.chat, three, here.ben),
        read(here.chat, two, eve),
        read(here.chat, three, here.ana),
        read(here.chat, replace(three, id=MessageId(uuid7())), here.ben),
    ) == [None, None, None, NotTripMember, None, MessageNotFound]
    assert here.sql.statements == ["read"] * 3
    receipts = await here.payloads("CHAT_READ_RECEIPT")
    assert [(payload["messageId"], payload["userId"]) for payload in receipts] == [
        (str(two.id), str(here.ana)), (str(three.id), str(here.ben)), (str(three.id), str(here.ana)),
    ]  # fmt: skip


@pytest.mark.parametrize("round_", range(3))
async def test_batches_of_several_processes_never_deadlock(pool: Database, round_: int) -> None:
    here = await prepare(pool)
    people = [here.ana, here.ben, *[await here.db.user(f"user{n}") for n in range(4)]]
    for user_id in people[2:]:
        await here.db.join(here.trip, user_id, here.ana)

    async def work(seed: int) -> list[object]:
        chat, chance = PostgresChat(pool, CountingOutbox()), random.Random(10 * round_ + seed)
        calls: list[Awaitable[object]] = []
        for message in here.messages:
            for user_id in people:
                calls += [
                    react(chat, message, user_id, chance.choice("abc")),
                    unreact(chat, message, user_id, chance.choice("abc")),
                    read(chat, message, user_id),
                ]
        chance.shuffle(calls)
        return await asyncio.gather(*calls, return_exceptions=True)

    results = await asyncio.gather(*(work(seed) for seed in range(4)))
    assert [each for result in results for each in result if isinstance(each, Exception)] == []
