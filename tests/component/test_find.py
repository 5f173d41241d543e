"""The search of a trip over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.postgres import Postgres
from tests.world import User, World, world


@pytest_asyncio.fixture(loop_scope="session")
async def here(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield made


async def found(here: World, path: str, by: User) -> list[tuple[str, str]]:
    reply = await here.call("GET", path, by=by)
    assert reply.status == 200, reply.body
    return [(result["kind"], result["excerpt"]) for result in reply.json["results"]]


async def test_results_have_their_kind_id_excerpt_author_and_time(here: World) -> None:
    ana = await here.user("ana")
    trip = await here.trip(ana)
    todo = (await here.call("POST", f"/v1/trips/{trip}/todos", by=ana, body={"text": "Buy a tent"})).json
    here.clock.advance(1)
    text = "We could sleep anywhere, " * 10 + "if we had a tent with us."
    message = (await here.call("POST", f"/v1/trips/{trip}/chat/messages", by=ana, body={"message": text})).json
    reply = await here.call("GET", f"/v1/trips/{trip}/find?q=TENT", by=ana)
    assert reply.json == {
        "results": [
            {"kind": "todo", "id": todo["id"], "excerpt": "Buy a tent", "createdBy": str(ana.id),
             "createdAt": "2026-11-22T12:00:00Z"},
            {"kind": "message", "id": message["id"],
             "excerpt": "…We could sleep anywhere, if we had a tent with us.", "createdBy": str(ana.id),
             "createdAt": "2026-11-22T12:00:01Z"},
        ],
        "more": [],
    }  # fmt: skip


async def test_the_limit_counts_the_results_of_each_kind(here: World) -> None:
    ana = await here.user("ana")
    trip = await here.trip(ana)
    for n in range(7):
        here.clock.advance(1)
        await here.call("POST", f"/v1/trips/{trip}/todos", by=ana, body={"text": f"tent {n}"})
        await here.call("POST", f"/v1/trips/{trip}/chat/messages", by=ana, body={"message": f"tent {n}"})
    path = f"/v1/trips/{trip}/find?q=tent"
    assert [kind for kind, _ in await found(here, path, ana)] == ["todo"] * 5 + ["message"] * 5
    assert await found(here, f"{path}&limit=2", ana) == [
        ("todo", "tent 6"), ("todo", "tent 5"), ("message", "tent 6"), ("message", "tent 5"),
    ]  # fmt: skip
    assert len(await found(here, f"{path}&limit=1000", ana)) == 14
    assert (await here.call("GET", path, by=ana)).json["more"] == ["todo", "message"]


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20", f"?q={'x' * 201}", "?q=a+b+c+d+e+f+g+h+i", "?q=%00"])
async def test_a_search_without_words_or_with_too_many_is_refused(here: World, query: str) -> None:
    ana = await here.user("ana")
    reply = await here.call("GET", f"/v1/trips/{await here.trip(ana)}/find{query}", by=ana)
    assert (reply.status, reply.code) == (400, "invalid_query")


async def test_the_search_spends_the_limit_of_the_lists(postgres: Postgres, template: str, tmp_path: Path) -> None:
    environment = {"NOMADCREW_RATE_LIMITS": "default=3/60"}
    async with world(postgres, tmp_path, template=template, environment=environment) as here:
        ana = await here.user("ana")
        path = f"/v1/trips/{await here.trip(ana)}/find?q=tent"
        statuses = [(await here.call("GET", path, by=ana)).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
