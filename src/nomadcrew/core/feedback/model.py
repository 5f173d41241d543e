"""A message to the operator."""

from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from msgspec import Struct

from nomadcrew.core.emails import parse_email
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import derived_id
from nomadcrew.core.text import composed, is_visible

FeedbackId = NewType("FeedbackId", UUID)
MAX_NAME = 100
MIN_MESSAGE = 10
MAX_MESSAGE = 5_000


class FeedbackSource(StrEnum):
    LANDING = "landing"
    APP_BUG = "app_bug"
    APP_FEEDBACK = "app_feedback"


class Feedback(Struct, frozen=True):
    id: FeedbackId
    name: str
    email: str
    message: str
    source: FeedbackSource
    created_at: datetime


def new_feedback(name: str, email: str, message: str, source: FeedbackSource, *, now: datetime) -> Feedback:
    """Checked feedback. Its id is a hash of its texts, so that a repeat is the same feedback.

    Raises:
        Invalid: a text is too short, too long or blank, or the address is malformed.
    """
    name, message, address = composed(name), composed(message), parse_email(email)
    if not is_visible(name) or len(name) > MAX_NAME:
        raise _invalid(f"`name` must have 1 to {MAX_NAME} characters.")
    if not MIN_MESSAGE <= len(message) <= MAX_MESSAGE or not is_visible(message):
        raise _invalid(f"`message` must have {MIN_MESSAGE} to {MAX_MESSAGE} characters.")
    id_ = derived_id(UUID(int=0), "\x00".join((name, address, message, source)))
    return Feedback(FeedbackId(id_), name, address, message, source, now)


def _invalid(text: str) -> Invalid:
    return Invalid(text, code="validation_failed")
