"""Polls of a small crew, for tests over HTTP."""

from typing import Any

from tests.world import Answer, User, World


class Crew:
    """A trip of ana, who owns it, and ben."""

    def __init__(self, world: World, path: str, ana: User, ben: User) -> None:
        self.world, self.path, self.ana, self.ben = world, path, ana, ben

    async def create(self, by: User | None = None, **fields: Any) -> Any:
        body = {"question": "How?", "options": ["train", "bus"]} | fields
        reply = await self.world.call("POST", self.path, by=by or self.ana, body=body)
        assert reply.status == 201, reply.body
        return reply.json

    async def send(self, method: str, poll: Any, path: str = "", *, by: User | None = None, **body: Any) -> Answer:
        return await self.world.call(
            method, f"{self.path}/{poll['id']}{path}", by=by or self.ana, body=body or None
        )

    async def vote(self, poll: Any, option: int, *, by: User | None = None) -> Answer:
        return await self.send("POST", poll, "/vote", by=by, optionId=poll["options"][option]["id"])

    async def get(self, poll: Any, *, by: User | None = None) -> Any:
        reply = await self.send("GET", poll, by=by)
        assert reply.status == 200, reply.body
        return reply.json


async def crew_of(world: World) -> Crew:
    """A trip of two."""
    ana, ben = await world.user("ana"), await world.user("ben")
    trip = await world.trip(ana)
    await world.join(trip, ana, ben)
    return Crew(world, f"/v1/trips/{trip}/polls", ana, ben)
