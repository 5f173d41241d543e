"""Maps the verdict column of statements to refusals."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nomadcrew.core.errors import Conflict, DomainError, Forbidden, NotFound, NotOnboarded, NotTripMember
from nomadcrew.core.invitations.errors import EmailMismatch, Expired, InviterNotAllowed, NotPending
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
    "inviter_not_allowed": InviterNotAllowed,
    "already_member": lambda: Conflict("The user is already a member of the trip.", code="already_member"),
    "owner_immutable": OwnerImmutable,
    "last_owner": LastOwner,
    "meeting_point_not_found": lambda: NotFound("meeting point", code="meeting_point_not_found"),
    "trip_ended": lambda: Conflict("The trip has ended; positions cannot be shared.", code="trip_ended"),
    "invalid_dates": InvalidDates,
    "trip_full": lambda: Conflict(f"A trip has at most {MAX_MEMBERS} members.", code="trip_full"),
    "too_many_trips": lambda: Conflict(
        f"A user can be on at most {MAX_TRIPS_PER_USER} trips.", code="too_many_trips"
    ),
}


def refusal(verdict: str, *otherwise: str, also: Refusals = MappingProxyType({})) -> DomainError | None:
    """The refusal of a verdict; None if it is `ok` or one of `otherwise`.

    Args:
        also: refusals of one feature, so that other functions need not import them.
    """
    if verdict == "ok" or verdict in otherwise:
        return None
    return (also.get(verdict) or _REFUSALS[verdict])()


def raise_for_verdict(verdict: str, *otherwise: str, also: Refusals = MappingProxyType({})) -> str:
    """Return `verdict` if it is `ok` or one of `otherwise`; else raise its `refusal`.

    Raises:
        DomainError: the refusal.
    """
    refused = refusal(verdict, *otherwise, also=also)
    if refused is not None:
        raise refused
    return verdict
