"""Consumes the pictures queue: makes the renditions of uploaded pictures."""

from typing import Final
from uuid import UUID

import msgspec

from nomadcrew.core.ids import EventId, PictureId, derived_id
from nomadcrew.core.pictures.rendering import render
from nomadcrew.core.ports import Ports
from nomadcrew.core.queues import Job
from nomadcrew.wire.events import unpack

PORTS: Final = ("outbox", "picture_files", "pictures", "queue", "renderer")


class _About(msgspec.Struct):
    """The picture of an event."""

    id: UUID


async def consume_picture(job: Job, ports: Ports) -> None:
    """Render the picture of an event.

    Raises:
        NotAnEvent: the message is not an event.
        Unavailable: retry later.
    """
    event = unpack(job.body)
    about = msgspec.json.decode(event.payload, type=_About)
    ports.outbox.before_write()
    changed = await render(
        PictureId(about.id),
        EventId(derived_id(event.id, "rendered")),
        pictures=ports.pictures,
        files=ports.picture_files,
        renderer=ports.renderer,
        now=ports.clock(),
    )
    await ports.outbox.after_commit(has_events=changed)
