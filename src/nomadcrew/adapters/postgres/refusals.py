"""What a statement's verdict column means."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nomadcrew.core.errors import Conflict, DomainError, Forbidden, NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.invitations.errors import EmailMismatch, Expired, NotPending
from nomadcrew.core.members.model import LastOwner, OwnerImmutable
from nomadcrew.core.trips.model import MAX_MEMBERS, MAX_TRIPS_PER_USER, InvalidDates

Refusals = Mapping[str, Callable[[], DomainError]]

_REFUSALS: Refusals = {
    "user_not_onboarded": NotOnboarded,
    "not_trip_member": NotTripMember,
    "insufficient_permissions": Forbidden,
    "trip_not_found": lambda: NotFound("trip", code="trip_not_found"),
    "todo_not_found": lambda: NotFound("todo", code="todo_not_found"),
    "member_not_found": lambda: NotFound("member", code="member_not_found"),
    "user_not_found": lambda: NotFound("user", code="user_not_found"),
    "invitation_not_found": lambda: NotFound("invitation", code="invitation_not_found"),
    "invitation_not_pending": NotPending,
    "invitation_expired": Expired,
    "email_mismatch": EmailMismatch,
    "already_member": lambda: Conflict("That person is on the trip already.", code="already_member"),
    "owner_immutable": OwnerImmutable,
    "last_owner": LastOwner,
    "meeting_point_not_found": lambda: NotFound("meeting point", code="meeting_point_not_found"),
    "trip_ended": lambda: Conflict("The trip is over; nobody shares a position there any more.", code="trip_ended"),
    "invalid_dates": InvalidDates,
    "trip_full": lambda: Conflict(f"A trip has at most {MAX_MEMBERS} members.", code="trip_full"),
    "too_many_trips": lambda: Conflict(f"One can be on at most {MAX_TRIPS_PER_USER} trips.", code="too_many_trips"),
}


def permit(verdict: str, *otherwise: str, also: Refusals = MappingProxyType({})) -> str:
    """`verdict` where it is `ok` or one of `otherwise`; else the refusal it stands for is raised.

    Args:
        also: refusals of one feature, which functions that do without it need not load.

    Raises:
        DomainError: the refusal.
    """
    if verdict == "ok" or verdict in otherwise:
        return verdict
    raise (also.get(verdict) or _REFUSALS[verdict])()
