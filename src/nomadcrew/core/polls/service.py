"""Polls: creating, listing, changing, voting and closing."""

from datetime import datetime

from nomadcrew.core.access import Access, Command
from nomadcrew.core.batches import in_batches
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, NewId, PollId, PollOptionId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.polls.drafts import check_draft, deadline_of, text_fault
from nomadcrew.core.polls.model import MAX_QUESTION, Kind, Option, Poll, PollDraft, PollPage, PollStatus
from nomadcrew.core.polls.ports import Polls

JOB_BATCH = 500


async def create_poll(
    trip_id: TripId,
    draft: PollDraft,
    caller: UserId,
    *,
    polls: Polls,
    new_id: NewId,
    now: datetime,
    fingerprint: bytes,
) -> Poll:
    """Create a poll.

    Raises:
        InvalidPoll: a field is empty, too long or out of range.
        DomainError: as `Polls` says.
    """
    check_draft(draft, now)
    options = [(text.strip(), None) for text in draft.options] + [(days.text, days) for days in draft.days]
    poll = Poll(
        id=PollId(new_id()),
        trip_id=trip_id,
        question=draft.question,
        kind=draft.kind,
        ballot=draft.ballot,
        allow_multiple_votes=draft.allow_multiple_votes or draft.kind is not Kind.CHOICE,
        members_add_options=draft.members_add_options,
        closes_automatically=draft.closes_automatically,
        status=PollStatus.ACTIVE,
        created_by=caller,
        closed_by=None,
        closed_at=None,
        expires_at=deadline_of(draft, now),
        created_at=now,
        updated_at=now,
        options=[
            Option(PollOptionId(new_id()), text, position, caller, now, days)
            for position, (text, days) in enumerate(options)
        ],
    )
    event_id = EventId(new_id())
    stored = await polls.add(poll, rule("poll", "create"), event_id, now=now, fingerprint=fingerprint)
    return stored.at(now).seen_by(caller)


async def list_polls(
    trip_id: TripId,
    caller: UserId,
    *,
    polls: Polls,
    now: datetime,
    limit: int,
    offset: int = 0,
    after: After | None = None,
) -> PollPage:
    """A page of a trip's polls, newest first."""
    page = await polls.page(Access(trip_id, caller, rule("poll", "read")), limit=limit, offset=offset, after=after)
    return PollPage([poll.at(now).seen_by(caller) for poll in page.items], page.total, page.last)


async def get_poll(trip_id: TripId, poll_id: PollId, caller: UserId, *, polls: Polls, now: datetime) -> Poll:
    poll = await polls.get(Access(trip_id, caller, rule("poll", "read")), poll_id)
    return poll.at(now).seen_by(caller)


async def change_poll(
    trip_id: TripId, poll_id: PollId, question: str, caller: UserId, *, polls: Polls, new_id: NewId, now: datetime
) -> Poll:
    """Change the question.

    Raises:
        Invalid: the question is empty or too long.
        DomainError: as `Polls.change` says.
    """
    fault = text_fault("question", question, MAX_QUESTION)
    if fault is not None:
        raise Invalid(fault, code="invalid_update")
    command = Command(trip_id, caller, rule("poll", "update"), EventId(new_id()), now)
    return (await polls.change(command, poll_id, question)).at(now).seen_by(caller)


async def delete_poll(
    trip_id: TripId, poll_id: PollId, caller: UserId, *, polls: Polls, new_id: NewId, now: datetime
) -> None:
    await polls.delete(Command(trip_id, caller, rule("poll", "delete"), EventId(new_id()), now), poll_id)


async def vote(
    trip_id: TripId,
    poll_id: PollId,
    option_id: PollOptionId,
    caller: UserId,
    *,
    polls: Polls,
    new_id: NewId,
    now: datetime,
) -> None:
    """Vote for an option, as `Polls.vote` says."""
    await polls.vote(Command(trip_id, caller, rule("poll", "vote"), EventId(new_id()), now), poll_id, option_id)


async def unvote(
    trip_id: TripId,
    poll_id: PollId,
    option_id: PollOptionId,
    caller: UserId,
    *,
    polls: Polls,
    new_id: NewId,
    now: datetime,
) -> None:
    """Withdraw a vote, as `Polls.unvote` says."""
    await polls.unvote(Command(trip_id, caller, rule("poll", "vote"), EventId(new_id()), now), poll_id, option_id)


async def close_poll(
    trip_id: TripId, poll_id: PollId, caller: UserId, *, polls: Polls, new_id: NewId, now: datetime
) -> Poll:
    """Close a poll, as `Polls.close` says."""
    command = Command(trip_id, caller, rule("poll", "close"), EventId(new_id()), now)
    return (await polls.close(command, poll_id)).seen_by(caller)


async def close_due(*, polls: Polls, now: datetime) -> int:
    """Close all expired polls that close automatically; returns their number."""
    return await in_batches(lambda: polls.close_due(now=now, limit=JOB_BATCH), JOB_BATCH)


async def remind(*, polls: Polls, now: datetime) -> int:
    """Announce all polls whose reminder is due; returns their number."""
    return await in_batches(lambda: polls.remind(now=now, limit=JOB_BATCH), JOB_BATCH)
