"""Polls in replies. Fields that the shipped app does not know are absent where its kind of poll needs none."""

from datetime import date, datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from nomadcrew.core.ids import UserId
from nomadcrew.core.polls.model import Answer, Applied, Ballot, Kind, Option, Poll
from nomadcrew.core.polls.tally import Result, Round, result_of


class VoterView(Struct, rename="camel"):
    """A member who voted for an option; `rank` is set in ranked polls."""

    user_id: UUID
    created_at: datetime
    rank: int | UnsetType = UNSET


class AnswerView(Struct, rename="camel"):
    user_id: UUID
    created_at: datetime
    answer: Answer


class OptionView(Struct, rename="camel"):
    """An option with the votes for it; `has_voted` is about the caller, and so are `own_answer` and `own_rank`.

    The days and answers are those of polls of dates, whose voters are the members who answered `yes`.
    """

    id: UUID
    poll_id: UUID
    text: str
    position: int
    created_by: UUID
    created_at: datetime
    vote_count: int
    voters: list[VoterView]
    has_voted: bool
    first_day: date | UnsetType = UNSET
    last_day: date | UnsetType = UNSET
    answers: list[AnswerView] | UnsetType = UNSET
    own_answer: Answer | UnsetType = UNSET
    own_rank: int | UnsetType = UNSET


class CountView(Struct, rename="camel"):
    option_id: UUID
    votes: int


class RoundView(Struct):
    """A round of a ranked count; exhausted ballots have no option that still stands."""

    counts: list[CountView]
    exhausted: int
    dropped: list[UUID]


class AppliedView(Struct, rename="camel", omit_defaults=True):
    """The part of the trip that the winner became; `todo_id` is the to-do's."""

    to: str
    option_id: UUID
    at: datetime
    todo_id: UUID | None = None


class PollView(Struct, rename="camel"):
    """A poll; `user_vote_count` counts the caller's votes. `closed_by` and `closed_at` are absent while it is open.

    Further fields are absent if they have their defaults: the kind `choice`, an `open` ballot, and false. Winners
    are shown once the poll is closed, the rounds of a ranked poll whenever its votes are.
    """

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
    kind: Kind | UnsetType = UNSET
    ballot: Ballot | UnsetType = UNSET
    members_add_options: bool | UnsetType = UNSET
    closes_automatically: bool | UnsetType = UNSET
    winners: list[UUID] | UnsetType = UNSET
    rounds: list[RoundView] | UnsetType = UNSET
    applied: AppliedView | UnsetType = UNSET


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
    result = _visible_result(poll)
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
        kind=UNSET if poll.kind is Kind.CHOICE else poll.kind,
        ballot=UNSET if poll.ballot is Ballot.OPEN else poll.ballot,
        members_add_options=poll.members_add_options or UNSET,
        closes_automatically=poll.closes_automatically or UNSET,
        winners=UNSET if result is None or not poll.is_closed else [*result.winners],
        rounds=UNSET if result is None or not result.rounds else [_round_view(each) for each in result.rounds],
        applied=UNSET if poll.applied is None else _applied_view(poll.applied),
    )


def _option_view(poll: Poll, option: Option, caller: UserId) -> OptionView:
    visible = () if poll.hides_votes else option.votes
    voters = [VoterView(v.user_id, v.created_at, _given(v.rank)) for v in visible if v.is_for]
    answers = [AnswerView(v.user_id, v.created_at, v.answer) for v in visible if v.answer is not None]
    own = next((vote for vote in option.votes if vote.user_id == caller), None)
    return OptionView(
        id=option.id,
        poll_id=poll.id,
        text=option.text,
        position=option.position,
        created_by=option.created_by,
        created_at=option.created_at,
        vote_count=len(voters),
        voters=voters,
        has_voted=own is not None and own.is_for,
        first_day=UNSET if option.days is None else option.days.first,
        last_day=UNSET if option.days is None else option.days.last,
        answers=answers if poll.kind is Kind.DATES and not poll.hides_votes else UNSET,
        own_answer=UNSET if own is None or own.answer is None else own.answer,
        own_rank=UNSET if own is None else _given(own.rank),
    )


def _visible_result(poll: Poll) -> Result | None:
    """The result, if the viewer may see it and the kind of poll, or its end, asks for it."""
    if poll.hides_votes or not (poll.is_closed or poll.kind is Kind.RANKED) or _is_of_the_shipped_app(poll):
        return None
    return result_of(poll)


def _is_of_the_shipped_app(poll: Poll) -> bool:
    return poll.kind is Kind.CHOICE and poll.ballot is Ballot.OPEN and not poll.closes_automatically


def _round_view(counted: Round) -> RoundView:
    counts = [CountView(option_id, votes) for option_id, votes in counted.votes.items()]
    return RoundView(counts, counted.exhausted, [*counted.dropped])


def _applied_view(applied: Applied) -> AppliedView:
    return AppliedView(applied.target, applied.option_id, applied.at, applied.todo_id)


def _given(rank: int | None) -> int | UnsetType:
    return UNSET if rank is None else rank
