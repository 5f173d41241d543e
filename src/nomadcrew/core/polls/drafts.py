"""The check of a new poll: all faults are reported at once."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from nomadcrew.core.polls.errors import InvalidPoll
from nomadcrew.core.polls.model import (
    DEFAULT_DURATION,
    MAX_DEADLINE,
    MAX_DURATION,
    MAX_OPTION,
    MAX_OPTIONS,
    MAX_QUESTION,
    MIN_DURATION,
    MIN_OPTIONS,
    Days,
    Kind,
    PollDraft,
)
from nomadcrew.core.text import comparison_key, is_visible, turns_direction


def check_draft(draft: PollDraft, now: datetime) -> None:
    """Check a new poll.

    Raises:
        InvalidPoll: a field is empty, too long or out of range.
    """
    faults = list(_faults(draft, now))
    if faults:
        raise InvalidPoll(" ".join(faults), details="; ".join(fault.rstrip(".") for fault in faults))


def deadline_of(draft: PollDraft, now: datetime) -> datetime:
    """The end of voting of a checked draft."""
    if draft.expires_at is not None:
        return draft.expires_at
    if draft.duration_minutes is not None:
        return now + timedelta(minutes=draft.duration_minutes)
    return now + DEFAULT_DURATION


def text_fault(field: str, text: str, longest: int) -> str | None:
    """The fault of a text as a sentence; None if it has none."""
    if not is_visible(text) or len(text) > longest:
        return f"`{field}` must have 1 to {longest} characters."
    if turns_direction(text):
        return f"`{field}` must not contain characters that reverse the direction of the text."
    return None


def days_fault(field: str, days: Days) -> str | None:
    """The fault of a span of days as a sentence; None if it has none."""
    return f"`{field}` must not end before it starts." if days.last < days.first else None


def _faults(draft: PollDraft, now: datetime) -> Iterable[str]:
    fault = text_fault("question", draft.question, MAX_QUESTION)
    if fault is not None:
        yield fault
    if draft.kind is Kind.DATES:
        yield from _days_faults(draft)
    else:
        yield from _option_faults(draft)
    yield from _deadline_faults(draft, now)


def _option_faults(draft: PollDraft) -> Iterable[str]:
    if draft.days:
        yield "Only a poll of dates has `days`."
    if not _are_enough(draft.options):
        yield f"A poll must have {MIN_OPTIONS} to {MAX_OPTIONS} options."
        return
    faults = (text_fault(f"options[{n}]", text.strip(), MAX_OPTION) for n, text in enumerate(draft.options))
    yield from (fault for fault in faults if fault is not None)
    if len({comparison_key(text) for text in draft.options}) < len(draft.options):
        yield "The options must differ in more than upper and lower case."


def _days_faults(draft: PollDraft) -> Iterable[str]:
    if draft.options:
        yield "A poll of dates has `days` instead of `options`."
    if not _are_enough(draft.days):
        yield f"A poll of dates must have {MIN_OPTIONS} to {MAX_OPTIONS} `days`."
        return
    faults = (days_fault(f"days[{n}]", days) for n, days in enumerate(draft.days))
    yield from (fault for fault in faults if fault is not None)
    if len(set(draft.days)) < len(draft.days):
        yield "The `days` must differ."


def _deadline_faults(draft: PollDraft, now: datetime) -> Iterable[str]:
    shortest, longest = (int(duration.total_seconds()) // 60 for duration in (MIN_DURATION, MAX_DURATION))
    if draft.duration_minutes is not None and not shortest <= draft.duration_minutes <= longest:
        yield f"`durationMinutes` must be from {shortest} to {longest}."
    if draft.expires_at is None:
        return
    if draft.duration_minutes is not None:
        yield "Send either `durationMinutes` or `expiresAt`."
    if not MIN_DURATION <= draft.expires_at - now <= MAX_DEADLINE:
        yield f"`expiresAt` must be {shortest} minutes to {MAX_DEADLINE.days} days from now."


def _are_enough(options: Sequence[object]) -> bool:
    return MIN_OPTIONS <= len(options) <= MAX_OPTIONS
