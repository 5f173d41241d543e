"""Bodies of the feedback route."""

from typing import Annotated

from msgspec import Meta, Struct

from nomadcrew.core.feedback.model import FeedbackSource


class FeedbackIn(Struct):
    """A message to the operator: at least 10 characters, and the address for an answer."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    email: Annotated[str, Meta(min_length=3, max_length=255)]
    message: Annotated[str, Meta(min_length=10, max_length=5_000)]
    source: FeedbackSource = FeedbackSource.LANDING


class FeedbackReceived(Struct):
    status: str = "Feedback submitted successfully"
