"""The mirror in a Supabase project, through its REST API.

The project's row-level security shows users the positions of their co-members, according to the rows written here.
Source: https://docs.postgrest.org/en/stable/references/api/tables_views.html
"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from nomadcrew.adapters.http.breaker import Breaker
from nomadcrew.adapters.http.exchange import exchange
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import TripId, UserId, derived_id
from nomadcrew.core.mirror.model import MirroredPosition, MirroredTrip, MirroredUser, MirrorRefused

TIMEOUT_S = 10.0
_AGED = b'{"updated_at":"2000-01-01T00:00:00Z"}'
_NO_CREATOR = b'{"created_by":null}'


class SupabaseMirror:
    """`Mirror` at `url`, the URL of a Supabase project."""

    def __init__(
        self,
        url: str,
        service_key: Callable[[], str | None],
        *,
        breaker: Breaker | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`service_key` is called for each request: the key bypasses row-level security and must not be logged."""
        self._url = f"{url.rstrip('/')}/rest/v1"
        self._service_key = service_key
        self._breaker = breaker or Breaker()
        self._timeout_s = timeout_s

    async def put_users(self, users: Sequence[MirroredUser]) -> None:
        rows = [
            {"id": user.id, "supabase_id": user.id, "email": user.email, "username": user.username}
            for user in users
        ]
        await self._upsert("users", "id", rows)

    async def put_trip(self, trip: MirroredTrip) -> None:
        row = {
            "id": trip.id,
            "name": trip.name,
            "created_by": trip.created_by,
            "start_date": trip.start_date,
            "end_date": trip.end_date,
            "destination_latitude": trip.destination_latitude,
            "destination_longitude": trip.destination_longitude,
        }
        await self._upsert("trips", "id", [row])
        # Former members are deleted first: no row may show more than it should, not even for a moment.
        member_ids = ",".join(str(user_id) for user_id, _ in trip.members)
        former = {"user_id": f"not.in.({member_ids})"} if member_ids else {}
        await self._drop_positions(trip_id=f"eq.{trip.id}", **former)
        await self._delete("trip_memberships", trip_id=f"eq.{trip.id}", **former)
        await self._upsert(
            "trip_memberships",
            "trip_id,user_id",
            [
                {"trip_id": trip.id, "user_id": user_id, "role": role, "status": "ACTIVE"}
                for user_id, role in trip.members
            ],
        )

    async def drop_trip(self, trip_id: TripId) -> None:
        await self._drop_positions(trip_id=f"eq.{trip_id}")
        await self._delete("trip_memberships", trip_id=f"eq.{trip_id}")
        await self._delete("trips", id=f"eq.{trip_id}")

    async def put_positions(
        self, trip_id: TripId, positions: Sequence[MirroredPosition], hidden: Sequence[UserId]
    ) -> None:
        if hidden:
            hidden_ids = ",".join(str(user_id) for user_id in hidden)
            await self._drop_positions(trip_id=f"eq.{trip_id}", user_id=f"in.({hidden_ids})")
        await self._upsert("locations", "id", [_location(trip_id, position) for position in positions])

    async def hide(self, user_id: UserId) -> None:
        await self._drop_positions(user_id=f"eq.{user_id}")

    async def drop_user(self, user_id: UserId) -> None:
        await self._drop_positions(user_id=f"eq.{user_id}")
        await self._delete("trip_memberships", user_id=f"eq.{user_id}")
        of_creator = urlencode({"created_by": f"eq.{user_id}"})
        await self._ask("PATCH", f"trips?{of_creator}", "return=minimal", _NO_CREATOR)
        await self._delete("users", id=f"eq.{user_id}")

    async def _drop_positions(self, **filters: str) -> None:
        """Delete rows of positions, after maps that show them have dropped them.

        Supabase tells only the key of a deleted row, by which the app's map does not find its marker. The map drops
        a marker whose row is older than a day, so the rows are aged first.
        """
        await self._ask("PATCH", f"locations?{urlencode(filters)}", "return=minimal", _AGED)
        await self._delete("locations", **filters)

    async def _upsert(self, table: str, key: str, rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            prefer = "resolution=merge-duplicates,return=minimal"
            await self._ask("POST", f"{table}?{urlencode({'on_conflict': key})}", prefer, msgspec.json.encode(rows))

    async def _delete(self, table: str, **filters: str) -> None:
        await self._ask("DELETE", f"{table}?{urlencode(filters)}", "return=minimal", None)

    async def _ask(self, method: str, resource: str, prefer: str, body: bytes | None) -> None:
        key = self._service_key()
        if not key:
            raise MirrorRefused("the mirror has no key")
        headers = {"apikey": key, "authorization": f"Bearer {key}", "prefer": prefer}
        if body is not None:
            headers["content-type"] = "application/json"
        with self._breaker.call():
            answer = await exchange(method, f"{self._url}/{resource}", body, headers, timeout_s=self._timeout_s)
            if answer.status == 429 or answer.status >= 500:
                raise Unavailable(details=f"mirror: {answer.status}")
        if answer.status == 409:
            # Another process writes the same trip, so a row that this one refers to is missing for the moment.
            raise Unavailable(details="mirror: 409")
        if answer.status >= 300:
            raise MirrorRefused(f"the mirror answered {answer.status}")


def _location(trip_id: TripId, position: MirroredPosition) -> dict[str, Any]:
    """A row of the table that the app's map follows: one per member and trip."""
    seen = position.seen
    return {
        "id": derived_id(trip_id, f"location {position.user_id}"),
        "trip_id": trip_id,
        "user_id": position.user_id,
        "latitude": seen.latitude,
        "longitude": seen.longitude,
        "accuracy": seen.accuracy_m,
        "timestamp": seen.recorded_at,
        "is_sharing_enabled": True,
        "sharing_expires_at": position.expires_at,
        "privacy": seen.privacy,
        "updated_at": seen.recorded_at,
    }
