"""A trip, its members, and its status transitions."""

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import MembershipId, TripId, UserId
from nomadcrew.core.names import display_name
from nomadcrew.core.pages import After

MAX_MEMBERS = 100
MAX_TRIPS_PER_USER = 500
# Of all trips on a page: some 600 KB, and a tenth of a second.
MAX_LISTED_MEMBERS = 2_000


class Status(StrEnum):
    PLANNING = "PLANNING"
    ACTIVE = "ACTIVE"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PLANNING: frozenset({Status.ACTIVE, Status.CANCELLED}),
    Status.ACTIVE: frozenset({Status.COMPLETED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.CANCELLED: frozenset(),
}


class TripMember(NamedTuple):
    """An ACTIVE membership with the user's public fields.

    A tuple: a list of trips creates some fifty of them, and creating a frozen dataclass takes six times as long.
    """

    id: MembershipId
    trip_id: TripId
    user_id: UserId
    role: str
    status: str
    created_at: datetime
    updated_at: datetime
    email: str
    username: str
    first_name: str
    last_name: str
    avatar_url: str

    @property
    def name(self) -> str:
        return display_name(self.first_name, self.last_name, self.username)


class Trip(Struct, frozen=True):
    """A trip as stored. Dates are calendar dates in `timezone`; coordinates WGS-84 decimal degrees.

    Photographer and page are the credit of a background picture that a service found.
    """

    id: TripId
    name: str
    description: str
    destination_place_id: str | None
    destination_address: str | None
    destination_name: str | None
    destination_latitude: float
    destination_longitude: float
    start_date: date
    end_date: date
    status: str
    created_by: UserId | None
    created_at: datetime
    updated_at: datetime
    background_image_url: str
    timezone: str
    member_count: int
    background_photographer: str | None = None
    background_page_url: str | None = None
    members: Sequence[TripMember] = ()

    @property
    def created_by_name(self) -> str | None:
        return next((m.name for m in self.members if m.user_id == self.created_by), None)


class TripCard(NamedTuple):
    """A trip with its members as lists show it. `body` is JSON text, ready for the wire."""

    id: TripId
    start_date: date
    member_count: int
    body: str


class TripPage(Struct, frozen=True):
    """Some of a user's trips; `last` is the end of the page if more may follow."""

    trips: Sequence[TripCard]
    last: After | None


class NewTrip(Struct, frozen=True):
    """A trip to create. Without a `timezone` it gets that of its destination."""

    name: str
    description: str
    destination_place_id: str | None
    destination_address: str | None
    destination_name: str | None
    destination_latitude: float
    destination_longitude: float
    start_date: date
    end_date: date
    status: Status
    background_image_url: str
    timezone: str = ""


class TripChange(Struct, frozen=True):
    """Fields to change; None leaves a field unchanged.

    `destination_timezone` is the time zone at the new coordinates. It is stored if these differ from the old ones
    and `timezone` is None.
    """

    name: str | None = None
    description: str | None = None
    destination_place_id: str | None = None
    destination_address: str | None = None
    destination_name: str | None = None
    destination_latitude: float | None = None
    destination_longitude: float | None = None
    start_date: date | None = None
    end_date: date | None = None
    status: Status | None = None
    timezone: str | None = None
    destination_timezone: str | None = None


class TripSearch(Struct, frozen=True):
    """Filters of a search among the caller's own trips; None means any."""

    destination: str | None
    start_from: date | None
    start_to: date | None
    end_to: date | None
    limit: int
    offset: int


class InvalidTransition(Invalid):
    """A status change that `TRANSITIONS` does not allow; the details name both statuses."""

    code = "invalid_status_transition"

    def __init__(self, old: str, new: str) -> None:
        super().__init__("Invalid status transition", details=f"a trip cannot go from {old} to {new}")


class InvalidDates(Invalid):
    code = "invalid_dates"
    text = "The trip must not end before it starts."
