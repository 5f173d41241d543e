"""The count of polls: examples worked by hand, and properties of every count."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nomadcrew.core.ids import PollId, PollOptionId, TripId, UserId
from nomadcrew.core.polls.model import Answer, Ballot, Kind, Option, Poll, PollStatus, Vote
from nomadcrew.core.polls.tally import result_of, run_off
from tests.fakes import ANA, NOON

NAMES = "ABCDEF"
ID = {name: PollOptionId(UUID(int=number)) for number, name in enumerate(NAMES)}
NAME = {id_: name for name, id_ in ID.items()}
YES, MAYBE, NO = Answer.YES, Answer.IF_NEED_BE, Answer.NO


def ids(names: str) -> list[PollOptionId]:
    return [ID[name] for name in names]


def names(options: Sequence[PollOptionId]) -> str:
    return "".join(NAME[option] for option in options)


def counted(options: str, *ballots: str) -> tuple[str, list[tuple[str, int, str]]]:
    """The winners, and of each round the votes as `A2B1`, the exhausted ballots and the drops."""
    result = run_off(ids(options), [ids(ballot) for ballot in ballots])
    rounds = [
        ("".join(f"{NAME[option]}{votes}" for option, votes in each.votes.items()), each.exhausted,
         names(each.dropped))
        for each in result.rounds
    ]  # fmt: skip
    return names(result.winners), rounds


def test_a_majority_of_first_ranks_wins_at_once() -> None:
    assert counted("ABC", "AB", "AC", "B") == ("A", [("A2B1C0", 0, "")])


def test_the_last_option_drops_out_and_its_ballots_move_on() -> None:
    # A leads with 4 of 9, and C's two voters prefer B.
    ballots = ["A"] * 4 + ["BC"] * 3 + ["CBA"] * 2
    assert counted("ABC", *ballots) == ("B", [("A4B3C2", 0, "C"), ("A4B5", 0, "")])


def test_a_ballot_without_an_option_that_stands_is_exhausted() -> None:
    ballots = ["A"] * 4 + ["B"] * 3 + ["C"] * 2
    assert counted("ABC", *ballots) == ("A", [("A4B3C2", 0, "C"), ("A4B3", 2, "")])


def test_a_ballot_moves_on_more_than_once() -> None:
    # D drops out for C, then C for B.
    ballots = ["A"] * 5 + ["B"] * 4 + ["CB"] * 2 + ["DCB"]
    assert counted("ABCD", *ballots) == ("B", [("A5B4C2D1", 0, "D"), ("A5B4C3", 0, "C"), ("A5B7", 0, "")])


def test_equal_last_options_drop_out_together() -> None:
    ballots = ["A"] * 3 + ["B"] * 2 + ["CB", "DB"]
    assert counted("ABCD", *ballots) == ("B", [("A3B2C1D1", 0, "CD"), ("A3B4", 0, "")])


def test_equals_that_are_left_are_tied() -> None:
    assert counted("ABC", "A", "B") == ("AB", [("A1B1C0", 0, "C"), ("A1B1", 0, "")])


def test_a_ranked_poll_without_ballots_has_no_winner() -> None:
    assert counted("AB") == ("", [("A0B0", 0, "")])


def a_poll(kind: Kind, votes: dict[str, list[Vote]]) -> Poll:
    options = [
        Option(ID[name], name, position, ANA, NOON, votes=tuple(cast))
        for position, (name, cast) in enumerate(votes.items())
    ]
    return Poll(
        PollId(UUID(int=1)), TripId(UUID(int=2)), "?", kind, Ballot.OPEN, True, False, False, PollStatus.CLOSED,
        ANA, ANA, NOON, NOON, NOON, NOON, options,
    )  # fmt: skip


def user(number: int) -> UserId:
    return UserId(UUID(int=100 + number))


def answers(*given_: Answer) -> list[Vote]:
    return [Vote(user(number), NOON, answer) for number, answer in enumerate(given_)]


@pytest.mark.parametrize(
    ("votes", "winners"),
    [
        ({"A": answers(YES, YES, NO), "B": answers(YES, MAYBE, MAYBE)}, "B"),  # B suits all three
        ({"A": answers(YES, MAYBE), "B": answers(YES, YES)}, "B"),  # both suit two, B better
        ({"A": answers(YES, MAYBE), "B": answers(MAYBE, YES)}, "AB"),
        ({"A": answers(NO, NO), "B": []}, ""),
        ({"A": answers(MAYBE), "B": answers(NO)}, "A"),
    ],
)
def test_dates_are_won_by_those_that_suit_the_most(votes: dict[str, list[Vote]], winners: str) -> None:
    assert names(result_of(a_poll(Kind.DATES, votes)).winners) == winners


@pytest.mark.parametrize(("counts", "winners"), [((2, 1, 0), "A"), ((1, 2, 2), "BC"), ((0, 0, 0), "")])
def test_a_choice_is_won_by_the_most_votes(counts: tuple[int, ...], winners: str) -> None:
    votes = {name: [Vote(user(n), NOON) for n in range(count)] for name, count in zip("ABC", counts, strict=True)}
    assert names(result_of(a_poll(Kind.CHOICE, votes)).winners) == winners


BALLOTS = st.lists(
    st.permutations(NAMES).flatmap(lambda p: st.integers(0, 6).map(lambda n: "".join(p[:n]))), max_size=12
)


def ranked(ballots: Sequence[str]) -> Poll:
    """A poll whose votes have the ranks of these ballots."""
    votes: dict[str, list[Vote]] = {name: [] for name in NAMES}
    for number, ballot in enumerate(ballots):
        for rank, name in enumerate(ballot, start=1):
            votes[name].append(Vote(user(number), NOON + timedelta(seconds=number), rank=rank))
    return a_poll(Kind.RANKED, votes)


@given(BALLOTS)
def test_every_round_counts_every_ballot_once_and_drops_until_the_end(ballots: Sequence[str]) -> None:
    result = run_off(ids(NAMES), [ids(ballot) for ballot in ballots])
    standing = ids(NAMES)
    for number, each in enumerate(result.rounds):
        assert list(each.votes) == standing
        assert sum(each.votes.values()) + each.exhausted == len(ballots)
        is_last = number == len(result.rounds) - 1
        assert bool(each.dropped) != is_last
        assert all(each.votes[option] == min(each.votes.values()) for option in each.dropped)
        standing = [option for option in standing if option not in each.dropped]
    assert set(result.winners) <= set(result.rounds[-1].votes)
    assert bool(result.winners) == any(ballots)


@given(BALLOTS)
def test_an_option_with_most_first_ranks_wins(ballots: Sequence[str]) -> None:
    firsts = Counter(ballot[0] for ballot in ballots if ballot)
    result = run_off(ids(NAMES), [ids(ballot) for ballot in ballots])
    for name, votes in firsts.items():
        if 2 * votes > firsts.total():
            assert names(result.winners) == name


@given(BALLOTS, st.randoms(use_true_random=False))
def test_the_count_is_the_same_from_the_stored_votes_in_any_order(ballots: Sequence[str], random: Random) -> None:
    poll = ranked(ballots)
    expected = run_off(ids(NAMES), [ids(ballot) for ballot in ballots if ballot])
    assert result_of(poll) == expected
    mixed = [
        replace(option, votes=tuple(random.sample(option.votes, len(option.votes)))) for option in poll.options
    ]
    random.shuffle(mixed)
    assert set(result_of(replace(poll, options=mixed)).winners) == set(expected.winners)


@given(st.lists(st.lists(st.sampled_from([YES, MAYBE, NO]), min_size=3, max_size=3), max_size=8))
def test_no_option_suits_more_members_than_the_winner(rows: list[list[Answer]]) -> None:
    votes = {name: [Vote(user(n), NOON, row[at]) for n, row in enumerate(rows)] for at, name in enumerate("ABC")}
    suits = {name: sum(vote.answer is not NO for vote in cast) for name, cast in votes.items()}
    winners = names(result_of(a_poll(Kind.DATES, votes)).winners)
    assert {suits[name] for name in winners} <= {max(suits.values())}
    assert bool(winners) == any(suits.values())
