"""Polls on PostgreSQL: concurrent votes share a statement."""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from itertools import groupby
from operator import attrgetter, itemgetter

import msgspec
from msgspec import Struct

from nomadcrew.adapters.postgres.batching import Batcher
from nomadcrew.adapters.postgres.refusals import Refusals, raise_for_verdict, refusal
from nomadcrew.adapters.postgres.sql import (
    Row,
    Sql,
    Statement,
    after_columns,
    command_row,
    gate,
    json_param,
    statements,
)
from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import DomainError, NotFound
from nomadcrew.core.ids import EventId, PollId, PollOptionId, UserId
from nomadcrew.core.pages import After
from nomadcrew.core.permissions import Rule
from nomadcrew.core.polls.errors import (
    AppliedAlready,
    CloseRestricted,
    InvalidBallot,
    InvalidPoll,
    OptionsFixed,
    PollClosed,
    PollExpired,
    PollHasVotes,
    PollOpen,
    TooManyOptions,
)
from nomadcrew.core.polls.model import (
    MAX_LISTED_VOTES,
    MAX_OPTIONS_IN_ALL,
    Applied,
    Ballot,
    Days,
    Kind,
    Mark,
    Option,
    Poll,
    PollPage,
    PollStatus,
    Target,
    Vote,
)
from nomadcrew.core.polls.ports import TodoOutcome, TripOutcome
from nomadcrew.core.retention import FINGERPRINT_RETENTION
from nomadcrew.core.text import comparison_key, search_key

_SQL = statements("polls")
_decode_votes = msgspec.json.Decoder(tuple[Vote, ...]).decode
REFUSALS: Refusals = {
    "poll_not_found": lambda: NotFound("poll", code="poll_not_found"),
    "poll_option_not_found": lambda: NotFound("option", code="poll_option_not_found"),
    "poll_vote_not_found": lambda: NotFound("vote", code="poll_vote_not_found"),
    "poll_has_votes": PollHasVotes,
    "poll_closed": PollClosed,
    "poll_expired": PollExpired,
    "poll_close_restricted": CloseRestricted,
    "invalid_ballot": InvalidBallot,
    "invalid_option": lambda: InvalidPoll("A poll of dates takes days as options, other polls a text."),
    "poll_options_fixed": OptionsFixed,
    "too_many_options": TooManyOptions,
    "poll_open": PollOpen,
    "poll_applied": AppliedAlready,
}


class _Vote(Struct, frozen=True):
    """A vote to store or to withdraw."""

    command: Command
    poll_id: PollId
    option_id: PollOptionId

    @property
    def voter(self) -> tuple[PollId, UserId]:
        return self.poll_id, self.command.caller

    def as_row(self, n: int) -> dict[str, object]:
        return {"n": n, "poll_id": self.poll_id, "option_id": self.option_id, **command_row(self.command)}


class PostgresPolls:
    def __init__(self, sql: Sql, *, max_listed_votes: int = MAX_LISTED_VOTES) -> None:
        self._sql = sql
        self._max_listed_votes = max_listed_votes
        voter = attrgetter("voter")
        self._vote: Batcher[_Vote, None] = Batcher(self._vote_all, alone=sql.in_transaction, key=voter)
        self._unvote: Batcher[_Vote, None] = Batcher(self._unvote_all, alone=sql.in_transaction, key=voter)

    async def add(self, poll: Poll, rule: Rule, event_id: EventId, *, now: datetime, fingerprint: bytes) -> Poll:
        [row] = await self._sql.fetch(
            _SQL["add"],
            **gate(Access(poll.trip_id, poll.created_by, rule)),
            id=poll.id,
            event_id=event_id,
            question=poll.question,
            question_search=search_key(poll.question),
            kind=poll.kind,
            ballot=poll.ballot,
            allow_multiple_votes=poll.allow_multiple_votes,
            members_add_options=poll.members_add_options,
            closes_automatically=poll.closes_automatically,
            expires_at=poll.expires_at,
            remind_at=poll.remind_at,
            options=json_param([_option_row(option) for option in poll.options]),
            now=now,
            fingerprint=fingerprint,
            kept_until=now + FINGERPRINT_RETENTION,
        )
        if raise_for_verdict(row["verdict"], "replayed", also=REFUSALS) == "ok":
            return poll
        stored = await self._sql.fetch(_SQL["replayed"], fingerprint=fingerprint)
        return _poll(stored) if stored else poll

    async def page(self, access: Access, *, limit: int, offset: int = 0, after: After | None = None) -> PollPage:
        rows = await self._sql.fetch(
            _SQL["page"],
            **gate(access),
            limit=limit,
            offset=offset,
            max_votes=self._max_listed_votes,
            **after_columns(after),
        )
        raise_for_verdict(rows[0]["verdict"], also=REFUSALS)
        polls = [_poll(list(group)) for id_, group in groupby(rows, key=itemgetter("id")) if id_ is not None]
        ends_early = bool(polls) and len(polls) < rows[0]["found"]
        last = After(polls[-1].created_at, polls[-1].id) if len(polls) == limit or ends_early else None
        return PollPage(polls, rows[0]["total"], last)

    async def get(self, access: Access, poll_id: PollId) -> Poll:
        return _allowed(await self._sql.fetch(_SQL["one"], **gate(access), id=poll_id))

    async def change(self, command: Command, poll_id: PollId, question: str) -> Poll:
        return _allowed(
            await self._write(
                "change", command, id=poll_id, question=question, question_search=search_key(question)
            )
        )

    async def delete(self, command: Command, poll_id: PollId) -> None:
        [row] = await self._write("delete", command, id=poll_id)
        raise_for_verdict(row["verdict"], also=REFUSALS)

    async def vote(self, command: Command, poll_id: PollId, option_id: PollOptionId) -> None:
        await self._vote(_Vote(command, poll_id, option_id))

    async def unvote(self, command: Command, poll_id: PollId, option_id: PollOptionId) -> None:
        await self._unvote(_Vote(command, poll_id, option_id))

    async def close(self, command: Command, poll_id: PollId) -> Poll:
        return _allowed(await self._write("close", command, id=poll_id))

    async def cast(self, command: Command, poll_id: PollId, kind: Kind, marks: Sequence[Mark]) -> None:
        rows = [{"option": mark.option_id, "answer": mark.answer, "rank": mark.rank} for mark in marks]
        [row] = await self._write("cast_ballot", command, id=poll_id, kind=kind, marks=json_param(rows))
        raise_for_verdict(row["verdict"], also=REFUSALS)

    async def add_option(self, command: Command, poll_id: PollId, option: Option) -> bool:
        added = _option_row(option)
        [row] = await self._write(
            "add_option",
            command,
            id=poll_id,
            option_id=option.id,
            max_options=MAX_OPTIONS_IN_ALL,
            **{name: added[name] for name in ("text", "text_key", "text_search", "first_day", "last_day")},
        )
        raise_for_verdict(row["verdict"], also=REFUSALS)
        return bool(row["added"])

    async def apply(
        self, command: Command, poll_id: PollId, applied: Applied, outcome: TripOutcome | TodoOutcome
    ) -> None:
        async with nullcontext() if self._sql.in_transaction() else self._sql.transaction():
            # The trip is locked before the poll, as everywhere.
            if isinstance(outcome, TripOutcome):
                await self._change_trip(command, outcome)
            else:
                await self._add_todo(poll_id, outcome, command.now)
            [row] = await self._write(
                "apply",
                command,
                id=poll_id,
                target=applied.target,
                option_id=applied.option_id,
                todo_id=applied.todo_id,
            )
            raise_for_verdict(row["verdict"], also=REFUSALS)

    async def close_due(self, *, now: datetime, limit: int) -> int:
        return len(await self._sql.fetch(_SQL["close_due"], now=now, limit=limit))

    async def remind(self, *, now: datetime, limit: int) -> int:
        return len(await self._sql.fetch(_SQL["remind"], now=now, limit=limit))

    async def _change_trip(self, command: Command, outcome: TripOutcome) -> None:
        from nomadcrew.adapters.postgres.trips import PostgresTrips

        access = Access(command.trip_id, command.caller, outcome.rule)
        await PostgresTrips(self._sql).change(
            access, outcome.change, must_move=False, event_ids=outcome.event_ids, now=command.now
        )

    async def _add_todo(self, poll_id: PollId, outcome: TodoOutcome, now: datetime) -> None:
        from nomadcrew.adapters.postgres.todos import PostgresTodos

        fingerprint = hashlib.sha256(b"poll" + poll_id.bytes).digest()
        await PostgresTodos(self._sql).add(
            outcome.todo, outcome.rule, outcome.event_id, now=now, fingerprint=fingerprint
        )

    async def _write(self, name: str, command: Command, **params: object) -> Sequence[Row]:
        return await self._sql.fetch(_SQL[name], **command_row(command), **params)

    async def _vote_all(self, batch: Sequence[_Vote]) -> Sequence[DomainError | None]:
        return await self._verdicts(_SQL["vote"], batch)

    async def _unvote_all(self, batch: Sequence[_Vote]) -> Sequence[DomainError | None]:
        return await self._verdicts(_SQL["unvote"], batch)

    async def _verdicts(self, statement: Statement, batch: Sequence[_Vote]) -> Sequence[DomainError | None]:
        rows = await self._sql.fetch(statement, votes=json_param([vote.as_row(n) for n, vote in enumerate(batch)]))
        return [refusal(row["verdict"], also=REFUSALS) for row in rows]


def _allowed(rows: Sequence[Row]) -> Poll:
    """The poll in the rows of its options, if their verdict allows it."""
    raise_for_verdict(rows[0]["verdict"], also=REFUSALS)
    return _poll(rows)


def _poll(rows: Sequence[Row]) -> Poll:
    """A poll from the rows of its options."""
    row = rows[0]
    return Poll(
        row["id"],
        row["trip_id"],
        row["question"],
        Kind(row["kind"]),
        Ballot(row["ballot"]),
        row["allow_multiple_votes"],
        row["members_add_options"],
        row["closes_automatically"],
        PollStatus(row["status"]),
        row["created_by"],
        row["closed_by"],
        row["closed_at"],
        row["expires_at"],
        row["created_at"],
        row["updated_at"],
        [_option(option) for option in rows],
        _applied(row),
    )


def _applied(row: Row) -> Applied | None:
    if row["applied_as"] is None:
        return None
    return Applied(Target(row["applied_as"]), row["applied_option_id"], row["applied_at"], row["applied_todo_id"])


def _option(row: Row) -> Option:
    return Option(
        row["option_id"],
        row["option_text"],
        row["position"],
        row["option_created_by"],
        row["option_created_at"],
        None if row["first_day"] is None else Days(row["first_day"], row["last_day"]),
        _decode_votes(row["votes"] or "[]"),
    )


def _option_row(option: Option) -> dict[str, object]:
    return {
        "id": option.id,
        "text": option.text,
        "text_key": comparison_key(option.text),
        "text_search": search_key(option.text),
        "position": option.position,
        "first_day": None if option.days is None else option.days.first,
        "last_day": None if option.days is None else option.days.last,
    }
