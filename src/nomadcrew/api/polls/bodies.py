"""Bodies of the poll routes."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from nomadcrew.core.ids import UserId
from nomadcrew.core.polls.model import Option, Poll, PollDraft


class NewPollIn(Struct, rename="camel"):
    """A poll to create.

    A question of 1 to 500 characters, 2 to 20 options of 1 to 200 characters, and a duration from 5 to 2880
    minutes, by default a day.
    """

    question: str
    options: list[str]
    allow_multiple_votes: bool = False
    duration_minutes: int | None = None

    def to_draft(self) -> PollDraft:
        return PollDraft(
            question=self.question,
            options=self.options,
            allow_multiple_votes=self.allow_multiple_votes,
            duration_minutes=self.duration_minutes,
        )


class PollChangeIn(Struct):
    question: str


class VoteIn(Struct, rename="camel"):
    option_id: str


class VoterView(Struct, rename="camel"):
    user_id: UUID
    created_at: datetime


class OptionView(Struct, rename="camel"):
    """An option with the votes for it; `has_voted` is about the caller."""

    id: UUID
    poll_id: UUID
    text: str
    position: int
    created_by: UUID
    created_at: datetime
    vote_count: int
    voters: list[VoterView]
    has_voted: bool


class PollView(Struct, rename="camel"):
    """A poll; `user_vote_count` counts the caller's votes. The last two fields are absent while it is open."""

    id: UUID
    trip_id: UUID
    question: str
    status: str
    allow_multiple_votes: bool
    created_by: UUID
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    options: list[OptionView]
    total_votes: int
    user_vote_count: int
    closed_by: UUID | UnsetType = UNSET
    closed_at: datetime | UnsetType = UNSET


class Pagination(Struct):
    limit: int
    offset: int
    total: int


class PollPageView(Struct):
    data: list[PollView]
    pagination: Pagination


class MessageView(Struct):
    message: str


def poll_view(poll: Poll, caller: UserId) -> PollView:
    options = [_option_view(poll, option, caller) for option in poll.options]
    return PollView(
        id=poll.id,
        trip_id=poll.trip_id,
        question=poll.question,
        status=poll.status,
        allow_multiple_votes=poll.allow_multiple_votes,
        created_by=poll.created_by,
        expires_at=poll.expires_at,
        created_at=poll.created_at,
        updated_at=poll.updated_at,
        options=options,
        total_votes=sum(option.vote_count for option in options),
        user_vote_count=sum(option.has_voted for option in options),
        closed_by=UNSET if poll.closed_by is None else poll.closed_by,
        closed_at=UNSET if poll.closed_at is None else poll.closed_at,
    )


def _option_view(poll: Poll, option: Option, caller: UserId) -> OptionView:
    shown = [] if poll.hides_votes else [vote for vote in option.votes if vote.is_for]
    return OptionView(
        id=option.id,
        poll_id=poll.id,
        text=option.text,
        position=option.position,
        created_by=option.created_by,
        created_at=option.created_at,
        vote_count=len(shown),
        voters=[VoterView(vote.user_id, vote.created_at) for vote in shown],
        has_voted=any(vote.user_id == caller and vote.is_for for vote in option.votes),
    )
