"""`Polls` over every driver."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from nomadcrew.adapters.postgres.polls import PostgresPolls
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Forbidden, NotFound, NotTripMember
from nomadcrew.core.ids import PollId, PollOptionId
from nomadcrew.core.permissions import MEMBER, Role
from nomadcrew.core.polls import model
from nomadcrew.core.polls.errors import CloseRestricted, PollClosed, PollExpired, PollHasVotes
from nomadcrew.core.polls.model import Vote
from tests.contract.polls import EXPIRED, LATER, prepare
from tests.contract.trip_database import TripDb
from tests.fakes import NOON


async def test_a_poll_is_read_back_and_published(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    assert await here.get(poll) == poll
    assert await here.payloads("POLL_CREATED") == [
        {"pollId": str(poll.id), "tripId": str(here.trip), "question": "How do we go?"}
    ]


async def test_repeats_return_the_first_poll_until_it_is_deleted(db: TripDb) -> None:
    here = await prepare(db)
    first, *others = await asyncio.gather(*(here.add(fingerprint=b"f") for _ in range(4)))
    assert others == [first] * 3
    await here.polls.delete(here.command(here.ana, own=True), first.id)
    assert (await here.add(fingerprint=b"f")).id != first.id
    assert (await here.polls.page(Access(here.trip, here.ana, MEMBER), limit=10)).total == 1


@pytest.mark.contract("rest-activity.polls.single")
async def test_a_single_vote_replaces_the_other_and_its_repeat_changes_nothing(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    for option in (0, 1, 1):
        await here.vote(poll, option, here.ben)
    assert await here.votes(poll) == [set(), {here.ben}, set()]
    assert (await here.get(poll)).options[1].votes == (Vote(here.ben, LATER),)
    assert await here.payloads("POLL_VOTE_CAST") == [
        {"pollId": str(poll.id), "tripId": str(here.trip), "optionId": str(poll.options[option].id),
         "userId": str(here.ben)}
        for option in (0, 1)
    ]  # fmt: skip


@pytest.mark.contract("rest-activity.polls.fix-race")
async def test_the_database_refuses_a_second_single_vote(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    others = [PostgresPolls(db.pool) for _ in range(6)]  # as in other processes, without common batches
    await asyncio.gather(
        *(polls.vote(here.command(here.ben), poll.id, poll.options[n % 3].id) for n, polls in enumerate(others))
    )
    assert sorted(len(voters) for voters in await here.votes(poll)) == [0, 0, 1]


@pytest.mark.contract("rest-activity.polls.multiple")
async def test_several_votes_stand_beside_one_another(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(allow_multiple_votes=True)
    for option in (0, 2, 2):
        await here.vote(poll, option, here.ben)
    await here.vote(poll, 2, here.eve)
    assert await here.votes(poll) == [{here.ben}, set(), {here.ben, here.eve}]
    assert len(await here.payloads("POLL_VOTE_CAST")) == 3


async def test_a_vote_is_withdrawn_once(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    await here.vote(poll, 0, here.ben)
    with pytest.raises(NotFound, match="vote"):
        await here.unvote(poll, 1, here.ben)
    await here.unvote(poll, 0, here.ben)
    with pytest.raises(NotFound, match="vote"):
        await here.unvote(poll, 0, here.ben)
    assert await here.votes(poll) == [set(), set(), set()]
    assert await here.payloads("POLL_VOTE_REMOVED") == [
        {"pollId": str(poll.id), "tripId": str(here.trip), "optionId": str(poll.options[0].id),
         "userId": str(here.ben)}
    ]  # fmt: skip


@pytest.mark.contract("rest-activity.polls.fix-unvote")
async def test_the_deadline_stops_votes_and_withdrawals(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    await here.vote(poll, 0, here.ben, at=EXPIRED - timedelta(microseconds=1))
    for action in (here.vote, here.unvote):
        with pytest.raises(PollExpired):
            await action(poll, 0, here.ben, at=EXPIRED)
    assert await here.votes(poll) == [{here.ben}, set(), set()]


@pytest.mark.contract("rest-activity.polls.unvote")
async def test_a_closed_poll_takes_no_votes(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    closed = await here.close(poll, at=EXPIRED)
    assert (closed.status, closed.closed_by, closed.closed_at) == ("CLOSED", here.ana, EXPIRED)
    for action in (here.vote, here.unvote):
        with pytest.raises(PollClosed):
            await action(poll, 0, here.ben)


async def test_a_blind_ballot_names_neither_voters_nor_options_in_events(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(ballot=model.Ballot.BLIND)
    await here.vote(poll, 0, here.ben)
    await here.unvote(poll, 0, here.ben)
    events = [event for event in await db.events() if event["type"].startswith("POLL_VOTE")]
    assert [(event["actor"], event["payload"]) for event in events] == [
        (None, {"pollId": str(poll.id), "tripId": str(here.trip)})
    ] * 2


@pytest.mark.contract("rest-activity.polls.own-trip")
async def test_options_of_another_poll_and_polls_of_another_trip_are_not_found(db: TripDb) -> None:
    here = await prepare(db)
    poll, other = await here.add(), await here.add()
    elsewhere = Access(await db.trip(here.ana), here.ana, MEMBER)
    with pytest.raises(NotFound, match="option"):
        await here.polls.vote(here.command(here.ben), poll.id, other.options[0].id)
    with pytest.raises(NotFound, match="poll"):
        await here.polls.get(elsewhere, poll.id)
    with pytest.raises(NotFound, match="poll"):
        await here.polls.vote(here.command(here.ben), PollId(uuid4()), PollOptionId(uuid4()))
    await here.polls.delete(here.command(here.ana, own=True), poll.id)
    for gone in (here.close(poll), here.vote(poll, 0, here.ben), here.get(poll)):
        with pytest.raises(NotFound, match="poll"):
            await gone


@pytest.mark.contract("rest-activity.polls.fix-quorum")
async def test_the_quorum_counts_present_members(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    await here.vote(poll, 0, here.ana)
    await here.vote(poll, 1, here.ben)
    await db.leave(here.trip, here.ben, here.ana)
    with pytest.raises(CloseRestricted):  # two have voted, and one of them has left the two others
        await here.close(poll)
    await here.vote(poll, 1, here.eve)
    closed = await here.close(poll)
    assert [len(option.votes) for option in closed.options] == [1, 2, 0]
    assert await here.payloads("POLL_CLOSED") == [
        {"pollId": str(poll.id), "tripId": str(here.trip), "closedBy": str(here.ana),
         "question": "How do we go?"}
    ]  # fmt: skip


@pytest.mark.contract("rest-activity.polls.close.fix-again")
async def test_a_poll_is_closed_once(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add(by=here.eve)
    await db.run("UPDATE trip_memberships SET role = 'ADMIN' WHERE user_id = :id::uuid", id=here.ben)
    closed = await here.close(poll, here.eve, at=EXPIRED)
    assert await here.close(poll, here.eve, at=EXPIRED + timedelta(seconds=2)) == closed
    with pytest.raises(PollClosed):
        await here.close(poll, here.ben, at=EXPIRED)
    assert (await here.types()).count("POLL_CLOSED") == 1


async def test_a_close_beside_a_withdrawal_keeps_the_quorum(db: TripDb) -> None:
    here = await prepare(db)
    others = [PostgresPolls(db.pool) for _ in range(2)]
    for _ in range(8):
        poll = await here.add()
        for user in (here.ana, here.ben, here.eve):
            await here.vote(poll, 0, user)
        outcomes = await asyncio.gather(
            others[0].close(here.command(here.ana, own=True), poll.id),
            others[1].unvote(here.command(here.ben), poll.id, poll.options[0].id),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] in ([model.Poll, PollClosed], [CloseRestricted, type(None)])


async def test_the_question_changes_until_a_member_has_voted(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    changed = await here.polls.change(here.command(here.ana, own=True), poll.id, "And how?")
    assert (changed.question, changed.updated_at) == ("And how?", LATER)
    assert changed == await here.get(poll)
    await here.vote(poll, 0, here.ben)
    with pytest.raises(PollHasVotes):
        await here.polls.change(here.command(here.ana, own=True), poll.id, "Why?")
    same = await here.polls.change(here.command(here.ana, own=True), poll.id, "And how?")
    assert same == await here.get(poll)
    assert [payload["question"] for payload in await here.payloads("POLL_UPDATED")] == ["And how?"]


@pytest.mark.contract("permissions.poll.update-delete")
async def test_members_change_their_own_polls_and_admins_all(db: TripDb) -> None:
    here = await prepare(db)
    dan = await db.user("dan")
    await db.join(here.trip, dan, here.ana, Role.ADMIN)
    bens, anas = await here.add(by=here.ben), await here.add()
    for caller, poll in ((here.ben, bens), (dan, bens)):
        assert (
            await here.polls.change(here.command(caller, own=True), poll.id, f"{caller}?")
        ).created_by == here.ben
    for refused in (
        here.polls.change(here.command(here.ben, own=True), anas.id, "mine"),
        here.close(anas, here.ben, at=EXPIRED),
        here.polls.delete(here.command(here.ben, own=True), anas.id),
    ):
        with pytest.raises(Forbidden):
            await refused
    await here.polls.delete(here.command(dan, own=True), anas.id)
    assert await here.payloads("POLL_DELETED") == [{"pollId": str(anas.id), "tripId": str(here.trip)}]


@pytest.mark.contract("rest-activity.polls.fix-queries")
async def test_pages_are_newest_first_and_one_statement(db: TripDb) -> None:
    here = await prepare(db)
    made = [await here.add(at=NOON + timedelta(seconds=n)) for n in range(5)]
    await here.vote(made[3], 0, here.ben)
    here.sql.statements.clear()
    page = await here.polls.page(Access(here.trip, here.ana, MEMBER), limit=2, offset=1)
    assert here.sql.statements == ["page"]
    assert ([poll.id for poll in page.items], page.total) == ([made[3].id, made[2].id], 5)
    assert [len(option.votes) for option in page.items[0].options] == [1, 0, 0]
    following = await here.polls.page(Access(here.trip, here.ana, MEMBER), limit=9, after=page.last)
    assert ([poll.id for poll in following.items], following.last) == ([made[1].id, made[0].id], None)
    beyond = await here.polls.page(Access(here.trip, here.ana, MEMBER), limit=2, offset=9)
    assert (beyond.items, beyond.total, beyond.last) == ([], 5, None)


async def test_a_page_with_many_votes_ends_early(db: TripDb) -> None:
    here = await prepare(db)
    polls = PostgresPolls(db.pool, max_listed_votes=2)
    made = [await here.add(at=NOON + timedelta(seconds=n)) for n in range(3)]
    for poll in made:
        for user in (here.ana, here.ben):
            await here.vote(poll, 0, user)
    access, after, found = Access(here.trip, here.ana, MEMBER), None, list[PollId]()
    for _ in made:
        page = await polls.page(access, limit=10, after=after)
        found += [poll.id for poll in page.items]
        after = page.last
    assert (found, after) == ([poll.id for poll in reversed(made)], None)


async def test_outsiders_and_former_members_see_nothing_and_do_not_vote(db: TripDb) -> None:
    here = await prepare(db)
    poll = await here.add()
    await db.leave(here.trip, here.ben, here.ana)
    for outsider in (here.ben, await db.user("dan")):
        for refused in (
            here.polls.page(Access(here.trip, outsider, MEMBER), limit=10),
            here.polls.get(Access(here.trip, outsider, MEMBER), poll.id),
            here.vote(poll, 0, outsider),
            here.unvote(poll, 0, outsider),
            here.close(poll, outsider, at=EXPIRED),
            here.polls.delete(here.command(outsider, own=True), poll.id),
        ):
            with pytest.raises(NotTripMember):
                await refused


async def test_concurrent_votes_share_a_statement_and_each_has_its_verdict(db: TripDb) -> None:
    here = await prepare(db)
    poll, other = await here.add(), await here.add()
    dan = await db.user("dan")
    here.sql.statements.clear()
    outcomes = await asyncio.gather(
        here.vote(other, 0, here.ana),  # in flight while the others gather
        here.vote(poll, 0, here.ana),
        here.vote(poll, 1, here.ben),
        here.vote(poll, 0, dan),
        here.vote(poll, 2, here.ben),
        return_exceptions=True,
    )
    assert here.sql.statements == ["vote"] * 2
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [NotTripMember, type(None)]
    assert await here.votes(poll) == [{here.ana}, set(), {here.ben}]
