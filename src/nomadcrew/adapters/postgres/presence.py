"""Presence on one machine: online users in memory, the time each user was last seen in a table."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from nomadcrew.adapters.postgres.refusals import raise_for_verdict
from nomadcrew.adapters.postgres.sql import Row, Sql, gate, json_param, statements
from nomadcrew.core.access import Access
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.ids import UserId
from nomadcrew.core.presence.model import MemberPresence, PresenceChange, Typist, to_the_minute

_SQL = statements("presence")


class PostgresPresence:
    """`Presence` on a host that holds all sockets. `keep` stores the changes of `last seen` in batches."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._sockets: dict[UserId, set[str]] = {}
        # Changes since the last batch. Only the host stores them, not its workers.
        self._seen: dict[UserId, datetime] = {}

    def online(self) -> Sequence[UserId]:
        return list(self._sockets)

    async def connected_users(self, *, now: datetime) -> Sequence[UserId]:  # noqa: ARG002 — the port's form
        return self.online()

    def is_any_online(self) -> bool:
        return bool(self._sockets)

    def open(self, user_id: UserId, connection_id: str) -> bool:
        """`came`, without a change of `last seen`."""
        sockets = self._sockets.setdefault(user_id, set())
        sockets.add(connection_id)
        return sockets == {connection_id}

    def close(self, user_id: UserId, connection_id: str) -> bool:
        """`left`, without a change of `last seen`."""
        sockets = self._sockets.get(user_id, set())
        sockets.discard(connection_id)
        if not sockets:
            self._sockets.pop(user_id, None)
        return not sockets

    async def connected(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        self.see(user_id, now)
        return self.open(user_id, connection_id)

    async def disconnected(self, user_id: UserId, connection_id: str, *, now: datetime) -> bool:
        self.see(user_id, now)
        return self.close(user_id, connection_id)

    def see(self, user_id: UserId, now: datetime) -> None:
        """Record that a user is online, for the next batch."""
        self._seen[user_id] = to_the_minute(now)

    async def keep(self) -> int:
        """Store who was seen since the last call; returns the number of users.

        Raises:
            Unavailable: the changes are still in memory; they are lost only if the process ends.
        """
        seen, self._seen = self._seen, {}
        if not seen:
            return 0
        rows = [{"user_id": user_id, "seen_at": at} for user_id, at in seen.items()]
        try:
            await self._sql.fetch(_SQL["keep"], seen=json_param(rows))
        except Unavailable:
            self._seen = seen | self._seen
            raise
        return len(seen)

    async def list_for_trip(self, access: Access, *, now: datetime) -> Sequence[MemberPresence]:
        seen = []
        for row in await self._members(access):
            user_id: UserId = row["user_id"]
            seen.append(
                MemberPresence(user_id, False, None)
                if row["ghost"]
                else self._as_seen(user_id, row["seen_at"], now)
            )
        return seen

    async def members(self, access: Access) -> Sequence[tuple[UserId, bool]]:
        """The active members of a trip and whether each is in ghost mode, for hosts with presence elsewhere.

        Raises:
            DomainError: the trip's refusals.
        """
        return [(row["user_id"], row["ghost"]) for row in await self._members(access)]

    async def _members(self, access: Access) -> Sequence[Row]:
        rows = await self._sql.fetch(_SQL["list_for_trip"], **gate(access))
        raise_for_verdict(rows[0]["verdict"])
        return rows

    async def typist(self, access: Access) -> Typist | None:
        [row] = await self._sql.fetch(_SQL["typist"], **gate(access))
        raise_for_verdict(row["verdict"])
        return None if row["ghost"] else Typist(row["name"], row["avatar_url"])

    async def visible_trips(self, user_ids: Iterable[UserId], *, now: datetime) -> Sequence[PresenceChange]:
        ids = json_param(list(user_ids))
        return [
            PresenceChange(row["trip_id"], self._as_seen(row["user_id"], row["seen_at"], now))
            for row in await self._sql.fetch(_SQL["shown"], user_ids=ids)
        ]

    def _as_seen(self, user_id: UserId, stored_at: datetime | None, now: datetime) -> MemberPresence:
        if user_id in self._sockets:
            return MemberPresence(user_id, True, to_the_minute(now))
        return MemberPresence(user_id, False, self._seen.get(user_id, stored_at))
