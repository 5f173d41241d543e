"""Refusals of polls."""

from collections.abc import Sequence

from nomadcrew.core.errors import Conflict, Invalid
from nomadcrew.core.polls.model import MAX_OPTIONS_IN_ALL, Option


class InvalidPoll(Invalid):
    """The fields of a new poll are not valid; the text names all faults."""

    code = "invalid_poll_data"


class PollHasVotes(Invalid):
    code = "poll_has_votes"
    text = "The question cannot be changed once a member has voted. Create another poll."


class PollClosed(Invalid):
    code = "poll_closed"
    text = "The poll is closed."


class PollExpired(Invalid):
    code = "poll_expired"
    text = "The time for voting is over."


class CloseRestricted(Invalid):
    code = "poll_close_restricted"
    text = "A poll can be closed once every member has voted, or its time is over."


class InvalidBallot(Invalid):
    code = "invalid_ballot"
    text = "The ballot does not fit this poll: a poll of dates takes `answers`, a ranked one a `ranking`."


class OptionsFixed(Invalid):
    code = "poll_options_fixed"
    text = "Members cannot add options to this poll."


class TooManyOptions(Invalid):
    code = "too_many_options"
    text = f"A poll has at most {MAX_OPTIONS_IN_ALL} options."


class PollOpen(Conflict):
    code = "poll_open"
    text = "The poll is still open. Close it first."


class AppliedAlready(Conflict):
    code = "poll_applied"
    text = "The result of this poll has been applied already."


class NoWinner(Conflict):
    code = "poll_without_votes"
    text = "The poll has no votes, so no winner."


class Tied(Conflict):
    """Several options won; the details have their ids."""

    code = "poll_tied"

    def __init__(self, options: Sequence[Option]) -> None:
        names = ", ".join(f"“{option.text}”" for option in options)
        super().__init__(
            f"The poll is tied between {names}. Send `optionId` with one of them.",
            details=f"tied: {', '.join(str(option.id) for option in options)}",
        )


class DoesNotFit(Invalid):
    code = "result_does_not_fit"
    text = "Only a poll of dates becomes the dates of the trip, and it cannot become its destination."


class PlaceMissing(Invalid):
    code = "destination_missing"
    text = "The destination needs its coordinates. Send `destination` with `latitude` and `longitude`."
