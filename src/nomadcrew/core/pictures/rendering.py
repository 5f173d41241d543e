"""Makes the renditions of uploaded pictures, away from requests."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from nomadcrew.core.errors import Invalid
from nomadcrew.core.files.model import MAX_FILE_BYTES, FileKind
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import EventId, PictureId
from nomadcrew.core.pictures.model import Picture, Rendition, large_key, original_key, sizes_of, small_key
from nomadcrew.core.pictures.ports import Pictures, Renderer


async def render(
    picture_id: PictureId, event_id: EventId, *, pictures: Pictures, files: Files, renderer: Renderer, now: datetime
) -> bool:
    """Store the renditions of a picture and report it ready; or failed, if no decoder can read it.

    Safe to repeat: the same files are written again. Files that are written after the picture's deletion are
    deleted an hour after it, by the sweep. Returns False if there was nothing to do.

    Raises:
        Unavailable: retry later.
    """
    picture = await pictures.get_unrendered(picture_id)
    if picture is None:
        return False
    try:
        renditions = await _renditions_of(picture, files, renderer)
    except Invalid:
        await pictures.rendered(picture_id, None, event_id, now=now)
        return True
    if not renditions:
        return False  # deleted since
    for key, rendition in zip((large_key, small_key), renditions, strict=False):
        await files.put(key(picture_id), rendition.content, FileKind.WEBP)
    large = renditions[0]
    await pictures.rendered(picture_id, (large.width_px, large.height_px), event_id, now=now)
    return True


async def _renditions_of(picture: Picture, files: Files, renderer: Renderer) -> Sequence[Rendition]:
    """The renditions of a picture's original; none if it is gone."""
    with cast("BinaryIO", await asyncio.to_thread(TemporaryFile)) as file:
        renditions: Sequence[Rendition] = ()
        if await files.fetch(original_key(picture.id), file, max_bytes=MAX_FILE_BYTES) is not None:
            renditions = await renderer.render(file, sizes_of(picture))
    return renditions
