"""Texts that are cut stay readable: no character of a reader is cut in half."""

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from nomadcrew.core.graphemes import shortened

WHOLE = [
    "\U0001f1f5\U0001f1f9", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3",
    "\U0001f44d\U0001f3fd",
    "e\u0301\u0323", "น้ำ", "क्षि", "\u1112\u1161\u11ab",
]  # fmt: skip


@pytest.mark.parametrize("whole", WHOLE)
@pytest.mark.parametrize("limit", range(12, 26))
def test_a_text_is_cut_before_or_after_a_grapheme(whole: str, limit: int) -> None:
    graphemes = ["x"] * 11 + [whole] * 9
    found = shortened("".join(graphemes), limit)
    assert len(found) <= limit
    assert found.endswith("…")
    assert found.removesuffix("…") in {"".join(graphemes[:count]) for count in range(len(graphemes))}


@pytest.mark.parametrize("flags", range(1, 8))
def test_flags_are_cut_in_pairs(flags: int) -> None:
    found = shortened("\U0001f1f5\U0001f1f9" * 20, 2 * flags + 1)
    assert found == "\U0001f1f5\U0001f1f9" * flags + "…"


@given(st.text(), st.integers(2, 40))
def test_a_text_is_cut_only_if_it_is_too_long(text: str, limit: int) -> None:
    found = shortened(text, limit)
    assert found == text if len(text) <= limit else len(found) <= limit


def test_a_grapheme_longer_than_the_limit_is_cut_itself() -> None:
    assert shortened("a" + "\u0301" * 500, 10) == "a" + "\u0301" * 8 + "…"


def test_the_library_knows_graphemes_as_unicode_does() -> None:
    assert [len(regex.findall(r"\X", whole)) for whole in WHOLE[:7]] == [1] * 7
