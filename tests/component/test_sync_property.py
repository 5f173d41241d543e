"""Random writers on several devices: a copy that only synchronises equals the lists, and no write is lost."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.component.synced import Entity, SyncedCopy, read_everything
from tests.postgres import Postgres
from tests.world import Answer, User, World, world

NAMES = ("ana", "ben", "cleo")  # ana owns the trip, ben comes and goes
DEVICES = 2  # of each user
WRITES = (
    "add_todo", "edit_todo", "edit_todo", "edit_todo", "tick_todo", "delete_todo", "race_for_todo", "say", "say",
    "react", "delete_message", "read", "add_poll", "vote", "rename_trip", "rename_user", "invite", "invite",
)  # fmt: skip
OTHERS = (
    "sync",
    "sync",
    "page",
    "page",
    "go_offline",
    "go_online",
    "change_role",
    "change_role",
    "change_role",
    "leave_or_join",
    "restore",
)
STEPS = st.lists(
    st.tuples(st.sampled_from(WRITES + OTHERS), st.integers(0, 5), st.integers(0, 1_000)), min_size=30, max_size=60
)
STATUSES = ("INCOMPLETE", "COMPLETE")


@dataclass
class Device:
    """A copy, and the writes that wait until the device is online."""

    copy: SyncedCopy
    is_online: bool = True
    waiting: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Site:
    """A trip, its users' devices, and what was acknowledged to them."""

    here: World
    users: list[User]
    trip: UUID
    devices: list[Device]
    texts: dict[str, str] = field(default_factory=dict)  # of each to-do, as the last acknowledged write left it
    messages: set[str] = field(default_factory=set)
    conflicts: int = 0

    @property
    def path(self) -> str:
        return f"/v1/trips/{self.trip}"

    async def step(self, action: str, device: Device, n: int) -> None:
        self.here.clock.advance(1)
        if action in OTHERS or device.is_online:
            await getattr(self, f"_{action}")(device, n)
        else:
            device.waiting.append((action, n))

    async def finish(self) -> None:
        for device in self.devices:
            await self._go_online(device, 0)

    async def send(self, method: str, path: str, device: Device, body: object = None, etag: str = "*") -> Answer:
        """Send a write, which may be refused: its writer may have a stale copy or may have left."""
        headers = {"if-match": etag}
        reply = await self.here.call(method, self.path + path, by=device.copy.user, body=body, headers=headers)
        assert reply.status < 500, reply.body
        return reply

    async def _add_todo(self, device: Device, n: int) -> None:
        reply = await self.send("POST", "/todos", device, {"text": f"to-do {n} {len(self.texts)}"})
        if reply.status == 201:
            self.texts[reply.json["id"]] = reply.json["text"]

    async def _edit_todo(self, device: Device, n: int) -> None:
        seen = self._seen("todo", device, n)
        if seen is None:
            return
        (id_, todo), text = seen, f"edit {n} by {device.copy.user.username}"
        etag = device.copy.etags["todo", str(self.trip), id_]
        self._check(id_, todo["text"], text, await self.send("PUT", f"/todos/{id_}", device, {"text": text}, etag))

    def _check(self, id_: str, seen: str, text: str, reply: Answer) -> None:
        """An acknowledged edit has replaced the text that its writer saw; another text is shown as a conflict."""
        stored = self.texts.get(id_)
        if reply.status == 200:
            assert stored in (seen, text)
            self.texts[id_] = text
        elif reply.status == 409:
            assert reply.json["current"]["text"] == stored != seen
            assert reply.json["sent"] == {"text": text}
            self.conflicts += 1

    async def _race_for_todo(self, device: Device, n: int) -> None:
        """Two writers who saw the same version write at the same moment: only one of them succeeds."""
        seen = self._seen("todo", device, n)
        if seen is None:
            return
        id_, todo = seen
        etag = device.copy.etags["todo", str(self.trip), id_]
        texts = [f"race {n} {racer}" for racer in range(2)]
        replies = await asyncio.gather(
            *(self.send("PUT", f"/todos/{id_}", device, {"text": text}, etag) for text in texts)
        )
        if sorted(reply.status for reply in replies) == [200, 409]:
            assert self.texts.get(id_) == todo["text"]
            winner = replies[0].status == 200
            self.texts[id_] = texts[0 if winner else 1]
            assert replies[1 if winner else 0].json["current"]["text"] == self.texts[id_]
        else:
            assert 200 not in {reply.status for reply in replies}

    async def _tick_todo(self, device: Device, n: int) -> None:
        """A change of another field is merged, however old the copy is."""
        seen = self._seen("todo", device, n)
        if seen is not None:
            reply = await self.send("PUT", f"/todos/{seen[0]}", device, {"status": STATUSES[n % 2]})
            assert reply.status != 409

    async def _delete_todo(self, device: Device, n: int) -> None:
        seen = self._seen("todo", device, n)
        if seen is not None and (await self.send("DELETE", f"/todos/{seen[0]}", device)).status == 200:
            del self.texts[seen[0]]

    async def _say(self, device: Device, n: int) -> None:
        reply = await self.send("POST", "/chat/messages", device, {"message": f"message {n} {len(self.messages)}"})
        if reply.status == 201:
            self.messages.add(reply.json["id"])

    async def _react(self, device: Device, n: int) -> None:
        seen = self._seen("message", device, n)
        if seen is not None:
            path = f"/chat/messages/{seen[0]}/reactions"
            await self.send("DELETE" if n % 3 == 0 else "POST", path, device, {"emoji": "👍" if n % 2 else "🎉"})

    async def _delete_message(self, device: Device, n: int) -> None:
        seen = self._seen("message", device, n)
        if seen is not None:
            await self.send("DELETE", f"/chat/messages/{seen[0]}", device)

    async def _read(self, device: Device, n: int) -> None:
        seen = self._seen("message", device, n)
        if seen is not None:
            await self.send("PUT", "/chat/last-read", device, {"lastReadMessageId": seen[0]})

    async def _add_poll(self, device: Device, n: int) -> None:
        body = {"question": f"poll {n}", "options": ["now", "later"], "ballot": "blind" if n % 2 else "open"}
        await self.send("POST", "/polls", device, body)

    async def _vote(self, device: Device, n: int) -> None:
        seen = self._seen("poll", device, n)
        if seen is not None:
            option = seen[1]["options"][n % 2]["id"]
            await self.send("POST", f"/polls/{seen[0]}/vote", device, {"optionId": option})

    async def _rename_trip(self, device: Device, n: int) -> None:
        await self.send("PUT", "", device, {"name": f"trip {n}"})

    async def _rename_user(self, device: Device, n: int) -> None:
        user = device.copy.user
        await self.here.call("PUT", f"/v1/users/{user.id}", by=user, body={"firstName": f"name {n}"})

    async def _invite(self, device: Device, n: int) -> None:
        await self.send("POST", "/invitations", device, {"email": f"guest{n}@example.org", "role": "MEMBER"})

    async def _sync(self, device: Device, _: int) -> None:
        if device.is_online:
            await device.copy.sync()

    async def _page(self, device: Device, _: int) -> None:
        if device.is_online:
            await device.copy.page()

    async def _go_offline(self, device: Device, _: int) -> None:
        device.is_online = False

    async def _go_online(self, device: Device, _: int) -> None:
        device.is_online = True
        waiting, device.waiting = device.waiting, []
        for action, n in waiting:
            await self.step(action, device, n)

    async def _change_role(self, _: Device, n: int) -> None:
        role = ("ADMIN", "MEMBER")[n % 2]
        await self.send("PUT", f"/members/{self.users[1].id}/role", self.devices[0], {"role": role})

    async def _leave_or_join(self, _: Device, n: int) -> None:
        ana, ben, _cleo = self.users
        reply = await self.send("DELETE", f"/members/{ben.id}", self.devices[0 if n % 2 else DEVICES])
        if reply.status != 204:
            await self.here.join(self.trip, ana, ben)

    async def _restore(self, _: Device, n: int) -> None:
        if n % 5 == 0:  # rarely
            async with self.here.pool.connection() as connection:
                await connection.execute("SELECT renew_sync_epoch()")

    def _seen(self, kind: str, device: Device, n: int) -> tuple[str, Any] | None:
        """An entity of the device's copy; None if it has none."""
        seen = [(id_, one) for (of, _, id_), one in sorted(device.copy.entities.items()) if of == kind]
        return seen[n % len(seen)] if seen else None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("sync")
    async with world(postgres, home, template=template, environment={"NOMADCREW_RATE_LIMITS": "off"}) as made:
        yield made


async def site_in(here: World, number: int) -> Site:
    users = [await here.user(f"{name}{number}") for name in NAMES]
    trip = await here.trip(users[0])
    for guest in users[1:]:
        await here.join(trip, users[0], guest)
    devices = [Device(SyncedCopy(here, user, limit=2 + n * 5)) for user in users for n in range(DEVICES)]
    return Site(here, users, trip, devices)


def comparable(entities: Mapping[Entity, Any]) -> dict[Entity, Any]:
    """Entities without the names in messages and receipts, which a client takes from the members."""
    return {
        key: {name: value for name, value in one.items() if name not in ("sender", "user")}
        if key[0] in ("message", "receipt")
        else one
        for key, one in entities.items()
    }


_sites = iter(range(1_000_000))


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    phases=[Phase.generate],  # a failure is not made smaller: that takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(steps=STEPS)
async def test_every_device_has_what_the_lists_have(steps: list[tuple[str, int, int]], here: World) -> None:
    site = await site_in(here, next(_sites))
    for action, which, n in steps:
        await site.step(action, site.devices[which], n)
    await site.finish()
    read = {user.id: comparable(await read_everything(here, user)) for user in site.users}
    for device in site.devices:
        copy = (await device.copy.sync()).entities
        assert comparable(copy) == read[device.copy.user.id]
    owned = site.devices[0].copy.entities
    assert {id_: one["text"] for (kind, _, id_), one in owned.items() if kind == "todo"} == site.texts
    assert {id_ for kind, _, id_ in owned if kind == "message"} == site.messages
