"""Ports that do nothing: for services that are not configured, and for processes without sockets or a relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nomadcrew.core.notifications.push import PushError, Ticket

if TYPE_CHECKING:
    # For type checkers only: at runtime a function would load the types of features that it does not have.
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from nomadcrew.core.backgrounds.model import FoundPhoto
    from nomadcrew.core.events import Event
    from nomadcrew.core.ids import TripId, UserId
    from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser
    from nomadcrew.core.notifications.push import PushMessage
    from nomadcrew.core.places.model import Coordinates, FoundPlaces
    from nomadcrew.core.weather.model import Area, Weather


class NoOutbox:
    """An outbox whose relay runs in another process, which polls every second."""

    def before_write(self) -> None:
        return None

    async def after_commit(self, *, has_events: bool = True) -> None:  # noqa: ARG002 — the port's form
        return None


class NoBroadcast:
    """Broadcasts on a host without sockets: does nothing."""

    def has_listeners(self) -> bool:
        return False

    async def broadcast(self, event: Event, *, latest_of: str | None = None) -> None:  # noqa: ARG002 — the port's form
        return None

    async def send_to(self, event: Event, user_ids: Sequence[UserId]) -> None:  # noqa: ARG002 — likewise
        return None


class NoAwakeSockets:
    """`AwakeSockets` of a process without sockets, and on AWS: API Gateway passes no ping to a device."""

    async def awake(self, user_ids: Iterable[UserId], trip_id: TripId) -> frozenset[UserId]:  # noqa: ARG002 — likewise
        return frozenset()


class NoPush:
    """`Push` that sends nothing; every ticket is an error."""

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[Ticket]:
        return [Ticket(error=PushError.REFUSED) for _ in messages]

    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushError | None]:  # noqa: ARG002 — the port's form
        return {}


class NoWeather:
    """`WeatherOf` of a server without a weather service."""

    async def get(self, area: Area, *, now: datetime) -> Weather:  # noqa: ARG002 — the port's form
        from nomadcrew.core.weather.model import WeatherOff

        raise WeatherOff


class NoPhotoSearch:
    """`PhotoSearch` of a server without a service: finds nothing."""

    async def find(self, query: str) -> FoundPhoto | None:  # noqa: ARG002 — the port's form
        return None


class NoPlaces:
    """`Places` and `Gazetteer` of a server without a list of places."""

    async def refresh(self) -> int:
        return 0

    async def suggest(self, text: str, *, near: Coordinates | None, limit: int) -> FoundPlaces:  # noqa: ARG002 — likewise
        from nomadcrew.core.places.model import PlacesOff

        raise PlacesOff

    async def reverse(self, at: Coordinates) -> FoundPlaces:  # noqa: ARG002 — the port's form
        from nomadcrew.core.places.model import PlacesOff

        raise PlacesOff


class NoMirror:
    """`Mirror` that copies nothing."""

    async def put_users(self, users: Sequence[MirroredUser]) -> None:  # noqa: ARG002 — the port's form
        return None

    async def put_trip(self, trip: MirroredTrip) -> None:  # noqa: ARG002 — likewise
        return None

    async def drop_trip(self, trip_id: TripId) -> None:  # noqa: ARG002 — likewise
        return None

    async def put_positions(
        self,
        trip_id: TripId,  # noqa: ARG002 — likewise
        positions: Sequence[MirroredPosition],  # noqa: ARG002
        hidden: Sequence[UserId],  # noqa: ARG002
    ) -> None:
        return None

    async def hide(self, user_id: UserId) -> None:  # noqa: ARG002 — likewise
        return None

    async def drop_user(self, user_id: UserId) -> None:  # noqa: ARG002 — likewise
        return None
