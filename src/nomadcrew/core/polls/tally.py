"""The result of a poll, counted from its votes. The order of votes and of options never decides.

* A choice is won by the most votes.
* Dates are won by the option that suits the most members, by `yes` or `if need be`; among equals, by the most
  `yes`.
* A ranked poll is counted in rounds. Each ballot counts for the highest of its options that is still standing. An
  option with more than half of these votes wins; otherwise the options with the fewest drop out, together if they
  are several. If only equals are left, they are tied.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from nomadcrew.core.ids import PollOptionId, UserId
from nomadcrew.core.polls.model import Answer, Kind, Option, Poll


class Round(Struct, frozen=True):
    """A round of a ranked count: the votes of each option that stands, the ballots without one, and the drops."""

    votes: Mapping[PollOptionId, int]
    exhausted: int
    dropped: Sequence[PollOptionId]


class Result(Struct, frozen=True):
    """The winners, several if they are tied, none without votes; and the rounds of a ranked poll."""

    winners: Sequence[PollOptionId]
    rounds: Sequence[Round] = ()


def result_of(poll: Poll) -> Result:
    """The result of a poll with all its votes."""
    match poll.kind:
        case Kind.RANKED:
            return run_off([option.id for option in poll.options], list(_ballots(poll.options).values()))
        case Kind.DATES:
            return Result(_best({option.id: _suitability(option) for option in poll.options}))
        case _:
            return Result(_best({option.id: (len(option.votes), 0) for option in poll.options}))


def run_off(options: Sequence[PollOptionId], ballots: Sequence[Sequence[PollOptionId]]) -> Result:
    """Count ballots, each with its options from the first rank down, by instant run-off."""
    rounds: list[Round] = []
    standing = list(options)
    while True:
        firsts = [next((option for option in ballot if option in standing), None) for ballot in ballots]
        votes = {option: firsts.count(option) for option in standing}
        counted = sum(votes.values())
        fewest = min(votes.values(), default=0)
        last = [option for option in standing if votes[option] == fewest]
        winners = [option for option in standing if 2 * votes[option] > counted]
        if not winners and len(last) == len(standing):
            winners = standing if counted else []
        is_over = bool(winners) or not counted
        rounds.append(Round(votes, len(ballots) - counted, () if is_over else last))
        if is_over:
            return Result(winners, rounds)
        standing = [option for option in standing if option not in last]


def _ballots(options: Sequence[Option]) -> Mapping[UserId, Sequence[PollOptionId]]:
    """The ballot of each voter: options by rank; among equal ranks, the earlier vote first."""
    marks = sorted(
        (vote.rank or 0, vote.created_at, option.position, vote.user_id, option.id)
        for option in options
        for vote in option.votes
    )
    ballots: dict[UserId, list[PollOptionId]] = {}
    for _, _, _, user_id, option_id in marks:
        ballots.setdefault(user_id, []).append(option_id)
    return ballots


def _suitability(option: Option) -> tuple[int, int]:
    answers = [vote.answer for vote in option.votes]
    yes = answers.count(Answer.YES)
    return yes + answers.count(Answer.IF_NEED_BE), yes


def _best(scores: Mapping[PollOptionId, tuple[int, int]]) -> Sequence[PollOptionId]:
    best = max(scores.values())
    return [option for option, score in scores.items() if score == best and score[0] > 0]
