"""Whole ballots, and the options that members add."""

from collections.abc import Sequence
from datetime import datetime

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, NewId, PollId, PollOptionId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.polls.drafts import days_fault, text_fault
from nomadcrew.core.polls.errors import InvalidBallot, InvalidPoll
from nomadcrew.core.polls.model import MAX_OPTION, MAX_OPTIONS_IN_ALL, Days, Kind, Mark, Option, Poll
from nomadcrew.core.polls.ports import Polls


async def cast_ballot(
    trip_id: TripId,
    poll_id: PollId,
    kind: Kind,
    marks: Sequence[Mark],
    caller: UserId,
    *,
    polls: Polls,
    new_id: NewId,
    now: datetime,
) -> None:
    """Replace all of the caller's votes in a poll of dates or a ranked one; without marks, withdraw them.

    Raises:
        InvalidBallot: an option is marked twice, or there are too many.
        DomainError: as `Polls.cast` says.
    """
    if len({mark.option_id for mark in marks}) < len(marks) or len(marks) > MAX_OPTIONS_IN_ALL:
        raise InvalidBallot("A ballot must name each option at most once.")
    command = Command(trip_id, caller, rule("poll", "vote"), EventId(new_id()), now)
    await polls.cast(command, poll_id, kind, marks)


async def add_option(
    trip_id: TripId,
    poll_id: PollId,
    option: str | Days,
    caller: UserId,
    *,
    polls: Polls,
    new_id: NewId,
    now: datetime,
) -> Poll:
    """Add an option to an open poll whose creator allowed it; returns the poll.

    Raises:
        InvalidPoll: the option is empty, too long or ends before it starts.
        DomainError: as `Polls.add_option` says.
    """
    if isinstance(option, Days):
        fault, text, days = days_fault("days", option), option.text, option
    else:
        fault, text, days = text_fault("text", option.strip(), MAX_OPTION), option.strip(), None
    if fault is not None:
        raise InvalidPoll(fault)
    command = Command(trip_id, caller, rule("poll", "add_option"), EventId(new_id()), now)
    await polls.add_option(command, poll_id, Option(PollOptionId(new_id()), text, 0, caller, now, days))
    poll = await polls.get(Access(trip_id, caller, rule("poll", "read")), poll_id)
    return poll.at(now).seen_by(caller)
