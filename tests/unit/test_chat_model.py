"""Valid texts of messages and reactions."""

import pytest

from nomadcrew.core.chat.model import checked_emoji, checked_text
from nomadcrew.core.errors import Invalid

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


@pytest.mark.parametrize(
    "emoji", ["\U0001f44d", "\u2764\ufe0f", FAMILY, "\U0001f44d\U0001f3fd", "+1", "\U0001fae8"]
)
def test_a_valid_emoji_is_unchanged(emoji: str) -> None:
    assert checked_emoji(emoji) == emoji


@pytest.mark.parametrize("emoji", ["", " ", "\x07", "\u200b", "\u200d\u200d", "\n+1", "\x00", "x" * 11])
def test_an_invisible_reaction_is_refused(emoji: str) -> None:
    with pytest.raises(Invalid):
        checked_emoji(emoji)


@pytest.mark.parametrize("text", ["", " \n", "\u200b\u200b", "\ufeff", "\u202e \u200e", "\x07"])
def test_an_invisible_message_is_empty(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_text(text)
    assert refused.value.code == "empty_message"
    assert checked_text(text, may_be_empty=True) == ""


def test_a_text_keeps_line_breaks_and_joined_emoji() -> None:
    assert checked_text(f" two\nlines {FAMILY}\t") == f"two\nlines {FAMILY}"
