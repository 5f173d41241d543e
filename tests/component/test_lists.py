"""Lists by pages: a client that follows the links sees each item once, whatever comes and goes meanwhile."""

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.core.ids import TripId, uuid7
from tests.fakes import NOON
from tests.world import Answer, User, World

LISTS = {"data", "users", "views"}
PATHS = (
    "/v1/trips",
    "/v1/notifications",
    "/v1/trips/{trip}/todos",
    "/v1/trips/{trip}/polls",
    "/v1/trips/{trip}/search",
    "/v1/trips/{trip}/locations/views",
)
_NEXT = re.compile(r'<([^>]+)>; rel="next"')


@pytest_asyncio.fixture(loop_scope="session")
async def ana(here: World) -> User:
    return await here.user("ana")


def items_of(page: Answer) -> list[dict[str, Any]]:
    body = page.json
    found: list[dict[str, Any]] = body if isinstance(body, list) else body[(body.keys() & LISTS).pop()]
    return found


async def walk(
    here: World,
    who: User,
    path: str,
    between: Callable[[list[str]], Awaitable[None]],
    *,
    method: str = "GET",
    body: Any = None,
    key: str = "id",
) -> tuple[list[str], list[int]]:
    """The ids on all pages and the sizes of these; `between` gets the ids of each page before the next is asked."""
    ids: list[str] = []
    sizes: list[int] = []
    asks = (here.call, here.invoke)  # the two hosts by turns
    while path:
        page = await asks[len(sizes) % 2](method, path, by=who, body=body)
        assert page.status == 200, page.body
        ids += [item[key] for item in items_of(page)]
        sizes.append(len(items_of(page)))
        await between(ids)
        link = _NEXT.fullmatch(page.headers.get("link", ""))
        path = link[1] if link else ""
    return ids, sizes


async def test_trips_that_start_on_one_day_are_neither_repeated_nor_skipped(here: World, ana: User) -> None:
    trips = [str(await here.trip(ana, name=f"trip {number}")) for number in range(7)]

    async def come_and_go(seen: list[str]) -> None:
        await here.trip(
            ana, name=f"new {len(seen)}", startDate="2029-01-01T00:00:00Z", endDate="2029-01-02T00:00:00Z"
        )
        await here.call("DELETE", f"/v1/trips/{seen[-1]}", by=ana)

    ids, sizes = await walk(here, ana, "/v1/trips?limit=3", come_and_go)
    assert ids == sorted(trips, reverse=True)
    assert sizes == [3, 3, 1]


async def test_all_trips_of_a_usual_user_are_on_one_page(here: World, ana: User) -> None:
    for number in range(4):
        await here.trip(ana, name=f"trip {number}")
    page = await here.call("GET", "/v1/trips", by=ana)
    assert (len(page.json), "link" in page.headers) == (4, False)


async def test_a_page_of_trips_ends_before_its_members_are_too_many(
    here: World, ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomadcrew.adapters.postgres.trips.MAX_LISTED_MEMBERS", 3)
    ben = await here.user("ben")
    for day in range(1, 6):
        trip = await here.trip(ana, startDate=f"2027-05-0{day}T00:00:00Z", endDate="2027-05-09T00:00:00Z")
        await here.join(trip, ana, ben)

    async def nothing(_seen: list[str]) -> None: ...

    ids, sizes = await walk(here, ana, "/v1/trips", nothing)
    assert (len(set(ids)), sizes) == (5, [2, 2, 1])


async def test_todos_are_neither_repeated_nor_skipped(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    todos = [await todo(here, ana, trip, f"pack {number}") for number in range(5)]

    async def come_and_go(seen: list[str]) -> None:
        await todo(here, ana, trip, f"buy {len(seen)}")
        await here.call("DELETE", f"/v1/trips/{trip}/todos/{seen[-1]}", by=ana)

    ids, sizes = await walk(here, ana, f"/v1/trips/{trip}/todos?limit=2", come_and_go)
    assert ids == todos[::-1]
    assert sizes == [2, 2, 1]


async def todo(here: World, who: User, trip: UUID, text: str) -> str:
    reply = await here.call("POST", f"/v1/trips/{trip}/todos", by=who, body={"text": text})
    id_: str = reply.json["id"]
    return id_


async def test_notifications_are_neither_repeated_nor_skipped(here: World, ana: User) -> None:
    notifications = [await notification(here, ana, minutes) for minutes in (0, 0, 0, 1, 1, 2)]

    async def come_and_go(seen: list[str]) -> None:
        await notification(here, ana, 10)
        await here.call("DELETE", f"/v1/notifications/{seen[-1]}", by=ana)

    ids, sizes = await walk(here, ana, "/v1/notifications?limit=2&status=unread", come_and_go)
    assert set(ids) == set(notifications)
    assert (len(ids), sizes) == (6, [2, 2, 2, 0])


async def notification(here: World, who: User, minutes: int) -> str:
    id_ = uuid7()
    async with here.pool.connection() as connection:
        await connection.execute(
            "INSERT INTO notifications (id, user_id, type, metadata, created_at, updated_at, is_read)"
            " VALUES ($1, $2, 'TRIP_UPDATE', $3, $4, $4, false)",
            id_, who.id, json.dumps({}), NOON + timedelta(minutes=minutes),
        )  # fmt: skip
    return str(id_)


async def test_users_are_neither_repeated_nor_skipped(here: World, ana: User) -> None:
    admin = User(ana.id, ana.email, ana.username, await here.token(ana.id, ana.username, is_admin=True))
    users = [str(ana.id), *[str((await here.user(name)).id) for name in ("ben", "cleo", "dan", "eve")]]

    async def come(seen: list[str]) -> None:
        await here.user(f"new{len(seen)}")

    ids, sizes = await walk(here, admin, "/v1/users?limit=2", come)
    assert sorted(ids) == sorted(users)
    assert sizes == [2, 2, 1]


async def test_found_trips_are_neither_repeated_nor_skipped(here: World, ana: User) -> None:
    found = [str(await here.trip(ana, name=f"trip {number}")) for number in range(5)]
    lisbon = await here.trip(ana, destinationName="Lisboa", destinationAddress="Lisboa, PT")

    async def come_and_go(seen: list[str]) -> None:
        await here.trip(
            ana, name=f"new {len(seen)}", startDate="2029-01-01T00:00:00Z", endDate="2029-01-02T00:00:00Z"
        )
        await here.call("DELETE", f"/v1/trips/{seen[-1]}", by=ana)

    filters = {"destination": "porto", "limit": 2, "offset": 0}
    ids, sizes = await walk(here, ana, f"/v1/trips/{lisbon}/search", come_and_go, method="POST", body=filters)
    assert ids == found[::-1]
    assert sizes == [2, 2, 1]


async def test_views_are_neither_repeated_nor_skipped(here: World, ana: User) -> None:
    viewers = [await here.user(name) for name in ("ben", "cleo", "dan", "eve", "fay")]
    trip = await here.trip(ana)
    for viewer in viewers:
        await here.join(trip, ana, viewer)
    views = here.ports.position_views
    await views.record(TripId(trip), [viewer.id for viewer in viewers[:3]], [ana.id], now=here.clock())

    async def come(_seen: list[str]) -> None:
        later = here.clock() + timedelta(hours=1)
        await views.record(TripId(trip), [viewer.id for viewer in viewers[3:]], [ana.id], now=later)

    ids, sizes = await walk(here, ana, f"/v1/trips/{trip}/locations/views?limit=2", come, key="userId")
    assert ids == sorted((str(viewer.id) for viewer in viewers[:3]), reverse=True)
    assert sizes == [2, 1]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "A" * 33, "%F0%9F%98%80", "f" * 32])
@pytest.mark.parametrize("path", PATHS)
async def test_a_malformed_cursor_is_refused(here: World, ana: User, path: str, cursor: str) -> None:
    path = path.format(trip=await here.trip(ana))
    method = "POST" if path.endswith("/search") else "GET"
    reply = await here.call(method, f"{path}?after={cursor}", by=ana, body={} if method == "POST" else None)
    assert (reply.status, reply.json["code"]) == (400, "invalid_cursor")


async def test_an_offset_of_a_search_counts_without_a_cursor_only(here: World, ana: User) -> None:
    trips = [str(await here.trip(ana, name=f"trip {number}")) for number in range(4)][::-1]
    path = f"/v1/trips/{trips[0]}/search"
    page = await here.call("POST", path, by=ana, body={"limit": 1, "offset": 1})
    assert [item["id"] for item in page.json] == trips[1:2]
    link = _NEXT.fullmatch(page.headers["link"])
    assert link is not None
    page = await here.call("POST", link[1], by=ana, body={"limit": 1, "offset": 1})
    assert [item["id"] for item in page.json] == trips[2:3]


async def test_an_offset_still_counts_without_a_cursor(here: World, ana: User) -> None:
    trip = await here.trip(ana)
    todos = [await todo(here, ana, trip, f"pack {number}") for number in range(3)]
    page = await here.call("GET", f"/v1/trips/{trip}/todos?limit=2&offset=2", by=ana)
    assert [item["id"] for item in page.json["data"]] == todos[:1]
    assert page.json["pagination"] == {"limit": 2, "offset": 2, "total": 3}
