"""A poll, its options and votes."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.core.ids import PollId, PollOptionId, TodoId, TripId, UserId
from nomadcrew.core.pages import After

MAX_QUESTION = 500  # characters
MAX_OPTION = 200  # characters
MIN_OPTIONS, MAX_OPTIONS = 2, 20
# With the options that members added.
MAX_OPTIONS_IN_ALL = 40
# Of all votes on a page: some 600 KB. A page that would have more ends early.
MAX_LISTED_VOTES = 6_000
MIN_DURATION = timedelta(minutes=5)
DEFAULT_DURATION = timedelta(days=1)
MAX_DURATION = timedelta(minutes=2_880)
MAX_DEADLINE = timedelta(days=90)
REMINDED_BEFORE = timedelta(days=1)
# A poll that was created more recently needs no reminder.
MIN_AGE_OF_REMINDER = timedelta(hours=1)


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


class Target(StrEnum):
    """The part of the trip that the winner becomes."""

    DATES = "dates"
    DESTINATION = "destination"
    TODO = "todo"


class Days(Struct, frozen=True):
    """Calendar days, the last one included."""

    first: date
    last: date

    @property
    def text(self) -> str:
        """The days as members read them, such as "1 Dec 2026 – 3 Dec 2026"."""
        texts = [f"{day.day} {_MONTHS[day.month - 1]} {day.year}" for day in (self.first, self.last)]
        return texts[0] if self.first == self.last else " – ".join(texts)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


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


class Mark(Struct, frozen=True):
    """A part of a ballot: the answer to an option, or its rank from 1."""

    option_id: PollOptionId
    answer: Answer | None = None
    rank: int | None = None


class Applied(Struct, frozen=True):
    """The winner as a part of the trip. `todo_id` is set if it became a to-do."""

    target: Target
    option_id: PollOptionId
    at: datetime
    todo_id: TodoId | None = None


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
    applied: Applied | None = None

    @property
    def is_closed(self) -> bool:
        return self.status is PollStatus.CLOSED

    @property
    def hides_votes(self) -> bool:
        return self.ballot is Ballot.BLIND and not self.is_closed

    @property
    def remind_at(self) -> datetime | None:
        """The time to remind members who have not voted; None if the poll is too short for a reminder."""
        at = self.expires_at - REMINDED_BEFORE
        return at if at >= self.created_at + MIN_AGE_OF_REMINDER else None

    def at(self, now: datetime) -> "Poll":
        """The poll at that time: closed from its deadline on if it closes automatically, stored or not."""
        if self.is_closed or not self.closes_automatically or now < self.expires_at:
            return self
        return replace(self, status=PollStatus.CLOSED, closed_at=self.expires_at)

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
    """A poll as a member wants it, with texts or days as options.

    Voting ends after `duration_minutes`, or at `expires_at`, or after a day.
    """

    question: str
    options: Sequence[str] = ()
    allow_multiple_votes: bool = False
    duration_minutes: int | None = None
    kind: Kind = Kind.CHOICE
    ballot: Ballot = Ballot.OPEN
    days: Sequence[Days] = ()
    members_add_options: bool = False
    closes_automatically: bool = False
    expires_at: datetime | None = None
