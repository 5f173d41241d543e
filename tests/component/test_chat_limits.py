"""Rate limits of the chat, per user and per trip, over HTTP and sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from nomadcrew.api.socket_frames import frames
from nomadcrew.core.rate_limits import LIMITS
from nomadcrew.web.sockets import handle_frame
from tests.postgres import Postgres
from tests.world import Answer, User, World, world

PER_USER, PER_TRIP = LIMITS["chat"].count, LIMITS["chat_trip"].count


class Crew:
    """A trip of ana, ben and cleo, and eve, who is not a member."""

    def __init__(self, world: World, trip: UUID, people: dict[str, User]) -> None:
        self.world, self.trip, self.people = world, trip, people
        self.path = f"/v1/trips/{trip}/chat/messages"

    async def say(self, by: str, text: str = "hello") -> Answer:
        return await self.world.call("POST", self.path, by=self.people[by], body={"message": text})

    async def say_all(self, by: str, count: int) -> list[int]:
        return [(await self.say(by, f"{by} {number}")).status for number in range(count)]

    async def on_a_socket(self, by: str, type_: str = "sendMessage") -> Any:
        frame = {"action": type_, "tripId": str(self.trip), "content": "hello"}
        answer = await handle_frame(frames, "c", self.people[by].id, json.dumps(frame), self.world.ports)
        return json.loads(answer or "null")

    async def count_stored(self) -> int:
        """The number of stored messages, by SQL: reading over HTTP would spend the limit."""
        async with self.world.pool.connection() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM chat_messages"))


@pytest_asyncio.fixture(loop_scope="session")
async def crew(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[Crew]:
    async with world(postgres, tmp_path, template=template) as made:
        people = {name: await made.user(name) for name in ("ana", "ben", "cleo", "eve")}
        trip = await made.trip(people["ana"])
        for name in ("ben", "cleo"):
            await made.join(trip, people["ana"], people[name])
        yield Crew(made, trip, people)


@pytest.mark.contract("rest-activity.rate-limit.fix-per-user")
async def test_a_user_can_send_ten_messages_per_second_over_http_and_sockets_together(crew: Crew) -> None:
    assert await crew.say_all("ana", PER_USER) == [201] * PER_USER
    refused = await crew.say("ana")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    for type_ in ("sendMessage", "CHAT_MESSAGE_SEND"):
        answer = await crew.on_a_socket("ana", type_)
        assert (answer["type"], answer["payload"]["code"]) == ("error", refused.code)
        assert answer["error"]
    assert await crew.count_stored() == PER_USER
    assert (await crew.on_a_socket("ben"))["type"] == "ack"
    crew.world.clock.advance(1)
    assert (await crew.on_a_socket("ana"))["type"] == "ack"
    assert (await crew.say("ana")).status == 201


async def test_a_trip_accepts_twenty_messages_per_second_from_all_members(crew: Crew) -> None:
    for name in ("ana", "ben"):
        assert await crew.say_all(name, PER_TRIP // 2) == [201] * (PER_TRIP // 2)
    refused = await crew.say("cleo")
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert "too many messages" in refused.json["message"]
    answer = await crew.on_a_socket("cleo")
    assert (answer["type"], answer["error"]) == ("error", refused.json["message"])
    assert await crew.count_stored() == PER_TRIP
    elsewhere = await crew.world.trip(crew.people["cleo"])
    path = f"/v1/trips/{elsewhere}/chat/messages"
    assert (await crew.world.call("POST", path, by=crew.people["cleo"], body={"message": "alone"})).status == 201
    crew.world.clock.advance(1)
    assert (await crew.say("cleo")).status == 201


async def test_messages_at_the_same_moment_stay_within_the_limit(crew: Crew) -> None:
    sent = await asyncio.gather(
        *(crew.say(name, str(number)) for name in ("ana", "ben", "cleo") for number in range(PER_USER))
    )
    assert sorted(reply.status for reply in sent) == [201] * PER_TRIP + [429] * PER_USER
    assert await crew.count_stored() == PER_TRIP


async def test_a_non_member_does_not_use_up_a_trips_limit(crew: Crew) -> None:
    assert await crew.say_all("eve", PER_USER) == [403] * PER_USER
    assert await crew.say_all("ana", PER_USER) + await crew.say_all("ben", PER_USER) == [201] * PER_TRIP
