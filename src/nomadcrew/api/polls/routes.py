"""A trip's polls: /v1/trips/{id}/polls."""

from nomadcrew.api.polls.bodies import ApplyIn, BallotIn, NewPollIn, OptionIn, PollChangeIn, VoteIn
from nomadcrew.api.polls.views import MessageView, Pagination, PollPageView, PollView, poll_view
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import PollId, PollOptionId, parse_uuid
from nomadcrew.core.polls import ballots, outcomes, service
from nomadcrew.core.versions import Versioned
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.etags import based_on_match
from nomadcrew.web.pages import AFTER, after_of, paged
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes

routes = Routes("polls", ports=("idempotency", "limits", "open_sessions", "outbox", "polls", "versions"))
PAGE = (
    Param("limit", "integer", "Page size, 1 to 100. Default: 20."),
    Param("offset", "integer", "Number of polls to skip, without `after`. Default: 0."),
    AFTER,
)
MAX_OFFSET = 1_000_000


def poll_id(call: Call) -> PollId:
    """The poll id in the path.

    Raises:
        Invalid: the id is malformed.
    """
    return PollId(call.id("pollId", Invalid("The id of the poll must be a UUID.")))


def option_id(text: str) -> PollOptionId:
    """The option id in a text.

    Raises:
        Invalid: the id is malformed.
    """
    value = parse_uuid(text)
    if value is None:
        raise Invalid("The id of the option must be a UUID.")
    return PollOptionId(value)


@routes.get("/v1/trips/{id}/polls", gate=Gate("poll", "read"), query=PAGE, refusals=(400,))
async def list_polls(call: Call) -> PollPageView | Reply:
    """List a trip's polls, newest first.

    The Link header leads to the next page.
    """
    limit, after = call.count("limit", default=20, lowest=1, highest=100), after_of(call)
    offset = 0 if after else call.count("offset", default=0, highest=MAX_OFFSET)
    page = await service.list_polls(
        call.trip_id, call.user_id, polls=call.ports.polls, now=call.now, limit=limit, offset=offset, after=after
    )
    views = [poll_view(poll, call.user_id) for poll in page.items]
    return paged(call, PollPageView(views, Pagination(limit, offset, page.total)), page.last)


@routes.post("/v1/trips/{id}/polls", status=201, gate=Gate("poll", "create"), idempotency=Idempotency.FINGERPRINT)
async def create_poll(call: Call, body: NewPollIn) -> PollView:
    """Create a poll.

    A poll of the kind `dates` has `days` as options, and its members answer each with `yes`, `ifNeedBe` or `no`.
    The voters of a `ranked` poll order the options, and it is counted by instant run-off. Votes of a `blind` ballot
    are hidden until the poll is closed. The same poll sent again within 30 seconds returns the first one.
    """
    poll = await service.create_poll(
        call.trip_id,
        body.to_draft(),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
        fingerprint=call.fingerprint,
    )
    return poll_view(poll, call.user_id)


@routes.get("/v1/trips/{id}/polls/{pollId}", gate=Gate("poll", "read"), refusals=(400,), versioned=True)
async def get_poll(call: Call) -> PollView:
    """Get a poll."""
    poll = await service.get_poll(call.trip_id, poll_id(call), call.user_id, polls=call.ports.polls, now=call.now)
    return poll_view(poll, call.user_id)


@routes.put("/v1/trips/{id}/polls/{pollId}", gate=Gate("poll", "update"), versioned=True)
async def update_poll(call: Call, body: PollChangeIn) -> PollView:
    """Update the question of a poll without votes.

    Allowed for its creator and for admins.
    """
    async with based_on_match(call, Versioned.POLL, poll_id(call), {"question": body.question}, get_poll):
        poll = await service.change_poll(
            call.trip_id,
            poll_id(call),
            body.question,
            call.user_id,
            polls=call.ports.polls,
            new_id=call.ports.new_id,
            now=call.now,
        )
    return poll_view(poll, call.user_id)


@routes.delete("/v1/trips/{id}/polls/{pollId}", gate=Gate("poll", "delete"), refusals=(400,))
async def delete_poll(call: Call) -> MessageView:
    """Delete a poll.

    Allowed for its creator and for admins.
    """
    await service.delete_poll(
        call.trip_id,
        poll_id(call),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return MessageView("Poll deleted successfully")


@routes.post("/v1/trips/{id}/polls/{pollId}/vote", gate=Gate("poll", "vote"))
async def vote(call: Call, body: VoteIn) -> MessageView:
    """Vote for an option.

    In a poll with a single vote it replaces the caller's vote for another option. In a poll of dates it answers
    `yes`; in a ranked one the option gets the caller's next rank.
    """
    await service.vote(
        call.trip_id,
        poll_id(call),
        option_id(body.option_id),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return MessageView("Vote cast successfully")


@routes.delete("/v1/trips/{id}/polls/{pollId}/vote/{optionId}", gate=Gate("poll", "vote"), refusals=(400,))
async def unvote(call: Call) -> MessageView:
    """Withdraw the vote for an option."""
    await service.unvote(
        call.trip_id,
        poll_id(call),
        option_id(call.request.params["optionId"]),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return MessageView("Vote removed successfully")


@routes.post("/v1/trips/{id}/polls/{pollId}/close", gate=Gate("poll", "close"), refusals=(400,))
async def close_poll(call: Call) -> PollView:
    """Close a poll.

    Allowed for its creator and for admins, once every member has voted or the time for voting is over.
    """
    poll = await service.close_poll(
        call.trip_id,
        poll_id(call),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return poll_view(poll, call.user_id)


@routes.put("/v1/trips/{id}/polls/{pollId}/ballot", gate=Gate("poll", "vote"))
async def cast_ballot(call: Call, body: BallotIn) -> MessageView:
    """Replace the caller's whole ballot.

    A poll of dates takes `answers`, a ranked one a `ranking` from the first choice down. An empty list withdraws
    the ballot.
    """
    kind, marks = body.to_marks()
    await ballots.cast_ballot(
        call.trip_id,
        poll_id(call),
        kind,
        marks,
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return MessageView("Ballot cast successfully")


@routes.post(
    "/v1/trips/{id}/polls/{pollId}/options", status=201, gate=Gate("poll", "add_option"),
    statements=2, why="the reply is the poll as it is after the write",
)  # fmt: skip
async def add_option(call: Call, body: OptionIn) -> PollView:
    """Add an option to an open poll.

    Allowed for every member if the creator allowed it. An option that is there already changes nothing.
    """
    poll = await ballots.add_option(
        call.trip_id,
        poll_id(call),
        body.to_option(),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return poll_view(poll, call.user_id)


@routes.post(
    "/v1/trips/{id}/polls/{pollId}/apply", gate=Gate("poll", "apply"), refusals=(409,),
    statements=3, why="the votes are counted before the transaction that changes the trip and the poll",
)  # fmt: skip
async def apply_result(call: Call, body: ApplyIn) -> PollView:
    """Apply the result of a closed poll to the trip.

    The winner becomes the `dates` or the `destination` of the trip, which needs the right to update it, or a
    `todo`. Allowed for the creator of the poll and for admins. If options are tied, `optionId` decides between
    them.
    """
    poll = await outcomes.apply_result(
        call.trip_id,
        poll_id(call),
        body.to_wish(),
        call.user_id,
        polls=call.ports.polls,
        new_id=call.ports.new_id,
        now=call.now,
    )
    return poll_view(poll, call.user_id)
