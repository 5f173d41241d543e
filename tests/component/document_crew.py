"""A crew with documents, for component tests on the machine host."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from nomadcrew.core.documents import upkeep
from tests.component.requests import FORM_DATA, document_form
from tests.sample_files import PDF
from tests.world import Answer, User, World

OWN = "/v1/wallet/documents"


@dataclass
class Crew:
    """A trip of ana and ben, and cleo, who is not a member."""

    world: World
    files: Path
    trip: UUID
    people: dict[str, User]

    @property
    def group(self) -> str:
        return f"/v1/trips/{self.trip}/wallet/documents"

    async def upload(self, by: str, path: str = OWN, file: bytes = PDF, **metadata: object) -> Answer:
        return await self.send(by, document_form(file, **metadata), path)

    async def send(self, by: str, form: bytes, path: str = OWN, content_type: str = FORM_DATA[1]) -> Answer:
        headers = {"content-type": content_type, "user-agent": "a phone"}
        return await self.world.call("POST", path, by=self.people[by], raw=form, headers=headers)

    async def uploaded(self, by: str, path: str = OWN, file: bytes = PDF, **metadata: object) -> dict[str, Any]:
        reply = await self.upload(by, path, file, **metadata)
        assert reply.status == 201, reply.body
        return dict(reply.json)

    async def call(self, method: str, path: str, by: str, body: object = None) -> Answer:
        return await self.world.call(method, path, by=self.people[by], body=body)

    async def get(self, by: str, document: str) -> Answer:
        return await self.call("GET", f"{OWN}/{document}", by)

    async def file(self, token: str, **headers: str) -> Answer:
        """The file of a token, as clients follow the redirect."""
        reply = await self.world.call("GET", f"/v1/wallet/files/{token}")
        if reply.status != 307:
            return reply
        return await self.world.call("GET", reply.headers["location"], headers=headers)

    async def reserve(
        self, by: str, path: str = OWN, size: int = len(PDF), type_: str = "application/pdf"
    ) -> Answer:
        body = {"documentType": "visa", "name": "Visa", "mimeType": type_, "fileSize": size}
        return await self.call("POST", f"{path}:presign", by, body)

    async def complete(self, by: str, document: str) -> Answer:
        return await self.call("POST", f"{OWN}:complete", by, {"id": document})

    async def audit(self, by: str, document: str) -> list[tuple[str, UUID]]:
        reply = await self.call("GET", f"{OWN}/{document}/audit", by)
        assert reply.status == 200, reply.body
        return [(entry["action"], UUID(entry["userId"])) for entry in reply.json["data"]]

    async def sweep(self) -> int:
        ports = self.world.ports
        return await upkeep.sweep(documents=ports.documents, files=ports.document_files, now=self.world.clock())

    def stored(self, *documents: str) -> list[str]:
        return [document for document in documents if (self.files / document).exists()]

    async def stored_audit(self, document: str) -> list[tuple[str, UUID]]:
        async with self.world.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT action, user_id FROM document_audit WHERE document_id = $1", UUID(document)
            )
        return [(row[0], row[1]) for row in rows]

    async def events(self) -> list[dict[str, Any]]:
        async with self.world.pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT type, audience, payload FROM outbox"
                " WHERE trip_id = $1 AND type LIKE 'DOCUMENT%' ORDER BY id",
                self.trip,
            )
        return [{"type": row[0], "audience": row[1], "payload": json.loads(row[2])} for row in rows]


async def crew_of(made: World, home: Path) -> Crew:
    people = {name: await made.user(f"{name}-{uuid4().hex[:8]}") for name in ("ana", "ben", "cleo")}
    trip = await made.trip(people["ana"])
    await made.join(trip, people["ana"], people["ben"])
    return Crew(made, home / "files" / "documents", trip, people)
