"""Cuts texts between graphemes: the characters as readers see them, which may have several code points."""

from itertools import takewhile

# In code points: emoji sequences have about ten, and longer graphemes are piled-up marks.
_LONGEST = 64


def shortened(text: str, limit: int) -> str:
    """`text` in at most `limit` code points, with `…` for the rest, cut between graphemes.

    Only a grapheme that is longer than the limit is cut itself.
    """
    if len(text) <= limit:
        return text
    # Its tables take 15 milliseconds, which short texts do not need.
    import regex

    ends = (grapheme.end() for grapheme in regex.finditer(r"\X", text[: limit + _LONGEST]))
    end = max(takewhile(lambda end: end < limit, ends), default=limit - 1)
    return text[:end].rstrip() + "…"
