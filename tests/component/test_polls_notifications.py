"""Notifications about polls, from the event to list and sockets."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio

from nomadcrew.adapters.postgres.outbox import PostgresOutbox
from nomadcrew.api.consumers import CONSUMERS
from nomadcrew.core.events import NOTIFICATIONS
from nomadcrew.core.polls.service import close_due, remind
from tests.component.polls import Crew, crew_of
from tests.postgres import Postgres
from tests.world import User, world


@pytest_asyncio.fixture(loop_scope="session")
async def crew(postgres: Postgres, template: str, tmp_path: Path) -> AsyncIterator[Crew]:
    environment = {"NOMADCREW_RATE_LIMITS": "off"}
    async with world(postgres, tmp_path, template=template, environment=environment) as made:
        yield await crew_of(made)


async def told(crew: Crew, whose: User) -> list[str]:
    """The messages about polls in a user's list, the oldest first, once all events are consumed."""
    world = crew.world
    await PostgresOutbox(world.pool).publish(limit=1_000, now=world.clock())
    for job in await world.ports.queue.receive(NOTIFICATIONS, limit=100, visibility_s=60):
        await CONSUMERS[NOTIFICATIONS](job, world.ports)
        await world.ports.queue.ack(job)
    listed = (await world.call("GET", "/v1/notifications", by=whose)).json
    return [each["message"] for each in reversed(listed) if "pollID" in each["metadata"]]


async def test_other_members_are_notified_of_a_poll_with_the_metadata_of_a_changed_trip(crew: Crew) -> None:
    await crew.create()
    assert (await told(crew, crew.ana), await told(crew, crew.ben)) == ([], ["Ana asks: How?"])
    [listed] = [
        each for each in (await crew.world.call("GET", "/v1/notifications", by=crew.ben)).json
        if each["type"] == "TRIP_UPDATE"
    ]  # fmt: skip
    assert {"tripID", "tripName", "updaterName", "changedFields"} <= listed["metadata"].keys()


async def test_members_who_have_not_voted_are_reminded(crew: Crew) -> None:
    poll = await crew.create(expiresAt="2026-11-26T12:00:00Z")
    await crew.vote(poll, 0, by=crew.ben)
    polls, due = crew.world.ports.polls, crew.world.clock() + timedelta(days=3)
    assert (await remind(polls=polls, now=due), await remind(polls=polls, now=due)) == (1, 0)
    assert (await told(crew, crew.ana), await told(crew, crew.ben)) == (
        ["A day left to vote: How?"], ["Ana asks: How?"],
    )  # fmt: skip


async def test_every_member_is_notified_of_a_poll_that_closed_by_itself(crew: Crew) -> None:
    await crew.create(closesAutomatically=True)
    assert await close_due(polls=crew.world.ports.polls, now=crew.world.clock() + timedelta(days=1)) == 1
    assert await told(crew, crew.ana) == ["The poll is closed: How?"]


async def test_polls_can_be_switched_off(crew: Crew) -> None:
    off = await crew.world.call("PUT", "/v1/notifications/preferences", by=crew.ben, body={"polls": False})
    assert off.json["polls"] is False
    await crew.create()
    assert await told(crew, crew.ben) == []
