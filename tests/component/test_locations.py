"""Positions over HTTP and sockets: the contract's shapes, and privacy in every route and broadcast."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from nomadcrew.api.socket_frames import frames
from nomadcrew.web.sockets import handle_frame
from tests.fakes import CountingOutbox
from tests.postgres import Postgres
from tests.world import NOON, Answer, User, World, world

NOON_MS = int(NOON.timestamp() * 1000)
EXACTLY, ROUGHLY = (41.149_61, -8.610_99), (41.15, -8.61)
FAR = (40.2, -8.4)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(
        postgres, tmp_path_factory.mktemp("locations"), template=template, environment=environment
    ) as made:
        yield made


class Crew:
    """A trip of ana and ben; eve is a former member, mallory never was one."""

    def __init__(self, world: World, trip: UUID, people: dict[str, User]) -> None:
        self.world = world
        self.trip = trip
        self.people = people
        self.path = f"/v1/trips/{trip}"

    async def call(self, method: str, path: str, by: str, body: object = None) -> Answer:
        return await self.world.call(method, path, by=self.people[by], body=body)

    async def post(
        self, by: str = "ana", at: tuple[float, float] = EXACTLY, *, method: str = "POST", **fields: Any
    ) -> Answer:
        body = {"latitude": at[0], "longitude": at[1], **fields}
        return await self.call(method, f"{self.path}/locations", by, body)

    async def later(self, seconds: float) -> None:
        """Advance the clock and renew the tokens."""
        self.world.clock.advance(seconds)
        for name, user in self.people.items():
            self.people[name] = replace(user, token=await self.world.token(user.id, user.username))

    async def seen(self, of: str = "ana", by: str = "ben") -> list[tuple[float, float] | None]:
        """The position of `of` as `by` sees it in the list, in the bare array and in the track; [] if refused."""
        listed = await self.call("GET", f"{self.path}/locations", by)
        members = await self.call("GET", f"{self.path}/locations/members", by)
        track = await self.call("GET", f"{self.path}/locations/track?user={self.people[of].id}", by)
        if any(reply.status != 200 for reply in (listed, members, track)):
            assert {reply.status for reply in (listed, members, track)} == {403}
            return []
        owner = str(self.people[of].id)
        rows = [row for row in listed.json["locations"] if row["user_id"] == owner]
        bare = [row["location"] for row in members.json if row["userId"] == owner]
        for row in (*rows, *bare, *track.json["points"]):
            if len(str(row["latitude"]).partition(".")[2]) <= 2:
                assert row.get("accuracy") is None
                assert not {"speed", "heading"} & set(row)
        return [place(found) for found in (rows, bare, track.json["points"])]

    async def broadcasts(self) -> list[dict[str, Any]]:
        """The payloads of broadcasts since the last call."""
        events = [json.loads(event.payload) for event in self.world.told.events if event.trip_id == self.trip]
        self.world.told.events.clear()
        return events

    async def changes(self, trip: UUID, of: User) -> list[bool]:
        """The new state of each sharing event of a user on a trip."""
        changed = await self.events("LOCATION_SHARING_CHANGED", trip)
        return [payload["isSharingEnabled"] for payload in changed if payload["userId"] == str(of.id)]

    async def events(self, type_: str, trip: UUID | None = None) -> list[Any]:
        async with self.world.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT payload FROM outbox WHERE trip_id = $1 AND type = $2 ORDER BY entered",
                trip or self.trip,
                type_,
            )
        return [json.loads(row["payload"]) for row in rows]

    async def by_socket(self, by: str, frame: object) -> Any:
        answer = await handle_frame(frames, "c", self.people[by].id, json.dumps(frame), self.world.ports)
        return None if answer is None else json.loads(answer)


def place(rows: list[Any]) -> tuple[float, float] | None:
    return (rows[-1]["latitude"], rows[-1]["longitude"]) if rows else None


@pytest_asyncio.fixture(loop_scope="session")
async def crew(stage: World) -> Crew:
    return await a_crew(stage)


async def a_crew(stage: World) -> Crew:
    stage.clock.now = NOON
    tag = uuid4().hex[:8]
    people = {name: await stage.user(f"{name}-{tag}") for name in ("ana", "ben", "eve", "mallory")}
    trip = await stage.trip(people["ana"])
    for name in ("ben", "eve"):
        await stage.join(trip, people["ana"], people[name])
    made = Crew(stage, trip, people)
    assert (await made.post("eve", FAR)).status == 201
    await stage.call("DELETE", f"/v1/trips/{trip}/members/{people['eve'].id}", by=people["ana"])
    stage.told.events.clear()
    return made


@pytest.mark.contract("rest-activity.locations.post")
async def test_the_reply_to_a_position_follows_the_contract(crew: Crew) -> None:
    reply = await crew.post(accuracy=0, timestamp=NOON_MS - 1000)
    assert reply.status == 201
    ana = str(crew.people["ana"].id)
    assert reply.json == {
        "id": f"{ana}_{crew.trip}_20261122120000", "user_id": ana, "trip_id": str(crew.trip),
        "latitude": EXACTLY[0], "longitude": EXACTLY[1], "accuracy": 0.0, "timestamp": "2026-11-22T11:59:59Z",
        "privacy_level": "precise", "created_at": "2026-11-22T12:00:00Z", "updated_at": "2026-11-22T12:00:00Z",
    }  # fmt: skip


@pytest.mark.contract("rest-activity.locations.list")
@pytest.mark.parametrize(
    ("query", "limit", "offset"),
    [
        ("", 50, 0),
        ("limit=20&offset=%2B40", 20, 40),
        ("limit=20.9&offset=40.", 20, 40),
        ("limit=.5&offset=0x1", 50, 0),
        ("limit=0&offset=-1", 50, 0),
        ("limit=1_0&offset=%D9%A3", 50, 0),
        ("limit=+5&offset=5%20", 50, 0),
        ("limit=9999999999999&offset=99999999999999", 1_000_000, 1_000_000),
        ("limit=99999999999999999999&offset=1e1", 50, 0),
    ],
)
async def test_limit_and_offset_must_be_plain_digits(crew: Crew, query: str, limit: int, offset: int) -> None:
    reply = await crew.call("GET", f"{crew.path}/locations?{query}", "ben")
    assert (reply.json["pagination"]["limit"], reply.json["pagination"]["offset"]) == (limit, offset)


@pytest.mark.parametrize("accuracy", [-1, 1e300])
async def test_the_reply_omits_impossible_measurements(crew: Crew, accuracy: float) -> None:
    reply = await crew.post(accuracy=accuracy, timestamp=NOON_MS)
    listed = (await crew.call("GET", f"{crew.path}/locations", "ben")).json["locations"]
    everywhere = await crew.call(
        "POST", "/v1/location/update", "ana", {"latitude": 1, "longitude": 1, "accuracy": accuracy}
    )
    assert [one["accuracy"] for one in (reply.json, *listed, everywhere.json)] == [None] * 3


@pytest.mark.contract(
    "rest-activity.locations.list",
    "rest-activity.locations.list.name",
    "rest-activity.locations.members",
)
async def test_the_list_follows_the_contract(crew: Crew) -> None:
    await crew.post(accuracy=4.5, timestamp=NOON_MS)
    reply = await crew.call("GET", f"{crew.path}/locations?limit=7&offset=2", "ben")
    ana = crew.people["ana"]
    assert reply.json == {
        "locations": [{
            "user_id": str(ana.id), "trip_id": str(crew.trip), "latitude": EXACTLY[0], "longitude": EXACTLY[1],
            "accuracy": 4.5, "privacy": "precise", "is_sharing_enabled": True,
            "timestamp": "2026-11-22T12:00:00Z", "user_name": ana.username.title(),
        }],
        "pagination": {"has_more": False, "total": 1, "limit": 7, "offset": 2},
    }  # fmt: skip
    members = await crew.call("GET", f"{crew.path}/locations/members", "ben")
    location = {"latitude": EXACTLY[0], "longitude": EXACTLY[1], "accuracy": 4.5, "timestamp": NOON_MS}
    assert members.json == [{"userId": str(ana.id), "name": ana.username.title(), "location": location}]


@pytest.mark.contract("rest-activity.locations.fix-zero")
@pytest.mark.parametrize(
    "body",
    [
        {"latitude": 0, "longitude": 0, "accuracy": 0, "timestamp": NOON_MS},
        {"latitude": 0.0, "longitude": 0.0, "accuracy": None, "timestamp": None},
        {"latitude": 1, "longitude": 1},
        {"latitude": 1, "longitude": 1, "timestamp": NOON_MS + 0.75},
        {"latitude": 1, "longitude": 1, "timestamp": NOON_MS + 120_000, "sharingExpiresIn": 3600.5},
        {"Latitude": 1, "LONGITUDE": 1, "extra": "field"},
    ],
)
async def test_bodies_of_real_phones_are_accepted(crew: Crew, body: dict[str, Any]) -> None:
    reply = await crew.call("POST", f"{crew.path}/locations", "ana", body)
    assert reply.status == 201, reply.body
    assert reply.json["timestamp"] == "2026-11-22T12:00:00Z"


@pytest.mark.contract("rest-activity.locations.fields")
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ('{"latitude": 90.1, "longitude": 0}', "invalid_coordinates"),
        ('{"latitude": 0, "longitude": -180.1}', "invalid_coordinates"),
        ('{"latitude": NaN, "longitude": 0}', "invalid_request_payload"),
        ('{"latitude": 1e999, "longitude": 0}', None),
        ('{"latitude": "1", "longitude": 0}', "invalid_request_payload"),
        ('{"longitude": 0}', "invalid_request_payload"),
        ('{"latitude": 0, "longitude": 0, "timestamp": 1.5}', "invalid_timestamp"),
        ('{"latitude": 0, "longitude": 0, "timestamp": -5}', "invalid_timestamp"),
        ('{"latitude": 0, "longitude": 0, "timestamp": 1795348921000.5}', "invalid_timestamp"),
        ('{"latitude": 0, "longitude": 0, "timestamp": 1000000000000000000}', "invalid_timestamp"),
        ('{"latitude": 0, "longitude": 0, "timestamp": 1e18}', "invalid_request_payload"),
        ('{"latitude": 0, "longitude": 0, "timestamp": "1795348800000"}', "invalid_request_payload"),
        ('{"latitude": 0, "longitude": 0, "sharingExpiresIn": 0.5}', "invalid_sharing_expiry"),
        ('{"latitude": 0, "longitude": 0, "privacy": "secret"}', "invalid_request_payload"),
        ('{"latitude": 0, "longitude": 0, "sharingExpiresIn": 0}', "invalid_sharing_expiry"),
        ('{"latitude": 0, "longitude": 0, "sharingExpiresIn": -1}', "invalid_sharing_expiry"),
    ],
)
async def test_an_invalid_position_is_refused_without_repeating_it(crew: Crew, raw: str, code: str | None) -> None:
    reply = await crew.world.call("POST", f"{crew.path}/locations", by=crew.people["ana"], raw=raw.encode())
    assert reply.status == 400
    assert code is None or reply.code == code
    assert reply.json["error"]
    assert b"90.1" not in reply.body
    assert await crew.seen() == [None, None, None]


@pytest.mark.contract("rest-activity.locations.put")
async def test_put_defaults_to_approximate_and_accepts_privacy_level(crew: Crew) -> None:
    reply = await crew.post(method="PUT")
    assert (reply.status, set(reply.json)) == (200, {"status"})
    assert await crew.seen() == [ROUGHLY] * 3
    crew.world.clock.advance(10)
    assert (await crew.post(method="PUT", privacy_level="precise")).status == 200
    assert await crew.seen() == [EXACTLY] * 3


# The cases of the unit test of `privacy.visible_position`, through every route and broadcast.
@pytest.mark.contract(
    "rest-activity.locations.list.hidden",
    "rest-activity.locations.fix-rounded",
    "rest-activity.locations.fix-expiry",
    "rest-activity.locations.fix-profile",
    "jobs.sharing",
)
@pytest.mark.parametrize(("asked", "preference"), list(product(
    ("hidden", "approximate", "precise"), (None, "hidden", "approximate", "precise")
)))  # fmt: skip
async def test_every_route_and_broadcast_applies_privacy(stage: World, asked: str, preference: str | None) -> None:
    strictness = ("hidden", "approximate", "precise")
    strictest = min((asked, preference or "precise"), key=strictness.index)
    by_member = {"hidden": None, "approximate": ROUGHLY, "precise": EXACTLY}[strictest]
    for ghost, how, when in product((False, True), ("before expiry", "after expiry", "ended"), ("then", "now")):
        crew = await a_crew(stage)
        ana = crew.people["ana"]

        async def hide(crew: Crew = crew, ana: User = ana, ghost: bool = ghost) -> None:
            if preference is not None:
                body = {"locationPrivacyPreference": preference}
                assert (await crew.call("PUT", f"/v1/users/{ana.id}", "ana", body)).status == 200
            path = f"/v1/users/{ana.id}/preferences"
            assert (await crew.call("PUT", path, "ana", {"ghostMode": ghost})).status == 200

        # A setting applies to positions from before and after its change.
        if when == "then":
            await hide()
        posted = await crew.post(privacy=asked, sharingExpiresIn=60, accuracy=3, speed=1.5, heading=90)
        assert posted.status == 201
        if when == "now":
            await hide()
        if how == "after expiry":
            stage.clock.advance(60)
        elif how == "ended":
            path = f"{crew.path}/status"
            assert (await crew.call("PATCH", path, "ana", {"status": "CANCELLED"})).status == 200
        case = (asked, preference, ghost, how, when)
        shown = None if ghost or how != "before expiry" else by_member
        assert await crew.seen(by="ben") == [shown] * 3, case
        for stranger in ("eve", "mallory"):
            assert await crew.seen(by=stranger) == [], case
        own = await crew.seen(by="ana")
        assert own[:2] == [EXACTLY] * 2, case
        # The own track has the points that were not hidden when they were reported.
        hidden_then = asked == "hidden" or (when == "then" and (ghost or preference == "hidden"))
        assert own[2] == (None if hidden_then else EXACTLY), case
        told = [event["location"] for event in await crew.broadcasts()]
        told_as = asked if when == "now" else "hidden" if ghost else strictest
        expected = {"hidden": None, "approximate": ROUGHLY, "precise": EXACTLY}[told_as]
        assert place(told) == expected, case
        suggested = await crew.call("GET", f"{crew.path}/meeting-point/suggest", "ben")
        assert suggested.status == (404 if shown is None else 200), case
        if shown is not None:
            assert (suggested.json["latitude"], suggested.json["longitude"]) == pytest.approx(shown), case
            assert [one["userId"] for one in suggested.json["members"]] == [str(ana.id)]


async def test_a_hidden_hour_is_never_readable_and_an_approximate_one_never_exact(crew: Crew) -> None:
    for privacy, latitude in (
        ("precise", 41.101),
        ("hidden", 41.102),
        ("approximate", 41.103),
        ("precise", 41.104),
    ):
        crew.world.clock.advance(60)
        assert (await crew.post(at=(latitude, -8.601), privacy=privacy)).status == 201
    path = f"{crew.path}/locations/track?user={crew.people['ana'].id}"
    points = (await crew.call("GET", path, "ben")).json["points"]
    assert [point["latitude"] for point in points] == [41.101, 41.1, 41.104]
    own = (await crew.call("GET", f"{crew.path}/locations/track", "ana")).json["points"]
    assert [point["latitude"] for point in own] == [41.101, 41.103, 41.104]


@pytest.mark.contract("rest-activity.locations.fix-stale")
async def test_stale_positions_are_not_shown(crew: Crew) -> None:
    await crew.post()
    await crew.later(24 * 3600 - 1)
    assert (await crew.seen())[:2] == [EXACTLY] * 2
    await crew.later(1)
    assert (await crew.seen())[:2] == [None, None]


async def test_a_broadcast_position_has_the_form_that_the_app_reads(crew: Crew) -> None:
    await crew.post(timestamp=NOON_MS, accuracy=2.5)
    [event] = crew.world.told.events
    assert (event.type, event.trip_id, event.actor_id) == ("LOCATION_UPDATED", crew.trip, crew.people["ana"].id)
    assert json.loads(event.payload) == {
        "userId": str(crew.people["ana"].id), "name": crew.people["ana"].username.title(),
        "location": {"latitude": EXACTLY[0], "longitude": EXACTLY[1], "timestamp": NOON_MS, "accuracy": 2.5},
    }  # fmt: skip
    assert len(set(crew.world.told.latest_of[-1:])) == 1
    assert crew.world.told.latest_of[-1] is not None


async def test_late_points_and_jumps_are_not_broadcast(crew: Crew) -> None:
    await crew.post(timestamp=NOON_MS)
    await crew.broadcasts()
    await crew.post(at=(41.0, -8.6), timestamp=NOON_MS - 60_000)
    crew.world.clock.advance(10)
    await crew.post(at=(48.85, 2.35))
    assert await crew.broadcasts() == []
    assert (await crew.seen())[:2] == [EXACTLY] * 2


async def test_a_batch_gets_a_verdict_per_position(crew: Crew) -> None:
    at = NOON_MS - 600_000
    locations = [
        {"latitude": 41.101, "longitude": -8.6, "timestamp": at + 120_000},
        {"latitude": 41.1, "longitude": -8.6, "timestamp": at, "accuracy": None},
        {"latitude": 91, "longitude": 0, "timestamp": at},
        {"latitude": 0, "longitude": 0, "timestamp": at + 60_000},
        {"latitude": 41.102, "longitude": -8.6, "timestamp": NOON_MS + 121_000},
        {"latitude": 41.102, "longitude": -8.6, "timestamp": NOON_MS - 31 * 86_400_000},
        {"latitude": 41.103, "longitude": -8.6},
    ]
    await crew.call("POST", f"{crew.path}/locations:batch", "ben", {"locations": locations[:1]})
    reply = await crew.call("POST", f"{crew.path}/locations:batch", "ana", {"locations": locations})
    assert reply.status == 200
    assert [one["status"] for one in reply.json["results"]] == [
        "accepted", "accepted", "out_of_range", "jump", "in_future", "too_old", "accepted"
    ]  # fmt: skip
    assert [one["index"] for one in reply.json["results"]] == list(range(7))
    assert reply.json["accepted"] == 4
    own = (await crew.call("GET", f"{crew.path}/locations/track", "ana")).json["points"]
    assert [point["latitude"] for point in own] == [41.1, 41.101, 41.103]
    assert (await crew.seen())[0] == (41.103, -8.6)


@pytest.mark.parametrize(
    "bad",
    [
        7, None, "here", [], {}, {"latitude": "41.1", "longitude": -8.6}, {"latitude": 41.1},
        {"latitude": 41.1, "longitude": -8.6, "timestamp": "noon"},
        {"latitude": 41.1, "longitude": -8.6, "privacy": "secret"},
        {"latitude": 41.1, "longitude": -8.6, "privacy_level": 1},
    ],
)  # fmt: skip
async def test_a_position_of_the_wrong_type_is_refused_alone(crew: Crew, bad: object) -> None:
    good = {"latitude": 41.1, "longitude": -8.6, "timestamp": NOON_MS - 0.5}
    reply = await crew.call("POST", f"{crew.path}/locations:batch", "ana", {"locations": [bad, good, bad]})
    assert reply.status == 200
    assert reply.json == {
        "accepted": 1,
        "results": [
            {"index": 0, "status": "unreadable"}, {"index": 1, "status": "accepted"},
            {"index": 2, "status": "unreadable"},
        ],
    }  # fmt: skip
    answer = await crew.by_socket(
        "ana", {"action": "updateLocation", "tripId": str(crew.trip), "locations": [good, bad]}
    )
    assert [one["status"] for one in answer["payload"]["results"]] == ["accepted", "unreadable"]
    assert (await crew.seen())[0] == (41.1, -8.6)


async def test_an_approximate_track_tells_no_exact_time_of_a_change_of_cell(crew: Crew) -> None:
    crew.world.clock.advance(3600)
    await crew.later(0)
    start = NOON_MS + 3_600_000 - 1_800_000
    walk = [
        {"latitude": 41.1449 + n * 0.00001, "longitude": -8.6, "timestamp": start + n * 60_000,
         "privacy": "approximate"}
        for n in range(30)
    ]  # fmt: skip
    assert (await crew.call("POST", f"{crew.path}/locations:batch", "ana", {"locations": walk})).status == 200
    path = f"{crew.path}/locations/track?user={crew.people['ana'].id}"

    async def track(by: str, query: str = "") -> list[tuple[float, int]]:
        points = (await crew.call("GET", path + query, by)).json["points"]
        return [(point["latitude"], (point["timestamp"] - start) // 60_000) for point in points]

    assert await track("ben") == [(41.14, 0), (41.15, 0), (41.15, 15)]
    # No window of the query narrows it down.
    window = f"&from={start + 9 * 60_000}&to={start + 10 * 60_000}"
    assert await track("ben", window) == [(41.14, 0), (41.15, 0)]
    assert [minute for _, minute in await track("ana", window)] == [9]


async def test_the_stricter_of_two_levels_applies_to_each_position(crew: Crew) -> None:
    crew.world.clock.advance(10)
    levels = {"privacy": "precise", "privacy_level": "hidden"}
    fix = {"latitude": 41.1234, "longitude": -8.6, "timestamp": NOON_MS + 2000}
    body = {"locations": [fix | levels, fix | {"timestamp": NOON_MS + 1000, "privacy_level": "approximate"}]}
    assert (await crew.call("POST", f"{crew.path}/locations:batch", "ana", body)).json["accepted"] == 2
    assert (await crew.post(at=(41.2, -8.6), **levels)).json["privacy_level"] == "hidden"
    assert await crew.seen() == [None, None, (41.12, -8.6)]


@pytest.mark.parametrize("count", [0, 501])
async def test_a_batch_has_one_to_five_hundred_points(crew: Crew, count: int) -> None:
    body = {"locations": [{"latitude": 1, "longitude": 1}] * count}
    assert (await crew.call("POST", f"{crew.path}/locations:batch", "ana", body)).status == 400


async def test_a_full_batch_is_accepted(crew: Crew) -> None:
    at = NOON_MS - 600_000
    fixes = [
        {"latitude": 41 + n / 1e5, "longitude": -8.6, "timestamp": at + n * 1000} for n in reversed(range(500))
    ]
    reply = await crew.call("POST", f"{crew.path}/locations:batch", "ana", {"locations": fixes})
    assert reply.json["accepted"] == 500
    points = (await crew.call("GET", f"{crew.path}/locations/track?points=10", "ana")).json["points"]
    assert len(points) == 10
    assert [points[0]["timestamp"], points[-1]["timestamp"]] == [at, at + 499_000]


async def test_a_track_covers_the_requested_time(crew: Crew) -> None:
    for minute in range(5):
        await crew.post(at=(41.1 + minute / 1000, -8.6), timestamp=NOON_MS - minute * 60_000)
    path = f"{crew.path}/locations/track"
    start, end = datetime.fromtimestamp(NOON_MS / 1000 - 180, UTC), NOON_MS - 60_000
    for first, last in ((start.isoformat().replace("+00:00", "Z"), end), (start.isoformat(), end)):
        reply = await crew.call("GET", f"{path}?from={first}&to={last}", "ana")
        assert [point["timestamp"] for point in reply.json["points"]] == [NOON_MS - 180_000, NOON_MS - 120_000]
    for query in ("from=then", f"from={NOON_MS}&to={NOON_MS - 1}"):
        reply = await crew.call("GET", f"{path}?{query}", "ana")
        assert (reply.status, reply.code) == (400, "invalid_time_range")
    for whose in ("nobody", uuid4(), crew.people["eve"].id, crew.people["mallory"].id):
        reply = await crew.call("GET", f"{path}?user={whose}", "ana")
        assert (reply.status, reply.code) == (404, "member_not_found")


async def test_a_track_accepts_the_limits_of_the_calendar_in_any_time_zone(crew: Crew) -> None:
    await crew.post()
    for zone in ("Z", "-12:00", "%2B14:00"):
        query = f"from=0001-01-01T00:00:00{zone}&to=9999-12-31T23:59:59{zone}"
        reply = await crew.call("GET", f"{crew.path}/locations/track?{query}", "ana")
        assert (reply.status, len(reply.json["points"])) == (200, 1)
    for query in ("to=0001-01-01T00:00:00%2B14:00", "from=9999-12-31T23:59:59-12:00&to=9999-12-31T23:59:59-12:00"):
        reply = await crew.call("GET", f"{crew.path}/locations/track?{query}", "ana")
        assert (reply.status, reply.json["points"]) == (200, [])


async def test_views_are_listed_to_the_owner_of_the_position(crew: Crew) -> None:
    await crew.post()
    await crew.seen(by="ana")
    assert (await crew.call("GET", f"{crew.path}/locations/views", "ana")).json == {"views": []}
    await crew.seen(by="ben")
    await crew.later(3600)
    await crew.call("GET", f"{crew.path}/meeting-point/suggest", "ben")
    ben = crew.people["ben"]
    named = {"userId": str(ben.id), "name": ben.username.title()}
    views = (await crew.call("GET", f"{crew.path}/locations/views", "ana")).json["views"]
    assert views == [named | {"hour": "2026-11-22T13:00:00Z"}, named | {"hour": "2026-11-22T12:00:00Z"}]
    assert (await crew.call("GET", f"{crew.path}/locations/views?limit=1&offset=1", "ana")).json["views"] == views[
        1:
    ]
    assert (await crew.call("GET", f"{crew.path}/locations/views", "ben")).json == {"views": []}


async def test_a_reader_who_sees_nothing_is_not_recorded_as_viewer(crew: Crew) -> None:
    await crew.post(privacy="hidden")
    await crew.seen(by="ben")
    assert (await crew.call("GET", f"{crew.path}/locations/views", "ana")).json == {"views": []}


async def test_leaving_a_trip_hides_positions_and_rejoining_starts_anew(crew: Crew) -> None:
    await crew.post("ben")
    assert (await crew.seen("ben", "ana"))[:2] == [EXACTLY] * 2
    await crew.call("DELETE", f"{crew.path}/members/{crew.people['ben'].id}", "ben")
    listed = await crew.call("GET", f"{crew.path}/locations", "ana")
    assert listed.json["locations"] == []
    crew.world.clock.advance(1)
    await crew.world.join(crew.trip, crew.people["ana"], crew.people["ben"])
    assert await crew.seen("ben", "ana") == [None] * 3
    changed = [one["isSharingEnabled"] for one in await crew.events("LOCATION_SHARING_CHANGED")]
    assert changed[-2:] == [True, False]


async def test_an_arrival_is_announced_once_with_the_visible_precision(crew: Crew) -> None:
    await crew.post("ben", (41.1512, -8.61))
    crew.world.clock.advance(1)
    await crew.post("ben", (41.1505, -8.61))
    ben = crew.people["ben"]
    arrived = {"userId": str(ben.id), "name": ben.username.title(), "place": "destination"}
    assert await crew.events("MEMBER_ARRIVED") == [arrived]
    # A kilometre away, but at the destination by the approximate position that members see.
    await crew.post("ana", (41.1465, -8.6135), privacy="approximate")
    assert [one["name"] for one in await crew.events("MEMBER_ARRIVED")] == [
        ben.username.title(), crew.people["ana"].username.title()
    ]  # fmt: skip


async def test_the_relay_is_woken_only_for_reports_with_an_event(crew: Crew) -> None:
    outbox, rung = crew.world.ports.outbox, {}
    assert isinstance(outbox, CountingOutbox)
    steps: list[tuple[str, tuple[float, float], dict[str, bool]]] = [
        ("starts to share", FAR, {}),
        ("stays", FAR, {}),
        ("goes on sharing", FAR, {"isSharingEnabled": True}),
        ("has arrived", ROUGHLY, {}),
        ("stays there", ROUGHLY, {}),
        ("stops sharing", ROUGHLY, {"isSharingEnabled": False}),
    ]
    for what, at, fields in steps:
        await crew.later(600)
        before = outbox.commits_with_events
        assert (await crew.post("ben", at, method="POST", **fields)).status == 201
        rung[what] = outbox.commits_with_events - before
    assert list(rung.values()) == [1, 0, 0, 1, 0, 1], rung


async def test_a_hidden_member_causes_no_arrival(crew: Crew) -> None:
    await crew.post("ben", ROUGHLY, privacy="hidden")
    await crew.post("ana", ROUGHLY, isSharingEnabled=False)
    assert await crew.events("MEMBER_ARRIVED") == []


async def test_arrivals_at_a_meeting_point_are_announced(crew: Crew) -> None:
    path = f"{crew.path}/meeting-point"
    assert (await crew.call("GET", path, "ana")).code == "meeting_point_not_found"
    body = {"latitude": FAR[0], "longitude": FAR[1], "name": "the bridge"}
    reply = await crew.call("PUT", path, "ben", body)
    assert reply.json == body | {
        "radius": 150.0, "setBy": str(crew.people["ben"].id), "setAt": "2026-11-22T12:00:00Z"
    }  # fmt: skip
    assert (await crew.call("GET", path, "ana")).json == reply.json
    await crew.post("ana", FAR)
    assert [one["place"] for one in await crew.events("MEMBER_ARRIVED")] == ["meeting point"]
    assert (await crew.call("DELETE", path, "ana")).status == 204
    assert (await crew.call("DELETE", path, "ana")).status == 204
    assert (await crew.call("GET", path, "ana")).status == 404
    for wrong in ({"latitude": 91}, {"longitude": -181}, {"radius": 1}, {"name": "x" * 256}, {"radius": 1e9}):
        assert (await crew.call("PUT", path, "ben", body | wrong)).status == 400


async def test_the_suggested_point_is_between_the_visible_members(crew: Crew) -> None:
    await crew.post("ana", (41.10, -8.60))
    await crew.post("ben", (41.20, -8.60), privacy="approximate")
    reply = await crew.call("GET", f"{crew.path}/meeting-point/suggest", "ana")
    assert 41.1 <= reply.json["latitude"] <= 41.2
    distances = [one["distanceM"] for one in reply.json["members"]]
    assert sum(distances) == pytest.approx(11_119.5, rel=0.001)


@pytest.mark.contract(
    "rest-activity.locations.duration-limit",
    "rest-activity.ghost",
    "rest-activity.location-preferences",
)
async def test_preferences_show_and_change_every_setting(crew: Crew) -> None:
    path, trip = "/v1/location/preferences", str(crew.trip)
    before = await crew.call("GET", path, "ana")
    ours = {"tripId": trip, "tripName": crew.people["ana"].username, "isSharingEnabled": False, "privacy": None,
            "sharingExpiresAt": None}  # fmt: skip
    assert before.json == {"locationPrivacyPreference": None, "ghostMode": False, "trips": [ours]}
    body = {"tripId": trip, "isSharingEnabled": True, "privacy": "approximate", "sharingExpiresIn": 90_000}
    changed = await crew.call("PUT", path, "ana", body)
    until = "2026-11-23T12:00:00Z"
    assert changed.json["trips"] == [
        ours | {"isSharingEnabled": True, "privacy": "approximate", "sharingExpiresAt": until}
    ]  # fmt: skip
    await crew.post()
    assert await crew.seen() == [ROUGHLY] * 3
    cleared = await crew.call("PUT", path, "ana", {"tripId": trip, "privacy": None})
    assert cleared.json["trips"][0]["privacy"] is None
    hidden = await crew.call("PUT", path, "ana", {"ghostMode": True, "locationPrivacyPreference": "approximate"})
    assert (hidden.json["ghostMode"], hidden.json["locationPrivacyPreference"]) == (True, "approximate")
    assert await crew.seen() == [None] * 3
    off = await crew.call("PUT", path, "ana", {"ghostMode": False, "tripId": trip, "isSharingEnabled": False})
    assert off.json["trips"][0]["isSharingEnabled"] is False
    assert await crew.seen() == [None] * 3
    for wrong in ({"tripId": "x"}, {"tripId": trip, "sharingExpiresIn": 0}, {"privacy": "secret"}):
        assert (await crew.call("PUT", path, "ana", wrong)).status == 400
    await crew.call("PATCH", f"{crew.path}/status", "ana", {"status": "CANCELLED"})
    assert (await crew.call("PUT", path, "ana", body)).code == "trip_ended"


@pytest.mark.parametrize("change", [{"privacy": "hidden"}, {"isSharingEnabled": False}, {"sharingExpiresIn": 60}])
async def test_a_trips_settings_cannot_be_changed_without_a_trip(crew: Crew, change: dict[str, object]) -> None:
    """A refusal, not a silent no-op: the user must not believe to be hidden."""
    await crew.post()
    refused = await crew.call("PUT", "/v1/location/preferences", "ana", {"ghostMode": True} | change)
    assert (refused.status, refused.code) == (400, "trip_id_required")
    assert await crew.seen() == [EXACTLY] * 3


@pytest.mark.parametrize("way", ["profile", "preferences", "location preferences"])
async def test_hiding_and_showing_is_announced_on_every_trip_with_sharing(crew: Crew, way: str) -> None:
    """Phones that show the user's position get no other signal to remove it."""
    ana = crew.people["ana"]
    own, forever, off, hidden, expired = [crew.trip, *[await crew.world.trip(ana) for _ in range(4)]]
    about: dict[UUID, dict[str, object]] = {
        own: {}, forever: {}, off: {"isSharingEnabled": False}, hidden: {}, expired: {"sharingExpiresIn": 60}
    }  # fmt: skip
    for trip, fields in about.items():
        body = {"latitude": 41.15, "longitude": -8.61} | fields
        assert (await crew.call("POST", f"/v1/trips/{trip}/locations", "ana", body)).status == 201
    await crew.call("PUT", "/v1/location/preferences", "ana", {"tripId": str(hidden), "privacy": "hidden"})
    await crew.later(60)
    before = {trip: len(await crew.changes(trip, ana)) for trip in about}
    profile = f"/v1/users/{ana.id}"
    ways: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
        "profile": (profile, {"locationPrivacyPreference": "hidden"}, {"locationPrivacyPreference": "precise"}),
        "preferences": (f"{profile}/preferences", {"ghostMode": True}, {"ghostMode": None}),
        "location preferences": ("/v1/location/preferences", {"ghostMode": True}, {"ghostMode": False}),
    }
    path, hide, show = ways[way]
    for change in (hide, hide, show, show):
        await crew.later(1)
        assert (await crew.call("PUT", path, "ana", change)).status == 200
    told = {trip: (await crew.changes(trip, ana))[before[trip] :] for trip in about}
    assert told == {own: [False, True], forever: [False, True], off: [], hidden: [], expired: []}


@pytest.mark.contract("rest-activity.locations.legacy")
async def test_the_legacy_route_reports_on_every_trip_with_sharing(crew: Crew) -> None:
    ana = crew.people["ana"]
    quiet = await crew.world.trip(ana, name="quiet")
    body = {"latitude": FAR[0], "longitude": FAR[1]}
    nowhere = await crew.call("POST", "/v1/location/update", "ana", body)
    assert (nowhere.status, nowhere.json["privacy_level"]) == (200, "hidden")
    assert "trip_id" not in nowhere.json
    assert nowhere.json["id"] == f"{ana.id}_global_20261122120000"
    await crew.post()
    crew.world.clock.advance(600)
    everywhere = await crew.call("POST", "/v1/location/update", "ana", body)
    assert (everywhere.json["privacy_level"], everywhere.json["latitude"]) == ("precise", FAR[0])
    assert (await crew.seen())[0] == FAR
    assert (await crew.call("GET", f"/v1/trips/{quiet}/locations", "ana")).json["locations"] == []
    named = await crew.call("POST", "/v1/location/update", "ana", body | {"tripId": str(quiet)})
    assert (named.status, "trip_id" in named.json) == (200, False)
    assert len((await crew.call("GET", f"/v1/trips/{quiet}/locations", "ana")).json["locations"]) == 1
    assert (await crew.call("POST", "/v1/location/update", "mallory", body | {"tripId": str(quiet)})).status == 403
    assert (await crew.call("POST", "/v1/location/update", "ana", body | {"latitude": 99})).status == 400


async def test_a_socket_can_report_positions(crew: Crew) -> None:
    trip = str(crew.trip)
    at = {"latitude": EXACTLY[0], "longitude": EXACTLY[1], "timestamp": NOON_MS}
    answer = await crew.by_socket("ana", {"action": "updateLocation", "tripId": trip, **at})
    assert answer == {
        "type": "locationUpdated", "payload": {"tripId": trip, "timestamp": NOON_MS, "privacy": "precise"}
    }  # fmt: skip
    assert await crew.seen() == [EXACTLY] * 3
    several = {"tripId": trip, "locations": [at, at | {"latitude": 95}, at | {"timestamp": NOON_MS - 999.5}]}
    answer = await crew.by_socket("ana", {"type": "updateLocation", "payload": several})
    assert [one["status"] for one in answer["payload"]["results"]] == ["accepted", "out_of_range", "accepted"]
    assert answer["payload"]["accepted"] == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"latitude": 95},
        {"latitude": "here"},
        {"timestamp": 1.5},
        {"timestamp": NOON_MS + 121_000.5},
        {"tripId": None},
        {"tripId": "nowhere"},
        {"tripId": str(uuid4())},
        {"locations": []},
        {"locations": "none"},
        {"sharingExpiresIn": 0},
    ],
)
async def test_a_wrong_frame_is_answered_with_an_error_that_repeats_nothing(
    crew: Crew, wrong: dict[str, Any]
) -> None:
    frame = {"action": "updateLocation", "tripId": str(crew.trip), "latitude": 12.345, "longitude": 1} | wrong
    answer = await crew.by_socket("ana", frame)
    assert answer["type"] == "error"
    assert "12.345" not in answer["error"]
    assert "here" not in answer["error"].split()
    for stranger in ("eve", "mallory"):
        frame = {"action": "updateLocation", "tripId": str(crew.trip), "latitude": 1, "longitude": 1}
        assert (await crew.by_socket(stranger, frame))["type"] == "error"


async def test_positions_are_limited_to_two_per_second_and_batches_to_ten_per_minute(here: World) -> None:
    ana = await here.user("ana")
    path = f"/v1/trips/{await here.trip(ana)}/locations"
    body = {"latitude": 1, "longitude": 1}
    assert [(await here.call("POST", path, by=ana, body=body)).status for _ in range(3)] == [201, 201, 429]
    answer = json.loads(await handle_frame(frames, "c", ana.id, json.dumps(
        {"action": "updateLocation", "tripId": path.split("/")[3], **body}
    ), here.ports) or "")  # fmt: skip
    assert answer["type"] == "error"
    here.clock.advance(1)
    assert (await here.call("POST", path, by=ana, body=body)).status == 201
    statuses = [
        (await here.call("POST", f"{path}:batch", by=ana, body={"locations": [body]})).status for _ in range(11)
    ]
    assert statuses == [200] * 10 + [429]
