"""What `Presence` promises, on one machine and on AWS."""

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
from tests.contract.crew import Crew
from tests.fakes import CountingIds, Told

NOON = datetime(2026, 7, 1, 12, 0, 31, tzinfo=UTC)
MINUTE = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)

ON_AWS = pytest.mark.parametrize("sql", ["data-api"], indirect=True)
ON_ONE_MACHINE = pytest.mark.parametrize("sql", ["postgresql", "proxy"], indirect=True)


class Stage:
    """Ana and ben on a trip, ana alone on another, cleo with nobody."""

    def __init__(self, crew: Crew, presence: Presence) -> None:
        self.crew, self.presence = crew, presence
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
        await self.crew.run(
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
async def stage(sql: Sql, crew: Crew, request: pytest.FixtureRequest) -> Stage:
    presence: Presence = PostgresPresence(sql)
    if isinstance(sql, DataApi):
        cloud: Cloud = request.getfixturevalue("cloud")
        presence = DynamoPresence(sql, cloud.client(DYNAMODB), await cloud.table("userId"))
    made = Stage(crew, presence)
    made.ana, made.ben, made.cleo = [await crew.person(name) for name in ("ana", "ben", "cleo")]
    made.trip, made.alone = await crew.trip(made.ana), await crew.trip(made.ana)
    await crew.join(made.trip, made.ben, made.ana)
    return made


async def test_nobody_was_seen_before_they_came(stage: Stage) -> None:
    assert await stage.seen() == {
        "ana": MemberPresence(stage.ana, False, None),
        "ben": MemberPresence(stage.ben, False, None),
    }


async def test_somebody_is_online_from_the_first_socket_to_the_last(stage: Stage) -> None:
    assert await stage.came(stage.ben, "phone")
    assert not await stage.came(stage.ben, "tablet", at_s=1)
    assert (await stage.seen(at_s=2))["ben"] == MemberPresence(stage.ben, True, MINUTE)
    assert not await stage.left(stage.ben, "phone", at_s=3)
    assert (await stage.seen(at_s=4))["ben"].is_online
    assert await stage.left(stage.ben, "tablet", at_s=60)
    assert (await stage.seen(at_s=600))["ben"] == MemberPresence(stage.ben, False, MINUTE + timedelta(minutes=1))


async def test_the_same_news_twice_changes_nothing(stage: Stage) -> None:
    assert await stage.came(stage.ben)
    assert await stage.came(stage.ben)
    assert await stage.left(stage.ben, at_s=1)
    assert await stage.left(stage.ben, at_s=1)
    assert await stage.left(stage.ben, "never came", at_s=1)
    assert not (await stage.seen(at_s=2))["ben"].is_online


async def test_moments_are_known_to_the_minute_and_no_closer(stage: Stage) -> None:
    await stage.came(stage.ben)
    for at_s in (0, 17, 59, 61):
        at = (await stage.seen(at_s=at_s))["ben"].last_seen_at
        assert at is not None
        assert (at.second, at.microsecond) == (0, 0)


async def test_who_is_not_on_the_trip_sees_nobody(stage: Stage) -> None:
    await stage.came(stage.ben)
    with pytest.raises(NotTripMember):
        await stage.seen(by=stage.cleo)
    await stage.crew.leave(stage.trip, stage.ben, stage.ben)
    with pytest.raises(NotTripMember):
        await stage.seen(by=stage.ben)
    assert (await stage.seen()).keys() == {"ana"}


async def test_a_ghost_is_online_for_nobody_and_was_never_seen(stage: Stage) -> None:
    await stage.came(stage.ben)
    await stage.ghost(stage.ben, True)
    for by in (stage.ana, stage.ben):
        assert (await stage.seen(at_s=1, by=by))["ben"] == MemberPresence(stage.ben, False, None)
    assert await stage.presence.visible_trips([stage.ben], now=after(1)) == []
    await stage.ghost(stage.ben, False)
    assert (await stage.seen(at_s=2))["ben"].is_online


async def test_who_types_is_shown_by_name_and_a_ghost_to_nobody(stage: Stage) -> None:
    typist = await stage.presence.typist(Access(stage.trip, stage.ben, MEMBER))
    assert typist is not None
    assert typist.name
    await stage.ghost(stage.ben, True)
    assert await stage.presence.typist(Access(stage.trip, stage.ben, MEMBER)) is None
    with pytest.raises(NotTripMember):
        await stage.presence.typist(Access(stage.trip, stage.cleo, MEMBER))


async def test_what_a_ghost_did_is_not_seen_later(stage: Stage) -> None:
    await stage.came(stage.ben)
    await stage.left(stage.ben, at_s=1)
    await keep(stage)
    await stage.ghost(stage.ben, True)
    await stage.came(stage.ben, at_s=600)
    await stage.left(stage.ben, at_s=900)
    await keep(stage)
    await stage.ghost(stage.ben, False)
    assert (await stage.seen(at_s=1200))["ben"] == MemberPresence(stage.ben, False, MINUTE)


async def test_people_are_shown_on_the_trips_they_share(stage: Stage) -> None:
    await stage.came(stage.ana)
    found = await stage.presence.visible_trips([stage.ana, stage.ben, stage.cleo], now=NOON)
    assert sorted(found, key=lambda shown: shown.seen.is_online) == [
        PresenceChange(stage.trip, MemberPresence(stage.ben, False, None)),
        PresenceChange(stage.trip, MemberPresence(stage.ana, True, MINUTE)),
    ]


async def test_a_change_is_told_to_the_trip_with_what_may_be_known(stage: Stage) -> None:
    told, tell = Told(), announcer(stage)
    await stage.came(stage.ben)
    await tell(told, None)
    await stage.left(stage.ben, at_s=1)
    await tell(told, True)
    await tell(told, False)
    assert [(event.type, event.trip_id, event.actor_id, json.loads(event.payload)) for event in told.events] == [
        ("PRESENCE_CHANGED", stage.trip, stage.ben,
         {"userId": str(stage.ben), "isOnline": online, "lastSeenAt": "2026-07-01T12:00:00Z"})
        for online in (True, False)
    ]  # fmt: skip


def announcer(stage: Stage) -> Callable[[Told, bool | None], Awaitable[None]]:
    async def tell(told: Told, online: bool | None) -> None:
        await announce(
            [stage.ben],
            presence=stage.presence,
            broadcast=told.broadcast,
            new_id=CountingIds(),
            now=after(2),
            online=online,
        )

    return tell


@ON_AWS
async def test_on_aws_a_socket_that_never_said_goodbye_ends_with_its_lifetime(stage: Stage) -> None:
    lifetime_s = LIFETIME.total_seconds()
    await stage.came(stage.ben, "broken")
    assert (await stage.seen(at_s=lifetime_s - 1))["ben"].is_online
    assert not (await stage.seen(at_s=lifetime_s + 1))["ben"].is_online
    assert await stage.came(stage.ben, "new", at_s=lifetime_s + 2)
    assert await stage.left(stage.ben, "new", at_s=lifetime_s + 3)


@ON_AWS
async def test_on_aws_who_comes_just_as_the_last_socket_goes_is_told_of(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.came(stage.ben, "old")
    assert isinstance(stage.presence, DynamoPresence)
    call = stage.presence._dynamodb.call
    left: list[str] = []

    async def old_leaves_after_the_first(operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await call(operation, body)
        finally:
            if not left:
                left.append("old")
                assert await stage.left(stage.ben, "old")

    monkeypatch.setattr(stage.presence._dynamodb, "call", old_leaves_after_the_first)
    assert await stage.came(stage.ben, "new")
    assert (await stage.seen())["ben"].is_online


@ON_AWS
async def test_on_aws_a_full_trip_is_asked_for_at_once(stage: Stage) -> None:
    numbers = count()
    for _ in range(12):
        guest = await stage.crew.person(f"guest{next(numbers)}")
        await stage.crew.join(stage.trip, guest, stage.ana)
        await stage.came(guest)
    found = await stage.presence.list_for_trip(Access(stage.trip, stage.ana, MEMBER), now=NOON)
    assert [seen.is_online for seen in found] == [False] * 2 + [True] * 12


async def keep(stage: Stage) -> None:
    """What one machine writes in batches."""
    if isinstance(stage.presence, PostgresPresence):
        await stage.presence.keep()


@ON_ONE_MACHINE
async def test_on_one_machine_what_was_kept_outlives_the_process(stage: Stage, sql: Sql) -> None:
    assert isinstance(stage.presence, PostgresPresence)
    await stage.came(stage.ben)
    await stage.came(stage.ana, at_s=120)
    assert await stage.presence.keep() == 2
    assert await stage.presence.keep() == 0
    stage.presence = PostgresPresence(sql)
    assert await stage.seen(at_s=600) == {
        "ana": MemberPresence(stage.ana, False, MINUTE + timedelta(minutes=2)),
        "ben": MemberPresence(stage.ben, False, MINUTE),
    }
