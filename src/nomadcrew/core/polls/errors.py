"""Refusals of polls."""

from nomadcrew.core.errors import Invalid


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
