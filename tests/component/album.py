"""A crew with an album of photos, for component tests on the machine host."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from nomadcrew.api.pictures.consumer import consume_picture
from nomadcrew.core.events import PICTURES, Audience, Event
from nomadcrew.core.ids import EventId, JobId, TripId
from nomadcrew.core.pictures import upkeep
from nomadcrew.core.queues import Job
from nomadcrew.wire.events import pack
from tests.component.requests import image_form
from tests.photos import photo
from tests.world import Answer, User, World

AVATAR = "/v1/users/me/avatar"


@dataclass
class Album:
    """A trip of ana, its owner, ben and dan, and cleo, who is not a member."""

    world: World
    files: Path
    trip: UUID
    people: dict[str, User]

    @property
    def path(self) -> str:
        return f"/v1/trips/{self.trip}/images"

    async def call(self, method: str, path: str, by: str, body: object = None) -> Answer:
        return await self.world.call(method, path, by=self.people[by], body=body)

    async def send(self, by: str, content: bytes, path: str | None = None, *, as_form: bool = True) -> Answer:
        raw, type_ = image_form(content) if as_form else (content, "image/jpeg")
        headers = {"content-type": type_}
        return await self.world.call("POST", path or self.path, by=self.people[by], raw=raw, headers=headers)

    async def added(self, by: str = "ana", content: bytes | None = None) -> dict[str, Any]:
        reply = await self.send(by, content or photo())
        assert reply.status == 201, reply.body
        return dict(reply.json)

    async def reserve(self, by: str, size: int, type_: str = "image/jpeg") -> Answer:
        return await self.call("POST", f"{self.path}:presign", by, {"mimeType": type_, "fileSize": size})

    async def listed(self, by: str = "ana") -> list[dict[str, Any]]:
        reply = await self.call("GET", self.path, by)
        assert reply.status == 200, reply.body
        return list(reply.json)

    async def file(self, url: str) -> Answer:
        """The file of a link, as a client without a token gets it."""
        parts = urlsplit(url)
        assert parts.netloc == "api.test"
        reply = await self.world.call("GET", parts.path)
        return await self.world.call("GET", reply.headers["location"]) if reply.status == 302 else reply

    async def events(self) -> list[Event]:
        """The events of the trip's photos and of all avatars, oldest first."""
        async with self.world.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT id, type, audience, payload FROM outbox WHERE source = 'picture-service'"
                " AND (trip_id = $1 OR type = 'avatar.uploaded') ORDER BY entered",
                self.trip,
            )
        now = self.world.clock()
        return [
            Event(EventId(row[0]), row[1], "", TripId(self.trip), None, None, Audience(row[2]), now, row[3])
            for row in rows
        ]

    async def payloads(self, type_: str) -> list[dict[str, Any]]:
        return [json.loads(event.payload) for event in await self.events() if event.type == type_]

    async def render(self) -> None:
        """Do the jobs of all events, as the relay would queue them; those of earlier calls are repeats."""
        for event in await self.events():
            if event.type in ("TRIP_IMAGE_ADDED", "avatar.uploaded"):
                job = Job(JobId(uuid4()), PICTURES, pack(event), 1, self.world.clock())
                await consume_picture(job, self.world.ports)

    async def sweep(self) -> int:
        ports = self.world.ports
        return await upkeep.sweep(pictures=ports.pictures, files=ports.picture_files, now=self.world.clock())

    def wait(self, time: timedelta) -> None:
        self.world.clock.advance(time.total_seconds())

    def stored(self, picture: str) -> set[str]:
        """The kinds of a picture's files."""
        return {path.name.removeprefix(f"{picture}-") for path in self.files.glob(f"{picture}-*")}


async def album_of(made: World, home: Path) -> Album:
    people = {name: await made.user(f"{name}-{uuid4().hex[:8]}") for name in ("ana", "ben", "cleo", "dan")}
    trip = await made.trip(people["ana"])
    for guest in ("ben", "dan"):
        await made.join(trip, people["ana"], people[guest])
    return Album(made, home / "files" / "pictures", trip, people)
