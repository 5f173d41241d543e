"""The poll routes of the plain stack."""
# Checked against the real packages in .venv-bench; in .venv, where they are missing, they are Any.
# mypy: disable-error-code="import-not-found, unused-ignore"
# mypy: allow-subclassing-any, allow-untyped-decorators, no-warn-return-any

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, status
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import selectinload

from bench.plain_models import Poll, PollOption, PollVote
from bench.plain_shapes import PagePagination, PollMessageOut, PollOptionOut, PollOut, PollPageOut, VoterOut
from bench.plain_shared import Caller, Database, broadcast, member_of

router = APIRouter(prefix="/v1/trips/{trip_id}/polls")


class VoteIn(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    option_id: uuid.UUID


@router.get("", response_model=PollPageOut, response_model_exclude_none=True)
async def list_polls(
    trip_id: uuid.UUID,
    caller: Caller,
    session: Database,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: int = 0,
) -> Any:
    await member_of(session, trip_id, caller)
    of_trip = (Poll.trip_id == trip_id, Poll.deleted_at.is_(None))
    total = await session.scalar(select(func.count()).select_from(Poll).where(*of_trip))
    polls = await session.scalars(
        select(Poll)
        .where(*of_trip)
        .order_by(Poll.created_at.desc(), Poll.id.desc())
        .limit(limit)
        .offset(offset)
        .options(selectinload(Poll.options).selectinload(PollOption.votes))
    )
    return PollPageOut(
        data=[poll_out(poll, caller) for poll in polls],
        pagination=PagePagination(limit=limit, offset=offset, total=total or 0),
    )


@router.post("/{poll_id}/vote", response_model=PollMessageOut)
async def vote(trip_id: uuid.UUID, poll_id: uuid.UUID, body: VoteIn, caller: Caller, session: Database) -> Any:
    await member_of(session, trip_id, caller)
    poll = await session.scalar(
        select(Poll).where(Poll.id == poll_id, Poll.trip_id == trip_id, Poll.deleted_at.is_(None)).with_for_update()
    )
    if poll is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "poll_not_found")
    now = datetime.now(UTC)
    if poll.status != "ACTIVE" or poll.expires_at <= now:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "poll_closed")
    option = await session.scalar(
        select(PollOption.id).where(PollOption.id == body.option_id, PollOption.poll_id == poll_id)
    )
    if option is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "poll_option_not_found")
    cast = insert(PollVote).values(
        poll_id=poll_id, user_id=caller, option_id=option, is_single=True, created_at=now
    )
    await session.execute(
        cast.on_conflict_do_update(
            index_elements=[PollVote.poll_id, PollVote.user_id, PollVote.slot],
            set_={"option_id": cast.excluded.option_id, "created_at": cast.excluded.created_at},
        )
    )
    await session.commit()
    ids = {"pollId": str(poll_id), "tripId": str(trip_id), "optionId": str(option), "userId": str(caller)}
    await broadcast(session, trip_id, "POLL_VOTE_CAST", ids)
    return PollMessageOut(message="Vote cast successfully")


def poll_out(poll: Poll, caller: uuid.UUID) -> PollOut:
    options = [option_out(option, caller) for option in poll.options]
    return PollOut(
        id=poll.id,
        trip_id=poll.trip_id,
        question=poll.question,
        status=poll.status,
        allow_multiple_votes=poll.allow_multiple_votes,
        created_by=poll.created_by,
        expires_at=poll.expires_at,
        created_at=poll.created_at,
        updated_at=poll.updated_at,
        options=options,
        total_votes=sum(option.vote_count for option in options),
        user_vote_count=sum(option.has_voted for option in options),
    )


def option_out(option: PollOption, caller: uuid.UUID) -> PollOptionOut:
    return PollOptionOut(
        id=option.id,
        poll_id=option.poll_id,
        text=option.text,
        position=option.position,
        created_by=option.created_by,
        created_at=option.created_at,
        vote_count=len(option.votes),
        voters=[VoterOut(user_id=vote.user_id, created_at=vote.created_at) for vote in option.votes],
        has_voted=any(vote.user_id == caller for vote in option.votes),
    )
