"""The port of feedback."""

from collections.abc import Sequence
from typing import Protocol

from nomadcrew.core.feedback.model import Feedback


class FeedbackBox(Protocol):
    async def add(self, feedback: Feedback) -> None:
        """Store feedback. Safe to repeat."""
        ...

    async def list_newest(self, *, limit: int) -> Sequence[Feedback]:
        """Newest first."""
        ...
