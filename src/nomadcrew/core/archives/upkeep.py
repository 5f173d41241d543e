"""The sweep of stored archives: those that jobs wrote, and those that clients uploaded."""

from datetime import datetime

from nomadcrew.core.archives.ports import TripExports, TripImports
from nomadcrew.core.batches import in_batches
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import ExportId, UploadId
from nomadcrew.core.retention import EXPORT_RETENTION, UPLOAD_RETENTION

DELETE_BATCH = 200


def key_of(export_id: ExportId) -> str:
    """The key of an archive. It names neither user nor trip."""
    return f"exports/{export_id}"


def upload_key_of(upload_id: UploadId) -> str:
    """The key of an uploaded archive, with the same prefix."""
    return f"exports/upload-{upload_id}"


async def sweep_uploads(*, imports: TripImports, files: Files, now: datetime) -> int:
    """Delete uploaded archives after `UPLOAD_RETENTION`; returns their number. A row is deleted after its file.

    Raises:
        Unavailable: a file could not be deleted; retry later.
    """

    async def delete() -> int:
        due = await imports.expired_uploads(now - UPLOAD_RETENTION, limit=DELETE_BATCH)
        for upload_id in due:
            await files.delete(upload_key_of(upload_id))
        if due:
            await imports.forget_uploads(due)
        return len(due)

    return await in_batches(delete, DELETE_BATCH)


async def sweep(*, exports: TripExports, files: Files, now: datetime) -> int:
    """Delete archives after `EXPORT_RETENTION`; returns their number. A row is deleted after its file.

    Raises:
        Unavailable: a file could not be deleted; retry later.
    """

    async def delete() -> int:
        due = await exports.expired(now - EXPORT_RETENTION, limit=DELETE_BATCH)
        for export_id in due:
            await files.delete(key_of(export_id))
        if due:
            await exports.forget(due)
        return len(due)

    return await in_batches(delete, DELETE_BATCH)
