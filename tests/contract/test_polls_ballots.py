"""Whole ballots, added options, deadlines and outcomes of `Polls`, over every driver."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from nomadcrew.adapters.postgres.polls import PostgresPolls
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import EventId, PollOptionId, TodoId, uuid7
from nomadcrew.core.permissions import ADMIN, MEMBER
from nomadcrew.core.polls.errors import (
    AppliedAlready,
    InvalidBallot,
    InvalidPoll,
    OptionsFixed,
    PollClosed,
    PollExpired,
    PollOpen,
    TooManyOptions,
)
from nomadcrew.core.polls.model import (
    MAX_OPTIONS_IN_ALL,
    Answer,
    Applied,
    Ballot,
    Days,
    Kind,
    Mark,
    Option,
    Poll,
    PollStatus,
    Target,
)
from nomadcrew.core.polls.ports import TodoOutcome, TripOutcome
from nomadcrew.core.todos.model import Todo, TodoStatus
from nomadcrew.core.trips.model import TripChange
from tests.contract.polls import EXPIRED, LATER, Here, prepare
from tests.contract.trip_database import TripDb
from tests.fakes import NOON

TRIP_EVENTS = {"TRIP_UPDATED", "TODO_CREATED"}


async def cast(here: Here, poll: Poll, *marks: Mark, **other: Any) -> None:
    at, kind, by = other.get("at", LATER), other.get("kind", poll.kind), other.get("by", here.ben)
    await here.polls.cast(here.command(by, at), poll.id, kind, marks)


def answered(poll: Poll, *answers: Answer) -> list[Mark]:
    return [Mark(option.id, answer) for option, answer in zip(poll.options, answers, strict=False)]


def ranking(poll: Poll, *positions: int) -> list[Mark]:
    return [Mark(poll.options[position].id, rank=rank) for rank, position in enumerate(positions, start=1)]


async def ranks(here: Here, poll: Poll) -> list[int | None]:
    """Ben's rank of each option."""
    options = (await here.get(poll)).options
    return [next((v.rank for v in option.votes if v.user_id == here.ben), None) for option in options]


async def test_a_ballot_replaces_the_one_before_and_its_repeat_changes_nothing(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(kind=Kind.DATES, allow_multiple_votes=True)
    await cast(here, poll, *answered(poll, Answer.YES, Answer.NO))
    for _ in range(2):
        await cast(here, poll, *answered(poll, Answer.YES, Answer.IF_NEED_BE, Answer.NO)[1:])
    options = (await here.get(poll)).options
    assert [[vote.answer for vote in option.votes] for option in options] == [
        [], [Answer.IF_NEED_BE], [Answer.NO],
    ]  # fmt: skip
    assert await here.types() == ["POLL_CREATED", "POLL_VOTE_CAST", "POLL_VOTE_CAST"]
    await cast(here, poll)
    await cast(here, poll)
    assert (await here.types())[3:] == ["POLL_VOTE_REMOVED"]
    assert (await here.payloads("POLL_VOTE_REMOVED"))[0] == {
        "pollId": str(poll.id), "tripId": str(here.trip), "userId": str(here.ben)
    }  # fmt: skip


async def test_a_vote_for_dates_is_a_yes(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(kind=Kind.DATES, allow_multiple_votes=True)
    await cast(here, poll, *answered(poll, Answer.NO))
    await here.vote(poll, 0, here.ben)
    [vote] = (await here.get(poll)).options[0].votes
    assert vote.answer is Answer.YES


async def test_single_votes_rank_in_their_order_and_a_ballot_replaces_them(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(kind=Kind.RANKED, allow_multiple_votes=True)
    await here.vote(poll, 2, here.ben)
    await here.vote(poll, 0, here.ben)
    assert await ranks(here, poll) == [2, None, 1]
    await cast(here, poll, *ranking(poll, 1, 0))
    assert await ranks(here, poll) == [2, 1, None]


async def test_concurrent_ballots_of_a_user_do_not_mix(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(kind=Kind.RANKED, allow_multiple_votes=True)
    orders = [(0, 1), (2,), (1, 2, 0), (2, 1)]
    await asyncio.gather(
        *(
            PostgresPolls(db.pool).cast(here.command(here.ben), poll.id, poll.kind, ranking(poll, *order))
            for order in orders
        )
    )
    assert await ranks(here, poll) in [[1, 2, None], [None, None, 1], [3, 1, 2], [None, 2, 1]]


async def test_a_ballot_that_does_not_fit_is_refused(db: TripDb) -> None:
    here = await prepare(db)
    poll, other = await here.add(kind=Kind.RANKED), await here.add()
    with pytest.raises(InvalidBallot):
        await cast(here, poll, *answered(poll, Answer.YES), kind=Kind.DATES)
    with pytest.raises(InvalidBallot):
        await cast(here, other, *ranking(other, 0), kind=Kind.RANKED)
    with pytest.raises(NotFound, match="option"):
        await cast(here, poll, *ranking(poll, 0), *ranking(other, 0))
    with pytest.raises(PollExpired):
        await cast(here, poll, *ranking(poll, 0), at=EXPIRED)
    await here.close(poll, at=EXPIRED)
    with pytest.raises(PollClosed):
        await cast(here, poll, *ranking(poll, 0))
    with pytest.raises(NotTripMember):
        await cast(here, poll, *ranking(poll, 0), by=await db.user("dan"))
    assert await ranks(here, poll) == [None] * 3


async def test_a_blind_ballot_is_not_named_in_its_event(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(kind=Kind.RANKED, ballot=Ballot.BLIND)
    await cast(here, poll, *ranking(poll, 0))
    event = (await db.events())[-1]
    assert (event["type"], event["actor"], event["payload"]) == (
        "POLL_VOTE_CAST", None, {"pollId": str(poll.id), "tripId": str(here.trip)},
    )  # fmt: skip


def an_option(here: Here, text: str, days: Days | None = None) -> Option:
    return Option(PollOptionId(uuid7()), text, 0, here.ben, LATER, days)


async def test_members_add_options_once(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(members_add_options=True)
    assert await here.polls.add_option(here.command(here.ben), poll.id, an_option(here, "ferry"))
    assert not await here.polls.add_option(here.command(here.eve), poll.id, an_option(here, "FERRY"))
    stored = await here.get(poll)
    assert [(option.text, option.position) for option in stored.options][3:] == [("ferry", 3)]
    assert (stored.options[3].created_by, stored.updated_at) == (here.ben, LATER)
    assert len(await here.payloads("POLL_UPDATED")) == 1
    await here.vote(stored, 3, here.ana)
    assert (await here.votes(poll))[3] == {here.ana}


async def test_concurrent_additions_have_places_of_their_own_and_keep_the_limit(db: TripDb) -> None:
    here = await prepare(db)
    texts = [str(number) for number in range(MAX_OPTIONS_IN_ALL - 2)]
    poll = await here.add(texts, members_add_options=True)
    outcomes = await asyncio.gather(
        *(
            PostgresPolls(db.pool).add_option(here.command(here.ben), poll.id, an_option(here, text))
            for text in ("a", "b", "c", "A")
        ),
        return_exceptions=True,
    )
    assert outcomes.count(True) == 2
    assert all(isinstance(outcome, bool | TooManyOptions) for outcome in outcomes)
    assert [option.position for option in (await here.get(poll)).options] == list(range(MAX_OPTIONS_IN_ALL))


async def test_options_are_refused_where_they_do_not_belong(db: TripDb) -> None:
    here = await prepare(db)
    fixed, open_ = await here.add(), await here.add(members_add_options=True)
    days = Days(date(2026, 12, 1), date(2026, 12, 2))
    with pytest.raises(OptionsFixed):
        await here.polls.add_option(here.command(here.ana), fixed.id, an_option(here, "ferry"))
    with pytest.raises(InvalidPoll):
        await here.polls.add_option(here.command(here.ben), open_.id, an_option(here, days.text, days))
    with pytest.raises(PollExpired):
        await here.polls.add_option(here.command(here.ben, EXPIRED), open_.id, an_option(here, "ferry"))
    await here.close(open_, at=EXPIRED)
    with pytest.raises(PollClosed):
        await here.polls.add_option(here.command(here.ben), open_.id, an_option(here, "ferry"))


async def test_days_are_read_back(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(kind=Kind.DATES, members_add_options=True, options=())
    days = Days(date(2026, 12, 1), date(2026, 12, 2))
    assert await here.polls.add_option(here.command(here.ben), poll.id, an_option(here, days.text, days))
    assert [option.days for option in (await here.get(poll)).options] == [days]


async def test_due_polls_are_closed_once(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(closes_automatically=True)
    lasting, manual = await here.add(closes_automatically=True, expires_at=EXPIRED + timedelta(1)), await here.add()
    assert await here.polls.close_due(now=EXPIRED - timedelta(microseconds=1), limit=10) == 0
    late, others = EXPIRED + timedelta(hours=1), [PostgresPolls(db.pool) for _ in range(3)]
    counts = await asyncio.gather(*(polls.close_due(now=late, limit=10) for polls in others))
    assert sum(counts) == 1
    closed = await here.get(poll)
    assert (closed.status, closed.closed_by, closed.closed_at) == (PollStatus.CLOSED, None, EXPIRED)
    assert [(await here.get(other)).status for other in (lasting, manual)] == [PollStatus.ACTIVE] * 2
    assert await here.payloads("POLL_CLOSED") == [
        {"pollId": str(poll.id), "tripId": str(here.trip), "question": "How do we go?", "createdBy": str(here.ana)}
    ]
    with pytest.raises(PollClosed):
        await here.close(poll, at=late)


async def test_members_who_have_not_voted_are_reminded_once_a_day_before(db: TripDb) -> None:
    here = await prepare(db)
    end = NOON + timedelta(days=3)
    poll = await here.add(expires_at=end)
    await here.add()  # too short for a reminder
    await here.vote(poll, 0, here.ben)
    await db.leave(here.trip, here.eve, here.ana)
    due = end - timedelta(days=1)
    assert await here.polls.remind(now=due - timedelta(microseconds=1), limit=10) == 0
    counts = await asyncio.gather(*(PostgresPolls(db.pool).remind(now=due, limit=10) for _ in range(3)))
    assert sum(counts) == 1
    [event] = [event for event in await db.events() if event["type"] == "poll.reminder"]
    assert (event["audience"], event["payload"]["waitingFor"]) == ("internal", [str(here.ana)])


async def test_a_reminder_is_dropped_when_it_is_late_or_every_member_has_voted(db: TripDb) -> None:
    here = await prepare(db)
    late, voted = [await here.add(expires_at=NOON + timedelta(days=days)) for days in (2, 4)]
    for user in (here.ana, here.ben, here.eve):
        await here.vote(voted, 0, user)
    assert await here.polls.remind(now=late.expires_at + timedelta(days=1), limit=10) == 2
    assert "poll.reminder" not in await db.types()


async def closed(here: Here, **fields: Any) -> Poll:
    poll = await here.add(**fields)
    return await here.close(poll, at=EXPIRED)


def applied(poll: Poll, target: Target = Target.DATES, todo: Todo | None = None) -> Applied:
    return Applied(target, poll.options[0].id, EXPIRED, None if todo is None else todo.id)


def dates(rule: Any = ADMIN) -> TripOutcome:
    change = TripChange(start_date=date(2027, 1, 1), end_date=date(2027, 1, 5))
    return TripOutcome(change, rule, (EventId(uuid7()), EventId(uuid7())))


def a_todo(here: Here) -> Todo:
    return Todo(TodoId(uuid7()), here.trip, "train", TodoStatus.INCOMPLETE, here.ana, EXPIRED, EXPIRED)


async def test_the_trip_takes_the_dates_with_both_events(db: TripDb) -> None:
    here = await prepare(db)
    poll = await closed(here)
    await here.polls.apply(here.command(here.ana, EXPIRED, own=True), poll.id, applied(poll), dates())
    assert (await here.get(poll)).applied == applied(poll)
    [row] = await db.rows("SELECT start_date, end_date FROM trips WHERE id = :id::uuid", id=here.trip)
    assert (row["start_date"], row["end_date"]) == (date(2027, 1, 1), date(2027, 1, 5))
    assert (await db.types())[-2:] == ["TRIP_UPDATED", "POLL_UPDATED"]
    assert (await here.payloads("POLL_UPDATED"))[0]["appliedTo"] == "dates"


async def test_the_winner_becomes_one_to_do(db: TripDb) -> None:
    here = await prepare(db)
    poll, todos = await closed(here), [a_todo(here) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(
            PostgresPolls(db.pool).apply(
                here.command(here.ana, EXPIRED, own=True),
                poll.id,
                applied(poll, Target.TODO, todo),
                TodoOutcome(todo, MEMBER, EventId(uuid7())),
            )
            for todo in todos
        ),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AppliedAlready"] * 2 + ["NoneType"]
    rows = await db.rows("SELECT id, text FROM todos WHERE trip_id = :id::uuid", id=here.trip)
    stored = (await here.get(poll)).applied
    assert stored is not None
    assert [(row["id"], row["text"]) for row in rows] == [(stored.todo_id, "train")]


async def test_a_refused_outcome_changes_nothing(db: TripDb) -> None:
    here = await prepare(db)
    bens, open_, mine = await here.add(by=here.ben), await here.add(), await closed(here)
    await here.close(bens, at=EXPIRED)
    before = len(await db.events())
    commands = [
        (here.ben, bens, ADMIN, Forbidden),
        (here.ben, mine, MEMBER, Forbidden),
        (here.ana, open_, ADMIN, PollOpen),
    ]
    for caller, poll, rule, refusal in commands:
        with pytest.raises(refusal):
            await here.polls.apply(here.command(caller, EXPIRED, own=True), poll.id, applied(poll), dates(rule))
    await here.polls.apply(here.command(here.ana, EXPIRED, own=True), mine.id, applied(mine), dates())
    todo = a_todo(here)
    outcome = TodoOutcome(todo, MEMBER, EventId(uuid7()))
    with pytest.raises(AppliedAlready):
        await here.polls.apply(
            here.command(here.ana, EXPIRED, own=True), mine.id, applied(mine, Target.TODO, todo), outcome
        )
    changes = [type_ for type_ in (await db.types())[before:] if type_ in TRIP_EVENTS]
    assert changes == ["TRIP_UPDATED"]
    assert (await here.polls.get(Access(here.trip, here.ana, MEMBER), bens.id)).applied is None


async def test_an_expired_poll_that_closes_automatically_is_applied_before_the_job_closes_it(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(closes_automatically=True)
    with pytest.raises(PollOpen):
        await here.polls.apply(here.command(here.ana, own=True), poll.id, applied(poll), dates())
    await here.polls.apply(here.command(here.ana, EXPIRED, own=True), poll.id, applied(poll), dates())
    assert (await here.get(poll)).applied == applied(poll)


async def test_closing_and_applying_at_once_never_deadlock(db: TripDb) -> None:
    here = await prepare(db)
    for _ in range(5):
        poll = await here.add()
        outcomes = await asyncio.gather(
            PostgresPolls(db.pool).close(here.command(here.ana, EXPIRED, own=True), poll.id),
            PostgresPolls(db.pool).apply(
                here.command(here.ana, EXPIRED, own=True), poll.id, applied(poll), dates()
            ),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], Poll)
        assert outcomes[1] is None or isinstance(outcomes[1], PollOpen)
