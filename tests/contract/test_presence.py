"""`Presence` on the machine host and on AWS."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import pytest_asyncio

from nomadcrew.adapters.aws.dataapi import DataApi
from nomadcrew.adapters.aws.dynamodb.connections import LIFETIME
from nomadcrew.adapters.aws.dynamodb.presence import DynamoPresence
from nomadcrew.adapters.aws.sdk.services import DYNAMODB
from nomadcrew.adapters.postgres.presence import PostgresPresence
from nomadcrew.adapters.postgres.sql import Sql
from nomadcrew.core.access import Access
from nomadcrew.core.errors import NotTripMember
from nomadcrew.core.ids import TripId, UserId
from nomadcrew.core.permissions import MEMBER
from nomadcrew.core.presence.model import MemberPresence, PresenceChange
from nomadcrew.core.presence.ports import Presence
from nomadcrew.core.presence.service import announce
from tests.contract.cloud import Cloud
from tests.contract.trip_database import TripDb
from tests.fakes import CountingIds, RecordingBroadcaster

NOON = datetime(2026, 7, 1, 12, 0, 31, tzinfo=UTC)
MINUTE = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)

ON_AWS = pytest.mark.parametrize("sql", ["data-api"], indirect=True)
ON_MACHINE_HOST = pytest.mark.parametrize("sql", ["postgresql", "proxy"], indirect=True)


class Scenario:
    """Ana and ben on a trip, ana alone on another, and cleo on none."""

    def __init__(self, db: TripDb, presence: Presence) -> None:
        self.db, self.presence = db, presence
        self.ana: UserId
        self.ben: UserId
        self.cleo: UserId
        self.trip: TripId
        self.alone: TripId

    async def seen(self, *, at_s: float = 0, by: UserId | None = None) -> dict[str, MemberPresence]:
        found = await self.presence.list_for_trip(Access(self.trip, by or self.ana, MEMBER), now=after(at_s))
        names = {self.ana: "ana", self.ben: "ben"}
        return {names[seen.user_id]: seen for seen in found}

    async def ghost(self, user_id: UserId, on: bool) -> None:
        await self.db.run(
            "UPDATE user_profiles SET preferences = :preferences::jsonb WHERE id = :id::uuid",
            id=user_id, preferences=json.dumps({"ghostMode": on}),
        )  # fmt: skip

    async def came(self, user_id: UserId, connection_id: str = "phone", *, at_s: float = 0) -> bool:
        return await self.presence.connected(user_id, connection_id, now=after(at_s))

    async def left(self, user_id: UserId, connection_id: str = "phone", *, at_s: float = 0) -> bool:
        return await self.presence.disconnected(user_id, connection_id, now=after(at_s))


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest_asyncio.fixture(loop_scope="session")
async def scenario(sql: Sql, db: TripDb, request: pytest.FixtureRequest) -> Scenario:
    presence: Presence = PostgresPresence(sql)
    if isinstance(sql, DataApi):
        cloud: Cloud = request.getfixturevalue("cloud")
        presence = DynamoPresence(sql, cloud.client(DYNAMODB), await cloud.table("userId"))
    made = Scenario(db, presence)
    made.ana, made.ben, made.cleo = [await db.user(name) for name in ("ana", "ben", "cleo")]
    made.trip, made.alone = await db.trip(made.ana), await db.trip(made.ana)
    await db.join(made.trip, made.ben, made.ana)
    return made


async def test_users_are_offline_before_they_connect(scenario: Scenario) -> None:
    assert await scenario.seen() == {
        "ana": MemberPresence(scenario.ana, False, None),
        "ben": MemberPresence(scenario.ben, False, None),
    }


async def test_a_user_is_online_from_the_first_socket_to_the_last(scenario: Scenario) -> None:
    assert await scenario.came(scenario.ben, "phone")
    assert not await scenario.came(scenario.ben, "tablet", at_s=1)
    assert (await scenario.seen(at_s=2))["ben"] == MemberPresence(scenario.ben, True, MINUTE)
    assert not await scenario.left(scenario.ben, "phone", at_s=3)
    assert (await scenario.seen(at_s=4))["ben"].is_online
    assert await scenario.left(scenario.ben, "tablet", at_s=60)
    assert (await scenario.seen(at_s=600))["ben"] == MemberPresence(
        scenario.ben, False, MINUTE + timedelta(minutes=1)
    )


async def test_repeated_connects_and_disconnects_change_nothing(scenario: Scenario) -> None:
    assert await scenario.came(scenario.ben)
    assert await scenario.came(scenario.ben)
    assert await scenario.left(scenario.ben, at_s=1)
    assert await scenario.left(scenario.ben, at_s=1)
    assert await scenario.left(scenario.ben, "never came", at_s=1)
    assert not (await scenario.seen(at_s=2))["ben"].is_online


async def test_last_seen_times_are_rounded_to_the_minute(scenario: Scenario) -> None:
    await scenario.came(scenario.ben)
    for at_s in (0, 17, 59, 61):
        at = (await scenario.seen(at_s=at_s))["ben"].last_seen_at
        assert at is not None
        assert (at.second, at.microsecond) == (0, 0)


async def test_non_members_see_no_presence(scenario: Scenario) -> None:
    await scenario.came(scenario.ben)
    with pytest.raises(NotTripMember):
        await scenario.seen(by=scenario.cleo)
    await scenario.db.leave(scenario.trip, scenario.ben, scenario.ben)
    with pytest.raises(NotTripMember):
        await scenario.seen(by=scenario.ben)
    assert (await scenario.seen()).keys() == {"ana"}


async def test_a_ghost_appears_offline_and_never_seen(scenario: Scenario) -> None:
    await scenario.came(scenario.ben)
    await scenario.ghost(scenario.ben, True)
    for by in (scenario.ana, scenario.ben):
        assert (await scenario.seen(at_s=1, by=by))["ben"] == MemberPresence(scenario.ben, False, None)
    assert await scenario.presence.visible_trips([scenario.ben], now=after(1)) == []
    await scenario.ghost(scenario.ben, False)
    assert (await scenario.seen(at_s=2))["ben"].is_online


async def test_a_typing_member_has_a_name_and_a_ghost_none(scenario: Scenario) -> None:
    typist = await scenario.presence.typist(Access(scenario.trip, scenario.ben, MEMBER))
    assert typist is not None
    assert typist.name
    await scenario.ghost(scenario.ben, True)
    assert await scenario.presence.typist(Access(scenario.trip, scenario.ben, MEMBER)) is None
    with pytest.raises(NotTripMember):
        await scenario.presence.typist(Access(scenario.trip, scenario.cleo, MEMBER))


async def test_the_activity_of_a_ghost_stays_hidden_later(scenario: Scenario) -> None:
    await scenario.came(scenario.ben)
    await scenario.left(scenario.ben, at_s=1)
    await store(scenario)
    await scenario.ghost(scenario.ben, True)
    await scenario.came(scenario.ben, at_s=600)
    await scenario.left(scenario.ben, at_s=900)
    await store(scenario)
    await scenario.ghost(scenario.ben, False)
    assert (await scenario.seen(at_s=1200))["ben"] == MemberPresence(scenario.ben, False, MINUTE)


async def test_users_are_shown_on_the_trips_they_share(scenario: Scenario) -> None:
    await scenario.came(scenario.ana)
    found = await scenario.presence.visible_trips([scenario.ana, scenario.ben, scenario.cleo], now=NOON)
    assert sorted(found, key=lambda shown: shown.seen.is_online) == [
        PresenceChange(scenario.trip, MemberPresence(scenario.ben, False, None)),
        PresenceChange(scenario.trip, MemberPresence(scenario.ana, True, MINUTE)),
    ]


async def test_a_change_is_broadcast_to_the_trip(scenario: Scenario) -> None:
    broadcaster, tell = RecordingBroadcaster(), announce_with(scenario)
    await scenario.came(scenario.ben)
    await tell(broadcaster, None)
    await scenario.left(scenario.ben, at_s=1)
    await tell(broadcaster, True)
    await tell(broadcaster, False)
    events = broadcaster.events
    assert [(event.type, event.trip_id, event.actor_id, json.loads(event.payload)) for event in events] == [
        ("PRESENCE_CHANGED", scenario.trip, scenario.ben,
         {"userId": str(scenario.ben), "isOnline": online, "lastSeenAt": "2026-07-01T12:00:00Z"})
        for online in (True, False)
    ]  # fmt: skip


def announce_with(scenario: Scenario) -> Callable[[RecordingBroadcaster, bool | None], Awaitable[None]]:
    async def tell(broadcaster: RecordingBroadcaster, online: bool | None) -> None:
        await announce(
            [scenario.ben],
            presence=scenario.presence,
            broadcast=broadcaster.broadcast,
            new_id=CountingIds(),
            now=after(2),
            online=online,
        )

    return tell


@ON_AWS
async def test_on_aws_a_dead_connection_ends_with_its_lifetime(scenario: Scenario) -> None:
    lifetime_s = LIFETIME.total_seconds()
    await scenario.came(scenario.ben, "broken")
    assert (await scenario.seen(at_s=lifetime_s - 1))["ben"].is_online
    assert not (await scenario.seen(at_s=lifetime_s + 1))["ben"].is_online
    assert await scenario.came(scenario.ben, "new", at_s=lifetime_s + 2)
    assert await scenario.left(scenario.ben, "new", at_s=lifetime_s + 3)


@ON_AWS
async def test_on_aws_a_connect_during_the_last_disconnect_is_not_lost(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scenario.came(scenario.ben, "old")
    assert isinstance(scenario.presence, DynamoPresence)
    call = scenario.presence._dynamodb.call
    left: list[str] = []

    async def old_leaves_after_the_first(operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await call(operation, body)
        finally:
            if not left:
                left.append("old")
                assert await scenario.left(scenario.ben, "old")

    monkeypatch.setattr(scenario.presence._dynamodb, "call", old_leaves_after_the_first)
    assert await scenario.came(scenario.ben, "new")
    assert (await scenario.seen())["ben"].is_online


@ON_AWS
async def test_on_aws_a_full_trip_is_read_in_one_call(scenario: Scenario) -> None:
    numbers = count()
    for _ in range(12):
        guest = await scenario.db.user(f"guest{next(numbers)}")
        await scenario.db.join(scenario.trip, guest, scenario.ana)
        await scenario.came(guest)
    found = await scenario.presence.list_for_trip(Access(scenario.trip, scenario.ana, MEMBER), now=NOON)
    assert [seen.is_online for seen in found] == [False] * 2 + [True] * 12


async def store(scenario: Scenario) -> None:
    """Write the batch of the machine host."""
    if isinstance(scenario.presence, PostgresPresence):
        await scenario.presence.keep()


@ON_MACHINE_HOST
async def test_on_the_machine_host_stored_presence_survives_a_restart(scenario: Scenario, sql: Sql) -> None:
    assert isinstance(scenario.presence, PostgresPresence)
    await scenario.came(scenario.ben)
    await scenario.came(scenario.ana, at_s=120)
    assert await scenario.presence.keep() == 2
    assert await scenario.presence.keep() == 0
    scenario.presence = PostgresPresence(sql)
    assert await scenario.seen(at_s=600) == {
        "ana": MemberPresence(scenario.ana, False, MINUTE + timedelta(minutes=2)),
        "ben": MemberPresence(scenario.ben, False, MINUTE),
    }
