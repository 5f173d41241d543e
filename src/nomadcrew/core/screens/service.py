"""The first screen of a trip."""

from collections.abc import Collection
from datetime import datetime

from msgspec.structs import replace

from nomadcrew.core.access import Access
from nomadcrew.core.errors import Invalid
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.permissions import rule
from nomadcrew.core.screens.model import Part, Screen
from nomadcrew.core.screens.ports import Screens


async def get_screen(
    trip_id: TripId, parts: Collection[Part], caller: UserId, *, screens: Screens, now: datetime
) -> Screen:
    """The first pages of these parts, as the caller may see them.

    Raises:
        DomainError: as `Screens` says.
    """
    screen = await screens.get(Access(trip_id, caller, rule("trip", "read")), parts)
    return replace(screen, polls=[poll.at(now).seen_by(caller) for poll in screen.polls])


def parts_in(text: str | None) -> Collection[Part]:
    """The parts in a list that is separated by commas; all without one.

    Raises:
        Invalid: a name is unknown; the text names the valid ones.
    """
    if not text:
        return list(Part)
    names = [name.strip() for name in text.split(",")]
    if not all(name in Part.__members__.values() for name in names):
        valid = ", ".join(Part)
        raise Invalid(f"`include` must be some of {valid}, separated by commas.", code="invalid_include")
    return list(dict.fromkeys(map(Part, names)))
