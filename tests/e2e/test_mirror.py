"""The mirror that the shipped app's map reads, in a fake Supabase project."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.client import Api, eventually
from tests.e2e.server import LOG_TAIL, Server
from tests.supabase import SERVICE_KEY, Project, supabase

pytestmark = pytest.mark.one_machine("the mirror is a setting of the server, and that server has none")


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with supabase() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mirrored(project: Project) -> AsyncIterator[Api]:
    """A client of a server with a mirror."""
    async with Server(
        NOMADCREW_RATE_LIMITS="off",
        NOMADCREW_SUPABASE_URL=project.url,
        NOMADCREW_SUPABASE_SERVICE_KEY=SERVICE_KEY,
    ) as server:
        api = Api(server.url)
        yield api
        await api.close()
        assert await server.stop() == 0, server.log[-LOG_TAIL:]
        assert SERVICE_KEY not in server.log
        assert server.errors == [], "\n".join(server.errors)


@pytest.mark.contract("rest-activity.locations.compat-supabase")
async def test_the_mirror_follows_members_positions_and_deletions(mirrored: Api, project: Project) -> None:
    ana, ben, cleo = [await mirrored.register(name) for name in ("ana", "ben", "cleo")]
    trip_id = await ana.new_trip(name="Porto")
    await ana.add_member(trip_id, ben)
    await ana.add_member(trip_id, cleo)
    project.statuses = [503, 429]  # failures are retried

    async def members() -> dict[str, str]:
        rows = project.rows("trip_memberships")
        return {row["user_id"]: row["role"] for row in rows if row["trip_id"] == trip_id}

    async def has(**wanted: str) -> bool:
        return await members() == {
            {"ana": ana, "ben": ben, "cleo": cleo}[name].id: role for name, role in wanted.items()
        }

    await eventually(lambda: has(ana="OWNER", ben="MEMBER", cleo="MEMBER"))
    await ana.ask("PUT", f"/v1/trips/{trip_id}/members/{ben.id}/role", {"role": "ADMIN"})
    await ana.ask("DELETE", f"/v1/trips/{trip_id}/members/{cleo.id}")
    await eventually(lambda: has(ana="OWNER", ben="ADMIN"))
    await ben.ask("PUT", f"/v1/users/{ben.id}", {"username": f"{ben.username}-too"})

    async def renamed() -> bool:
        return f"{ben.username}-too" in {row["username"] for row in project.rows("users")}

    await eventually(renamed)
    await ben.ask("POST", f"/v1/trips/{trip_id}/locations", {"latitude": 41.14961, "longitude": -8.61099})

    async def on_the_map() -> list[tuple[float, str]]:
        return [(row["latitude"], row["user_id"]) for row in project.rows("locations")]

    assert await eventually(on_the_map) == [(41.14961, ben.id)]
    await ben.ask("PUT", "/v1/location/preferences", {"ghostMode": True})

    async def hidden() -> bool:
        return not await on_the_map()

    await eventually(hidden)
    assert {row["supabase_id"] for row in project.rows("users")} == {ana.id, ben.id, cleo.id}
    await ana.ask("DELETE", f"/v1/trips/{trip_id}")
    await eventually(has)

    async def dropped() -> bool:
        return project.rows("trips") == []

    await eventually(dropped)
