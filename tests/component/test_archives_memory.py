"""An export and an import of ten thousand messages, in bounded memory."""

import tracemalloc
from collections.abc import AsyncIterator
from io import BytesIO
from tempfile import TemporaryFile
from typing import BinaryIO, cast

import pytest
import pytest_asyncio

from nomadcrew.api.archives.sources import import_ports_of, sources_of
from nomadcrew.api.calendars.ics import calendar_text
from nomadcrew.core.archives.export import ExportRequest, export_trip
from nomadcrew.core.archives.importing import import_trip
from nomadcrew.core.documents.service import Client
from nomadcrew.web.file_types import file_kind
from tests.archives import PERSON, TRIP, a_message, content, zipped
from tests.postgres import Postgres
from tests.world import User, World, world

MESSAGES = 10_000
MAX_MEMORY_BYTES = 16 * 2**20  # the messages alone have some ten MiB, as objects several times as much


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(
    postgres: Postgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, User]]:
    async with world(postgres, tmp_path_factory.mktemp("archives"), template=template) as made:
        yield made, await made.user("ana")


async def test_ten_thousand_messages_are_imported_and_exported_page_by_page(here: tuple[World, User]) -> None:
    server, ana = here
    ports = server.ports
    said = [a_message(n, f"{n} " + "a long message " * 60) for n in range(MESSAGES)]
    archive = zipped({**TRIP, "messages": said, "people": [PERSON]})
    del said
    tracemalloc.start()
    try:
        imported = await import_trip(
            BytesIO(archive), len(archive), ana.id,
            ports=import_ports_of(ports),
            detect=file_kind, fingerprint=b"f" * 32, new_id=ports.new_id, now=ports.clock(),
        )  # fmt: skip
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
        tracemalloc.reset_peak()
        with cast("BinaryIO", TemporaryFile()) as target:
            request = ExportRequest(imported.trip.id, ana.id, Client("", ""), ports.clock())
            await export_trip(request, target, sources=sources_of(ports), write_calendar=calendar_text)
            assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY_BYTES
            tracemalloc.stop()
            target.seek(0)
            texts = [message["text"] for message in content(target.read())["messages"]]
    finally:
        tracemalloc.stop()
    assert [text.partition(" ")[0] for text in texts] == [str(n) for n in range(MESSAGES)]
