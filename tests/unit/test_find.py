"""Excerpts and the order of matches of a search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nomadcrew.core.find.model import MAX_EXCERPT, Kind, Match, cut, excerpt
from nomadcrew.core.ids import uuid7
from nomadcrew.core.permissions import rule
from nomadcrew.core.text import search_key
from tests.fakes import NOON

LONG = "so much to say about it, " * 20


def test_a_short_text_is_its_own_excerpt_on_one_line() -> None:
    assert excerpt(" by\n the   river ", ["river"]) == "by the river"


def test_a_long_text_is_cut_around_its_first_match_at_words() -> None:
    shown = excerpt(f"{LONG}the Café by the river. {LONG}", ["river", "cafe"])
    assert shown.startswith("…about it, so much to say about it, the Café by the river. so much")
    assert shown.endswith("…")
    assert len(shown) <= MAX_EXCERPT


def test_a_match_at_the_beginning_needs_no_mark_before_it() -> None:
    shown = excerpt(f"Café, {LONG}", ["cafe"])
    assert shown.startswith("Café, so much")
    assert shown.endswith("…")


def test_a_match_at_the_end_is_shown_with_the_words_before_it() -> None:
    assert excerpt(f"{LONG}tent", ["tent"]) == "…say about it, so much to say about it, tent"


def test_a_match_in_a_text_without_spaces_begins_the_excerpt() -> None:
    assert excerpt("x" * 400 + "tent" + "y" * 10, ["tent"]) == "…tentyyyyyyyyyy"


def test_a_text_without_a_match_is_shown_from_its_beginning() -> None:
    assert excerpt(LONG, ["tent"]).startswith("so much to say")


@given(st.text(max_size=600), st.text(max_size=600), st.sampled_from(["tent", "Straße", "Łódź", "νίκος", "น้ำฝน"]))
def test_an_excerpt_is_bounded_and_has_the_match(before: str, after: str, word: str) -> None:
    text = f"{before} {word} {after}"
    shown = excerpt(text, [search_key(word)])
    assert len(shown) <= MAX_EXCERPT
    assert search_key(word) in search_key(shown)


def test_matches_are_in_the_order_of_their_kinds_and_cut_in_each() -> None:
    def match(kind: Kind) -> Match:
        return Match(kind, uuid7(), "", None, NOON)

    messages = [match(Kind.MESSAGE) for _ in range(3)]
    todos, member = [match(Kind.TODO) for _ in range(2)], match(Kind.MEMBER)
    found = cut([*messages, *todos, member], 2, [Kind.POLL])
    assert found.matches == [member, *todos, *messages[:2]]
    assert found.more == {Kind.MESSAGE, Kind.POLL}


@pytest.mark.parametrize("resource", ["chat", "todo", "poll", "document", "member"])
def test_the_rule_of_the_search_is_no_lower_than_those_of_its_results(resource: str) -> None:
    assert rule("trip", "find").min_rank >= rule(resource, "read").min_rank
