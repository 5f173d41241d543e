"""The permission matrix: every row of the route table, by every caller, against hand-written expectations."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from nomadcrew.api.table import ALL_ROUTES
from tests.component.permission_matrix import LINES, Line
from tests.component.requests import CALLERS, ask, encoded, scene
from tests.postgres import Postgres
from tests.world import World, world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    home = tmp_path_factory.mktemp("matrix")
    async with world(postgres, home, template=template, environment=environment) as made:
        yield made


def test_the_matrix_has_exactly_the_rows_of_the_table() -> None:
    assert {line.row for line in LINES} == {route.key for route in ALL_ROUTES}


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.row} {line.variant}".strip())
async def test_every_caller_gets_the_status_of_the_matrix(stage: World, line: Line) -> None:
    play = None
    # Those who are refused come first: they change nothing, so that all of them share a scene.
    for caller, (status, code) in sorted(line.cells.items(), key=lambda cell: cell[1][0], reverse=True):
        if play is None:
            play = await scene(stage, f"{LINES.index(line)}-{CALLERS.index(caller)}")
        request = await ask(play, line.row, line.variant, caller)
        before = await stage.snapshot()
        reply = await stage.call(
            request.method, request.path, by=request.by, raw=encoded(request), headers=dict(request.headers)
        )
        assert (reply.status, reply.code if code else None) == (status, code), (caller, reply.body)
        if status >= 400:
            assert await stage.snapshot() == before, f"{caller} was refused, but the database changed"
        elif not line.row.startswith("GET "):
            play = None
