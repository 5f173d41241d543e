"""Bodies of requests about polls."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import PollOptionId
from nomadcrew.core.polls.errors import InvalidBallot, InvalidPoll
from nomadcrew.core.polls.model import MAX_OPTIONS_IN_ALL, Answer, Ballot, Days, Kind, Mark, PollDraft, Target
from nomadcrew.core.polls.outcomes import Place, Wish

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
PlaceText = Annotated[str, Meta(max_length=512)]
Instant = Annotated[datetime, Meta(tz=True)]


class DaysIn(Struct, rename="camel"):
    """Calendar days, the last one included; without a last one, a single day."""

    first_day: date
    last_day: date | None = None

    def to_days(self) -> Days:
        return Days(self.first_day, self.first_day if self.last_day is None else self.last_day)


class NewPollIn(Struct, rename="camel"):
    """A poll to create.

    A question of 1 to 500 characters, and 2 to 20 options of 1 to 200 characters, or as many days in a poll of
    dates. Voting ends after 5 to 2880 minutes, by default after a day, or at a time up to 90 days ahead.
    """

    question: str
    options: list[str] = []
    allow_multiple_votes: bool = False
    duration_minutes: int | None = None
    kind: Kind = Kind.CHOICE
    ballot: Ballot = Ballot.OPEN
    days: list[DaysIn] = []
    members_add_options: bool = False
    closes_automatically: bool = False
    expires_at: Instant | None = None

    def to_draft(self) -> PollDraft:
        """The draft in the body.

        Raises:
            Invalid: the end of voting is out of range in UTC.
        """
        try:
            expires_at = None if self.expires_at is None else self.expires_at.astimezone(UTC)
        except OverflowError:
            raise Invalid("`expiresAt` is out of range.", code="invalid_request_payload") from None
        return PollDraft(
            question=self.question,
            options=self.options,
            allow_multiple_votes=self.allow_multiple_votes,
            duration_minutes=self.duration_minutes,
            kind=self.kind,
            ballot=self.ballot,
            days=[days.to_days() for days in self.days],
            members_add_options=self.members_add_options,
            closes_automatically=self.closes_automatically,
            expires_at=expires_at,
        )


class PollChangeIn(Struct):
    question: str


class VoteIn(Struct, rename="camel"):
    option_id: str


class AnswerIn(Struct, rename="camel"):
    option_id: UUID
    answer: Answer


class BallotIn(Struct):
    """A whole ballot: the answers to dates, or a ranking from the first choice down."""

    answers: Annotated[list[AnswerIn], Meta(max_length=MAX_OPTIONS_IN_ALL)] | None = None
    ranking: Annotated[list[UUID], Meta(max_length=MAX_OPTIONS_IN_ALL)] | None = None

    def to_marks(self) -> tuple[Kind, Sequence[Mark]]:
        """The kind of poll that the ballot fits, and its marks.

        Raises:
            InvalidBallot: it has both parts, or none.
        """
        if self.answers is not None and self.ranking is None:
            return Kind.DATES, [Mark(PollOptionId(part.option_id), part.answer) for part in self.answers]
        if self.ranking is not None and self.answers is None:
            ranked = enumerate(self.ranking, start=1)
            return Kind.RANKED, [Mark(PollOptionId(id_), rank=rank) for rank, id_ in ranked]
        raise InvalidBallot


class OptionIn(Struct, rename="camel"):
    """An option to add: a text, or days in a poll of dates."""

    text: str | None = None
    first_day: date | None = None
    last_day: date | None = None

    def to_option(self) -> str | Days:
        """The option in the body.

        Raises:
            InvalidPoll: it has a text and days, or neither.
        """
        if self.text is not None and self.first_day is None:
            return self.text
        if self.first_day is not None and self.text is None:
            return DaysIn(self.first_day, self.last_day).to_days()
        raise InvalidPoll("Send either `text` or `firstDay`.")


class PlaceIn(Struct, rename="camel"):
    latitude: Latitude
    longitude: Longitude
    address: PlaceText | None = None
    place_id: PlaceText | None = None


class ApplyIn(Struct, rename="camel"):
    """The part of the trip that the winner becomes; a destination needs its place."""

    to: Target
    option_id: UUID | None = None
    destination: PlaceIn | None = None

    def to_wish(self) -> Wish:
        at = self.destination
        place = None if at is None else Place(at.latitude, at.longitude, at.address, at.place_id)
        return Wish(self.to, None if self.option_id is None else PollOptionId(self.option_id), place)
