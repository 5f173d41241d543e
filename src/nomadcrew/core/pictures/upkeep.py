"""The sweep of pictures: no file without its row, no row without its file, nothing longer than it is needed."""

from datetime import datetime

from nomadcrew.core.batches import in_batches
from nomadcrew.core.files.ports import Files
from nomadcrew.core.pictures.model import keys_of
from nomadcrew.core.pictures.ports import Pictures
from nomadcrew.core.retention import RESERVED_PICTURE_RETENTION

BATCH = 50  # four files each


async def sweep(*, pictures: Pictures, files: Files, now: datetime) -> int:
    """Expire reservations, and delete files and rows of pictures that were deleted an hour ago.

    The hour is longer than a client may upload and a job may render. A row is deleted after its files, so that an
    interrupted sweep is repeated. Returns the number of pictures.

    Raises:
        Unavailable: a file could not be deleted; retry later.
    """
    before = now - RESERVED_PICTURE_RETENTION

    async def delete_files() -> int:
        due = await pictures.list_deleted(before, limit=BATCH)
        for picture_id in due:
            for key in keys_of(picture_id):
                await files.delete(key)
        if due:
            await pictures.forget(due)
        return len(due)

    await in_batches(lambda: pictures.expire(before, now=now, limit=BATCH), BATCH)
    return await in_batches(delete_files, BATCH)
