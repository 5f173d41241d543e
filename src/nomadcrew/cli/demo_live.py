"""`nomadcrew demo --live`: a crew walks through a city, chats, votes on a meeting point and meets there."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from nomadcrew.cli.client import ApiClient
from nomadcrew.cli.walks import City, Walk, city
from nomadcrew.hosts.machine.errors import StartupError

CITY = "porto"
STEP_S = 1.0
# In seconds of the walk: a position every few seconds, as phones report them.
REPORT_EVERY_S = 4.0
PACE_MPS = (1.25, 1.55)
RADIUS_M = 60.0
# Messages: seconds of the walk, author, text, and the name of the candidate that others vote for.
SCRIPT: tuple[tuple[float, str, str, str], ...] = (
    (15, "Ana", "Leaving now. Where do we watch the sunset?", ""),
    (45, "Ben", "Jardim do Morro, above the bridge. Vote with a heart!", "garden"),
    (70, "Dev", "Or stay down here at the Ribeira: vote for this one.", "river"),
    (420, "Chloé", "Bolhão was wonderful, I have figs for all of you.", ""),
    (600, "Emi", "The view from Fontainhas! You should all have come by train.", ""),
    (840, "Dev", "The lower deck is full of people, I will be a little late.", ""),
    (1140, "Ana", "Passing the cathedral.", ""),
)
# Votes: seconds of the walk, voter, candidate.
VOTES: tuple[tuple[float, str, str], ...] = (
    (80, "Emi", "garden"),
    (95, "Chloé", "garden"),
    (110, "Ben", "river"),
    (125, "Ana", "garden"),
)
DECIDED_AT_S = 140.0
HEART = "❤️"
RIVER = ("Cais da Ribeira", (41.1406, -8.6131))


@dataclass(slots=True)
class Walker:
    """A user on their walk; all walkers start at second 0."""

    client: ApiClient
    name: str
    walk: Walk
    pace_mps: float
    arrived: bool = False

    def at(self, walked_s: float) -> tuple[float, float]:
        return self.walk.at(walked_s * self.pace_mps)

    def is_there(self, walked_s: float) -> bool:
        return walked_s * self.pace_mps >= self.walk.length_m


@dataclass(slots=True)
class Story:
    """The state of the demo; `candidates` are message ids by candidate."""

    city: City
    trip: str
    walkers: Sequence[Walker]
    candidates: dict[str, str] = field(default_factory=dict)
    messages_sent: int = 0
    voted: int = 0
    decided: bool = False

    def walker(self, name: str) -> Walker:
        return next(walker for walker in self.walkers if walker.name == name)


def walkers_of(crew: Sequence[tuple[str, ApiClient]], destination: City) -> list[Walker]:
    """A walker for each user, at the beginning of their walk."""
    walks = {walk.name: walk for walk in destination.walks}
    return [Walker(client, name, walks[name], random.uniform(*PACE_MPS)) for name, client in crew]  # noqa: S311


def new_trip(owner: ApiClient, guests: Sequence[ApiClient]) -> dict[str, Any]:
    """A trip that happens today, with all guests as members."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    destination = city(CITY).point
    trip: dict[str, Any] = owner.post(
        "/v1/trips",
        {
            "name": "Porto, today",
            "description": "Five ways to one garden",
            "destinationName": "Porto",
            "destinationAddress": "Porto, PT",
            "destinationLatitude": destination[0],
            "destinationLongitude": destination[1],
            "startDate": today.isoformat(),
            "endDate": (today + timedelta(days=2)).isoformat(),
        },
    )
    owner.patch(f"/v1/trips/{trip['id']}/status", {"status": "ACTIVE"})
    for guest in guests:
        bring(guest, owner, trip)
    return trip


def bring(guest: ApiClient, owner: ApiClient, trip: dict[str, Any]) -> None:
    """Invite a user to a trip and accept the invitation."""
    invitation = owner.post(f"/v1/trips/{trip['id']}/invitations", {"email": guest.email, "role": "member"})
    guest.post(f"/v1/invitations/{invitation['id']}/accept", None)


async def walk(story: Story, speed: float) -> None:
    """Walk until all walkers have arrived, `speed` times as fast as real walkers."""
    async with contextlib.AsyncExitStack() as stack:
        for walker in story.walkers:
            task = asyncio.create_task(_stay_online(walker.client))
            stack.callback(task.cancel)
        began_s = time.monotonic()
        reported_s = -REPORT_EVERY_S
        while not all(walker.arrived for walker in story.walkers):
            walked_s = (time.monotonic() - began_s) * speed
            await asyncio.to_thread(_talk, story, walked_s)
            if walked_s - reported_s >= REPORT_EVERY_S:
                reported_s = walked_s
                await asyncio.to_thread(_report, story, walked_s)
            await asyncio.sleep(STEP_S)


async def _stay_online(client: ApiClient) -> None:
    """Keep a socket open, as the app does, and reconnect after a server restart."""
    while True:
        with contextlib.suppress(OSError, TimeoutError, WebSocketException, StartupError):
            await asyncio.to_thread(client.renew)
            async with connect(client.socket_address, proxy=None) as socket:
                async for _ in socket:
                    pass
        await asyncio.sleep(1)


def _report(story: Story, walked_s: float) -> None:
    """Report the walkers' positions."""
    for walker in story.walkers:
        if walker.arrived:
            continue
        latitude, longitude = walker.at(walked_s)
        position = {
            "latitude": round(latitude, 6),
            "longitude": round(longitude, 6),
            "accuracy": 8.0,
            "privacy": "precise",
        }
        walker.client.post(f"/v1/trips/{story.trip}/locations", position)
        if walker.is_there(walked_s):
            walker.arrived = True
            click.echo(f"  {walker.name} has arrived.")


def _talk(story: Story, walked_s: float) -> None:
    """Send the messages, votes and decision that are due, in order."""
    while story.messages_sent < len(SCRIPT) and SCRIPT[story.messages_sent][0] <= walked_s:
        _, name, text, candidate = SCRIPT[story.messages_sent]
        sent = story.walker(name).client.post(f"/v1/trips/{story.trip}/chat/messages", {"content": text})
        if candidate:
            story.candidates[candidate] = sent["id"]
        story.messages_sent += 1
        click.echo(f"  {name}: {text}")
    while story.voted < len(VOTES) and VOTES[story.voted][0] <= walked_s:
        _, name, candidate = VOTES[story.voted]
        path = f"/v1/trips/{story.trip}/chat/messages/{story.candidates[candidate]}/reactions"
        story.walker(name).client.post(path, {"emoji": HEART})
        story.voted += 1
        click.echo(f"  {name} votes for the {candidate}.")
    if not story.decided and walked_s >= DECIDED_AT_S:
        story.decided = True
        _decide(story)


def _decide(story: Story) -> None:
    """Count the votes and set the meeting point."""
    ana = story.walker("Ana").client
    votes = {
        candidate: len(ana.get(f"/v1/trips/{story.trip}/chat/messages/{message}/reactions"))
        for candidate, message in story.candidates.items()
    }
    winner = max(votes, key=lambda candidate: votes[candidate])
    name, (latitude, longitude) = (story.city.goal, story.city.point) if winner == "garden" else RIVER
    ana.put(
        f"/v1/trips/{story.trip}/meeting-point",
        {"latitude": latitude, "longitude": longitude, "name": name, "radius": RADIUS_M},
    )
    text = f"{votes[winner]} to {sum(votes.values()) - votes[winner]}: {name} it is."
    ana.post(f"/v1/trips/{story.trip}/chat/messages", {"content": text})
    click.echo(f"  Ana: {text}")
