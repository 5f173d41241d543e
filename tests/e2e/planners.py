"""Members of a trip who vote and upload documents during kills, and the comparison with what they were told."""

import asyncio
import json
import os
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import asyncpg
import httpx

from nomadcrew.hosts.machine.data_folder import DataFolder
from nomadcrew.hosts.machine.postgres.binaries import find_binaries
from nomadcrew.hosts.machine.postgres.server import EmbeddedPostgres
from tests.e2e.client import User
from tests.e2e.server import Server
from tests.e2e.writers import ATTEMPTS
from tests.sample_files import PDF

PAUSE_S = 0.05
MAX_UPLOADS = 20  # a member
PAGE = 100
# Longer than the period for which the sweep leaves reservations and files of deleted documents.
OLD = "2 hours"


@dataclass
class Plans:
    """A trip's poll and wallet, as their writers were told."""

    trip_id: str
    poll_id: str
    options: list[str]
    # The last acknowledged vote by user, and the users with a later one without reply.
    votes: dict[str, str] = field(default_factory=dict)
    unconfirmed: set[str] = field(default_factory=set)
    # Acknowledged documents with their bytes, and those whose deletion was acknowledged or got no reply.
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    perhaps_deleted: set[str] = field(default_factory=set)
    writes: int = 0

    @property
    def wallet(self) -> str:
        return f"/v1/trips/{self.trip_id}/wallet/documents"

    @property
    def poll(self) -> str:
        return f"/v1/trips/{self.trip_id}/polls/{self.poll_id}"


async def start_plans(by: User, trip_id: str) -> Plans:
    poll = await by.new_poll(trip_id)
    return Plans(trip_id, poll["id"], [option["id"] for option in poll["options"]])


class Planner:
    """One member who votes, uploads and deletes until stopped."""

    def __init__(self, user: User, plans: Plans, rng: random.Random) -> None:
        self._user = user
        self._plans = plans
        self._random = rng
        self._own: list[str] = []
        self._uploads = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            acts = (self._vote, self._upload, self._delete)
            [act] = self._random.choices(acts, weights=(50, 40, 10))
            await act()
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))

    async def _vote(self) -> None:
        option, user_id = self._random.choice(self._plans.options), self._user.id
        self._plans.unconfirmed.add(user_id)
        if await self._acknowledged(
            lambda: self._user.send("POST", f"{self._plans.poll}/vote", {"optionId": option})
        ):
            self._plans.votes[user_id] = option
            self._plans.unconfirmed.discard(user_id)

    async def _upload(self) -> None:
        if self._uploads == MAX_UPLOADS:
            return
        self._uploads += 1
        content = PDF + secrets.token_bytes(self._random.randrange(1 << 16))
        texts = {"documentType": "other", "name": secrets.token_hex(8)}
        form = {"file": ("scan", content, "application/pdf"), "metadata": (None, json.dumps(texts))}
        bearer = {"authorization": f"Bearer {self._user.token}"}
        reply = await self._acknowledged(
            lambda: self._user.api.send("POST", self._plans.wallet, headers=bearer, files=form)
        )
        if reply is not None:
            document = reply.json()
            self._plans.documents[document["id"]] = document
            self._plans.contents[document["id"]] = content
            self._own.append(document["id"])

    async def _delete(self) -> None:
        if not self._own:
            return
        document = self._own.pop(self._random.randrange(len(self._own)))
        self._plans.perhaps_deleted.add(document)
        # A repeat after a deletion without reply finds no document.
        if await self._acknowledged(
            lambda: self._user.send("DELETE", f"/v1/wallet/documents/{document}"), also=404
        ):
            self._plans.deleted.add(document)

    async def _acknowledged(
        self, send: Callable[[], Awaitable[httpx.Response]], *, also: int | None = None
    ) -> httpx.Response | None:
        """The acknowledged reply; None if no attempt was acknowledged, even if it was carried out."""
        for _ in range(ATTEMPTS):
            try:
                reply = await send()
            except httpx.TransportError:
                continue
            if reply.is_success or reply.status_code == also:
                self._plans.writes += 1
                return reply
            assert reply.status_code == 503, (reply.status_code, reply.text)
        return None


async def check_plans(by: User, plans: Plans) -> tuple[list[str], list[str]]:
    """Lost and duplicated votes and documents, as a member sees them."""
    poll = await by.ask("GET", plans.poll)
    cast = [(voter["userId"], option["id"]) for option in poll["options"] for voter in option["voters"]]
    duplicates = [f"{user} voted {count} times" for user, count in Counter(u for u, _ in cast).items() if count > 1]
    shown = dict(cast)
    lost = [
        f"the vote of {user} is {shown.get(user)}, not {option}"
        for user, option in plans.votes.items()
        if shown.get(user) != option and user not in plans.unconfirmed
    ]
    listed = {document["id"]: document for document in await _documents(by, plans)}
    names = Counter(document["name"] for document in listed.values())
    duplicates += [f"document {name}: {count} times" for name, count in names.items() if count > 1]
    duplicates += [f"document {id_} is there after its deletion" for id_ in plans.deleted & listed.keys()]
    for id_ in plans.documents.keys() - plans.perhaps_deleted:
        # The token of the download is new in each reply.
        if _plain(listed.get(id_, {})) != _plain(plans.documents[id_]):
            lost.append(f"document {id_}: acknowledged {plans.documents[id_]}, found {listed.get(id_)}")
        elif await _content(by, id_) != plans.contents[id_]:
            lost.append(f"document {id_}: other bytes than those sent")
    return lost, duplicates


async def stray_files(server: Server) -> list[str]:
    """After a restart and a sweep of all that is due, the files without a row and the rows without a file."""
    folder = server.home / "files" / "documents"
    for path in folder.glob(".*"):
        os.utime(path, (0, 0))  # an interrupted write
    await server.stop()
    await server.start()
    postgres = EmbeddedPostgres(DataFolder(server.home), find_binaries())
    await postgres.attach()
    connection = await asyncpg.connect(**postgres.connect_kwargs)
    try:
        for column, rows in (("created_at", "stored_at IS NULL"), ("deleted_at", "deleted_at IS NOT NULL")):
            await connection.execute(f"UPDATE documents SET {column} = {column} - interval '{OLD}' WHERE {rows}")
        await server.command("jobs", "run", "old-documents")
        rows = await connection.fetch(
            "SELECT id, deleted_at IS NULL AS has_file FROM documents WHERE NOT file_is_gone"
        )
    finally:
        await connection.close()
    files = {path.name for path in folder.iterdir()}
    stored = {str(row["id"]) for row in rows if row["has_file"]}
    return [f"file {name} has no row" for name in files - stored] + [
        f"document {id_} has no file" for id_ in stored - files
    ]


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "downloadUrl"}


async def _documents(by: User, plans: Plans) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = await by.ask("GET", f"{plans.wallet}?limit={PAGE}&offset={len(found)}")
        found += page["data"]
        if len(found) >= page["pagination"]["total"] or not page["data"]:
            return found


async def _content(by: User, document: str) -> bytes:
    shown = await by.ask("GET", f"/v1/wallet/documents/{document}")
    link = await by.api.send("GET", f"/v1/wallet/files/{shown['downloadUrl']}")
    file = await by.api.send("GET", urljoin(by.api.url, link.headers["location"]).removeprefix(by.api.url))
    return file.content
