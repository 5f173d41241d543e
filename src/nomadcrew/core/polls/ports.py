"""Port of polls."""

from datetime import datetime
from typing import Protocol

from nomadcrew.core.access import Access, Command
from nomadcrew.core.ids import EventId, PollId, PollOptionId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule
from nomadcrew.core.polls.model import Poll, PollPage


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
