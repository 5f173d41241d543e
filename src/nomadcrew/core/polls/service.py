"""Polls: creating, listing, changing, voting and closing."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import EventId, NewId, PollId, PollOptionId, TripId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import rule
from nomadcrew.core.polls.errors import InvalidPoll
from nomadcrew.core.polls.model import (
    DEFAULT_DURATION,
    MAX_DURATION,
    MAX_OPTION,
    MAX_OPTIONS,
    MAX_QUESTION,
    MIN_DURATION,
    MIN_OPTIONS,
    Ballot,
    Kind,
    Option,
    Poll,
    PollDraft,
    PollPage,
    PollStatus,
)
from nomadcrew.core.polls.ports import Polls
from nomadcrew.core.text import comparison_key, is_visible, turns_direction


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
    faults = list(_faults(draft))
    if faults:
        raise InvalidPoll(" ".join(faults), details="; ".join(fault.rstrip(".") for fault in faults))
    duration = DEFAULT_DURATION if draft.duration_minutes is None else timedelta(minutes=draft.duration_minutes)
    poll = Poll(
        id=PollId(new_id()),
        trip_id=trip_id,
        question=draft.question,
        kind=Kind.CHOICE,
        ballot=Ballot.OPEN,
        allow_multiple_votes=draft.allow_multiple_votes,
        members_add_options=False,
        closes_automatically=False,
        status=PollStatus.ACTIVE,
        created_by=caller,
        closed_by=None,
        closed_at=None,
        expires_at=now + duration,
        created_at=now,
        updated_at=now,
        options=[
            Option(PollOptionId(new_id()), text.strip(), position, caller, now)
            for position, text in enumerate(draft.options)
        ],
    )
    event_id = EventId(new_id())
    stored = await polls.add(poll, rule("poll", "create"), event_id, now=now, fingerprint=fingerprint)
    return stored.seen_by(caller)


async def list_polls(
    trip_id: TripId, caller: UserId, *, polls: Polls, limit: int, offset: int = 0, after: After | None = None
) -> PollPage:
    """A page of a trip's polls, newest first."""
    page = await polls.page(Access(trip_id, caller, rule("poll", "read")), limit=limit, offset=offset, after=after)
    return PollPage([poll.seen_by(caller) for poll in page.items], page.total, page.last)


async def get_poll(trip_id: TripId, poll_id: PollId, caller: UserId, *, polls: Polls) -> Poll:
    return (await polls.get(Access(trip_id, caller, rule("poll", "read")), poll_id)).seen_by(caller)


async def change_poll(
    trip_id: TripId, poll_id: PollId, question: str, caller: UserId, *, polls: Polls, new_id: NewId, now: datetime
) -> Poll:
    """Change the question.

    Raises:
        Invalid: the question is empty or too long.
        DomainError: as `Polls.change` says.
    """
    fault = _fault("question", question, MAX_QUESTION)
    if fault is not None:
        raise Invalid(fault, code="invalid_update")
    command = Command(trip_id, caller, rule("poll", "update"), EventId(new_id()), now)
    return (await polls.change(command, poll_id, question)).seen_by(caller)


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


def _faults(draft: PollDraft) -> Iterable[str]:
    """The faults of a draft, as sentences."""
    fault = _fault("question", draft.question, MAX_QUESTION)
    if fault is not None:
        yield fault
    yield from _option_faults(draft.options)
    shortest, longest = (int(duration.total_seconds()) // 60 for duration in (MIN_DURATION, MAX_DURATION))
    if draft.duration_minutes is not None and not shortest <= draft.duration_minutes <= longest:
        yield f"`durationMinutes` must be from {shortest} to {longest}."


def _option_faults(options: Sequence[str]) -> Iterable[str]:
    if not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
        yield f"A poll must have {MIN_OPTIONS} to {MAX_OPTIONS} options."
        return
    faults = (_fault(f"options[{n}]", text.strip(), MAX_OPTION) for n, text in enumerate(options))
    yield from (fault for fault in faults if fault is not None)
    if len({comparison_key(text) for text in options}) < len(options):
        yield "The options must differ in more than upper and lower case."


def _fault(field: str, text: str, longest: int) -> str | None:
    if not is_visible(text) or len(text) > longest:
        return f"`{field}` must have 1 to {longest} characters."
    if turns_direction(text):
        return f"`{field}` must not contain characters that reverse the direction of the text."
    return None
