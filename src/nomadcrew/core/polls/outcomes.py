"""The winner of a closed poll becomes a part of the trip."""

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from nomadcrew.core.access import Access, Command
from nomadcrew.core.errors import NotFound
from nomadcrew.core.ids import EventId, NewId, PollId, PollOptionId, TodoId, TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.polls.errors import AppliedAlready, DoesNotFit, NoWinner, PlaceMissing, PollOpen, Tied
from nomadcrew.core.polls.model import Applied, Kind, Option, Poll, Target
from nomadcrew.core.polls.ports import Polls, TodoOutcome, TripOutcome
from nomadcrew.core.polls.tally import result_of
from nomadcrew.core.todos.model import Todo, TodoStatus
from nomadcrew.core.trips.model import TripChange


class Place(Struct, frozen=True):
    """The place of a winner that becomes the destination; degrees are WGS-84."""

    latitude: float
    longitude: float
    address: str | None = None
    place_id: str | None = None


class Wish(Struct, frozen=True):
    """The part of the trip that the winner becomes, an option to choose among tied ones, and its place."""

    target: Target
    option_id: PollOptionId | None = None
    place: Place | None = None


async def apply_result(
    trip_id: TripId,
    poll_id: PollId,
    wish: Wish,
    caller: UserId,
    *,
    polls: Polls,
    new_id: NewId,
    now: datetime,
) -> Poll:
    """Make the winner the dates or the destination of the trip, or a to-do. A repeat returns the poll as it is.

    The votes of a closed poll do not change, so they are counted before the transaction that applies them.

    Raises:
        NoWinner, Tied: there is no single winner, and the wish names none of the tied options.
        DoesNotFit, PlaceMissing: the winner cannot become that part of the trip.
        DomainError: as `Polls.apply` says.
    """
    poll = (await polls.get(Access(trip_id, caller, rule("poll", "read")), poll_id)).at(now)
    if poll.applied is not None:
        return _repeated(poll, poll.applied, wish)
    if not poll.is_closed:
        raise PollOpen
    winner = _winner(poll, wish.option_id)
    todo_id = TodoId(new_id()) if wish.target is Target.TODO else None
    applied = Applied(wish.target, winner.id, now, todo_id)
    outcome: TripOutcome | TodoOutcome
    if todo_id is None:
        event_ids = EventId(new_id()), EventId(new_id())
        outcome = TripOutcome(_change(poll.kind, winner, wish), rule("trip", "update"), event_ids)
    else:
        todo = Todo(todo_id, trip_id, winner.text, TodoStatus.INCOMPLETE, caller, now, now)
        outcome = TodoOutcome(todo, rule("todo", "create"), EventId(new_id()))
    command = Command(trip_id, caller, rule("poll", "apply"), EventId(new_id()), now)
    await polls.apply(command, poll_id, applied, outcome)
    return replace(poll, applied=applied, updated_at=now)


def _repeated(poll: Poll, applied: Applied, wish: Wish) -> Poll:
    if applied.target is not wish.target or wish.option_id not in (None, applied.option_id):
        raise AppliedAlready
    return poll


def _winner(poll: Poll, chosen: PollOptionId | None) -> Option:
    winners = [option for option in poll.options if option.id in result_of(poll).winners]
    if not winners:
        raise NoWinner
    if chosen is not None:
        winners_chosen = [option for option in winners if option.id == chosen]
        if not winners_chosen:
            raise NotFound("winning option", code="poll_option_not_found")
        return winners_chosen[0]
    if len(winners) > 1:
        raise Tied(winners)
    return winners[0]


def _change(kind: Kind, winner: Option, wish: Wish) -> TripChange:
    if (kind is Kind.DATES) != (wish.target is Target.DATES):
        raise DoesNotFit
    if winner.days is not None:
        return TripChange(start_date=winner.days.first, end_date=winner.days.last)
    if wish.place is None:
        raise PlaceMissing
    return TripChange(
        destination_name=winner.text,
        destination_latitude=wish.place.latitude,
        destination_longitude=wish.place.longitude,
        # Those of the destination before would be of another place.
        destination_address=wish.place.address or winner.text,
        destination_place_id=wish.place.place_id or "",
    )
