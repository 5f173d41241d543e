"""`GET /v1/trips/{id}/screen`: each part is what its own route returns."""

import pytest

from nomadcrew.core.screens.model import Part
from tests.component.synced import crew_of
from tests.world import World

ROUTES = {
    Part.TRIP: "",
    Part.MEMBERS: "/members",
    Part.TODOS: "/todos",
    Part.POLLS: "/polls",
    Part.DOCUMENTS: "/wallet/documents",
    Part.PHOTOS: "/images",
    Part.MESSAGES: "/chat/messages",
    Part.RECEIPTS: "/chat/read-receipts",
}


@pytest.mark.parametrize("host", ["machine", "aws"])
async def test_a_screen_has_the_first_page_of_each_route(here: World, host: str) -> None:
    crew = await crew_of(here)
    await crew.everything()
    for n in range(51):
        here.clock.advance(1)
        await crew.message(crew.ana, f"message {n}")
    send = here.call if host == "machine" else here.invoke
    here.statements.clear()
    screen = await send("GET", f"{crew.path}/screen", by=crew.ben)
    assert screen.status == 200, screen.body
    assert here.statements == ["get"]
    assert screen.json == {part: await crew.do("GET", path, crew.ben) for part, path in ROUTES.items()}


async def test_an_empty_trip_has_empty_lists(here: World) -> None:
    crew = await crew_of(here)
    screen = await crew.do("GET", "/screen", crew.ana)
    assert screen == {part: await crew.do("GET", path, crew.ana) for part, path in ROUTES.items()}


async def test_a_screen_has_the_parts_that_are_asked_for(here: World) -> None:
    crew = await crew_of(here)
    await crew.everything()
    screen = await crew.do("GET", "/screen?include=todos,trip,%20todos", crew.ana)
    assert set(screen) == {"trip", "todos"}
    reply = await here.call("GET", f"{crew.path}/screen?include=todos,weather", by=crew.ana)
    assert (reply.status, reply.code) == (400, "invalid_include")
    assert "trip, members, todos, polls, documents, photos, messages, receipts" in reply.json["message"]
