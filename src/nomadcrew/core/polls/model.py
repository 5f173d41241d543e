"""A poll, its options and votes."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.core.ids import PollId, PollOptionId, TripId, UserId
from nomadcrew.core.pages import After

MAX_QUESTION = 500  # characters
MAX_OPTION = 200  # characters
MIN_OPTIONS, MAX_OPTIONS = 2, 20
# Of all votes on a page: some 600 KB. A page that would have more ends early.
MAX_LISTED_VOTES = 6_000
MIN_DURATION = timedelta(minutes=5)
DEFAULT_DURATION = timedelta(days=1)
MAX_DURATION = timedelta(minutes=2_880)


class Kind(StrEnum):
    CHOICE = "choice"
    DATES = "dates"  # each option is a span of days, and each answer yes, if need be or no
    RANKED = "ranked"  # the voters order the options; the count is an instant run-off


class Ballot(StrEnum):
    OPEN = "open"
    BLIND = "blind"  # votes and counts are hidden until the poll is closed


class PollStatus(StrEnum):
    ACTIVE = "ACTIVE"
    CLOSED = "CLOSED"


class Answer(StrEnum):
    YES = "yes"
    IF_NEED_BE = "ifNeedBe"
    NO = "no"


class Days(Struct, frozen=True):
    """Calendar days, the last one included."""

    first: date
    last: date


class Vote(Struct, frozen=True, array_like=True):
    """A member's vote for an option. `answer` is set in polls of dates, `rank` in ranked ones, from 1.

    In JSON it is an array: a page has thousands of them.
    """

    user_id: UserId
    created_at: datetime
    answer: Answer | None = None
    rank: int | None = None

    @property
    def is_for(self) -> bool:
        """True if the vote counts for its option; a `no`, and an `if need be`, do not."""
        return self.answer in (None, Answer.YES)


class Option(Struct, frozen=True):
    """An option of a poll, with its votes, the oldest first."""

    id: PollOptionId
    text: str
    position: int
    created_by: UserId
    created_at: datetime
    days: Days | None = None
    votes: tuple[Vote, ...] = ()


class Poll(Struct, frozen=True):
    """A poll as stored, with its options by position.

    `expires_at` ends voting. The status stays ACTIVE until a member closes the poll, unless it closes
    automatically.
    """

    id: PollId
    trip_id: TripId
    question: str
    kind: Kind
    ballot: Ballot
    allow_multiple_votes: bool
    members_add_options: bool
    closes_automatically: bool
    status: PollStatus
    created_by: UserId
    closed_by: UserId | None
    closed_at: datetime | None
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    options: Sequence[Option]

    @property
    def is_closed(self) -> bool:
        return self.status is PollStatus.CLOSED

    @property
    def hides_votes(self) -> bool:
        return self.ballot is Ballot.BLIND and not self.is_closed

    def seen_by(self, viewer: UserId) -> "Poll":
        """The poll without the votes that the viewer may not see."""
        if not self.hides_votes:
            return self
        return replace(
            self,
            options=[
                replace(option, votes=tuple(vote for vote in option.votes if vote.user_id == viewer))
                for option in self.options
            ],
        )


class PollPage(Struct, frozen=True):
    """A page of a trip's polls, newest first; `total` counts all of them, `last` is its end if more may follow."""

    items: Sequence[Poll]
    total: int
    last: After | None


class PollDraft(Struct, frozen=True):
    """A poll as a member wants it; `duration_minutes` None means a day."""

    question: str
    options: Sequence[str] = ()
    allow_multiple_votes: bool = False
    duration_minutes: int | None = None
