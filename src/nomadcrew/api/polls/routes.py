"""A trip's polls: /v1/trips/{id}/polls."""

from nomadcrew.api.polls.bodies import (
    MessageView,
    NewPollIn,
    Pagination,
    PollChangeIn,
    PollPageView,
    PollView,
    VoteIn,
    poll_view,
)
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import PollId, PollOptionId, parse_uuid
from nomadcrew.core.polls import service
from nomadcrew.web.call import Call, Reply
from nomadcrew.web.pages import AFTER, after_of, paged
from nomadcrew.web.routes import Gate, Idempotency, Param, Routes

routes = Routes("polls", ports=("idempotency", "limits", "open_sessions", "outbox", "polls"))
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
        call.trip_id, call.user_id, polls=call.ports.polls, limit=limit, offset=offset, after=after
    )
    views = [poll_view(poll, call.user_id) for poll in page.items]
    return paged(call, PollPageView(views, Pagination(limit, offset, page.total)), page.last)


@routes.post("/v1/trips/{id}/polls", status=201, gate=Gate("poll", "create"), idempotency=Idempotency.FINGERPRINT)
async def create_poll(call: Call, body: NewPollIn) -> PollView:
    """Create a poll.

    The same poll sent again within 30 seconds returns the first one.
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


@routes.get("/v1/trips/{id}/polls/{pollId}", gate=Gate("poll", "read"), refusals=(400,))
async def get_poll(call: Call) -> PollView:
    """Get a poll."""
    poll = await service.get_poll(call.trip_id, poll_id(call), call.user_id, polls=call.ports.polls)
    return poll_view(poll, call.user_id)


@routes.put("/v1/trips/{id}/polls/{pollId}", gate=Gate("poll", "update"))
async def update_poll(call: Call, body: PollChangeIn) -> PollView:
    """Update the question of a poll without votes.

    Allowed for its creator and for admins.
    """
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

    In a poll with a single vote it replaces the caller's vote for another option.
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
