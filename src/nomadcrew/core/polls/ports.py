"""Port of polls."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, PollId, PollOptionId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule
from nomadcrew.core.polls.model import Applied, Kind, Mark, Option, Poll, PollPage
from nomadcrew.core.todos.model import Todo
from nomadcrew.core.trips.model import TripChange


class TripOutcome(Struct, frozen=True):
    """The winner as a change of the trip, with the rule for it and the ids of the events of `Trips.change`."""

    change: TripChange
    rule: Rule
    event_ids: tuple[EventId, EventId]


class TodoOutcome(Struct, frozen=True):
    """The winner as a to-do, with the rule for it and the id of its event."""

    todo: Todo
    rule: Rule
    event_id: EventId


class Polls(Protocol):
    """A trip's polls. Events of a write are stored in its transaction.

    Every method raises `NotOnboarded`, `NotTripMember`, `NotFound` (a deleted trip, a poll that is not on the trip)
    and `Forbidden` (below the rule's rank and, if the rule admits creators, not the creator). Polls are returned
    with all their votes, also of blind ballots.
    """

    async def add(self, poll: Poll, rule: Rule, event_id: EventId, *, now: datetime, fingerprint: bytes) -> Poll:
        """Store a poll. A repeat within 30 s, by `fingerprint`, returns the stored one if it still exists."""
        ...

    async def page(self, access: Access, *, limit: int, offset: int = 0, after: After | None = None) -> PollPage:
        """The polls below `after`, newest first, and the number of all."""
        ...

    async def get(self, access: Access, poll_id: PollId) -> Poll: ...

    async def change(self, command: Command, poll_id: PollId, question: str) -> Poll:
        """Change the question. The present question causes no event.

        Raises:
            PollHasVotes: a member has voted.
        """
        ...

    async def delete(self, command: Command, poll_id: PollId) -> None: ...

    async def vote(self, command: Command, poll_id: PollId, option_id: PollOptionId) -> None:
        """Vote for an option: instead of the caller's other vote if the poll allows one, else beside the others.

        In a poll of dates the answer is `yes`; in a ranked one the option gets the caller's next rank. A vote that
        is stored already changes nothing.

        Raises:
            PollClosed, PollExpired: voting is over.
        """
        ...

    async def unvote(self, command: Command, poll_id: PollId, option_id: PollOptionId) -> None:
        """Withdraw the caller's vote for an option.

        Raises:
            PollClosed, PollExpired: voting is over.
            NotFound: the caller has no such vote.
        """
        ...

    async def close(self, command: Command, poll_id: PollId) -> Poll:
        """Close a poll that is expired, or in which every present member has voted.

        A repeat by the user who closed it changes nothing.

        Raises:
            CloseRestricted: it is neither.
            PollClosed: another user has closed it, or it closed automatically.
        """
        ...

    async def cast(self, command: Command, poll_id: PollId, kind: Kind, marks: Sequence[Mark]) -> None:
        """Replace all of the caller's votes in a poll of that kind. The present ballot causes no event.

        Raises:
            PollClosed, PollExpired: voting is over.
            InvalidBallot: the poll is of another kind.
            NotFound: an option is not on the poll.
        """
        ...

    async def add_option(self, command: Command, poll_id: PollId, option: Option) -> bool:
        """Add an option behind the others. False if its text, or its days, are there already.

        Raises:
            PollClosed, PollExpired: voting is over.
            OptionsFixed: the poll has only the options of its creator.
            InvalidPoll: the poll takes days and the option has a text, or the reverse.
            TooManyOptions: the poll has `MAX_OPTIONS_IN_ALL` options.
        """
        ...

    async def apply(
        self, command: Command, poll_id: PollId, applied: Applied, outcome: TripOutcome | TodoOutcome
    ) -> None:
        """Make the winner a part of the trip, with the events of both, in one transaction.

        Raises:
            PollOpen: the poll is not closed.
            AppliedAlready: it was applied before.
            DomainError: as `Trips.change` or `Todos.add` says.
        """
        ...

    async def close_due(self, *, now: datetime, limit: int) -> int:
        """Close expired polls that close automatically, with their events; returns the number. Safe to repeat."""
        ...

    async def remind(self, *, now: datetime, limit: int) -> int:
        """Store an event about each poll whose reminder is due; returns their number. Safe to repeat."""
        ...
