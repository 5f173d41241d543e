"""The sweep of documents: no file without its row, no row without its file, nothing longer than it is needed."""

from datetime import datetime

from nomadcrew.core.batches import in_batches
from nomadcrew.core.documents.model import keys_of
from nomadcrew.core.documents.ports import Documents
from nomadcrew.core.files.ports import Files
from nomadcrew.core.retention import DOCUMENT_RETENTION, RESERVED_DOCUMENT_RETENTION

BATCH = 200


async def sweep(*, documents: Documents, files: Files, now: datetime) -> int:
    """Expire reservations, delete the files of deleted documents, and delete rows after their retention.

    A file is deleted once more an hour after its document: until then its client may upload it again. A row is
    deleted after its file, so that an interrupted sweep is repeated. Returns the number of files and rows.

    Raises:
        Unavailable: a file could not be deleted; retry later.
    """
    before = now - RESERVED_DOCUMENT_RETENTION

    async def delete_files() -> int:
        due = await documents.list_with_files(before, limit=BATCH)
        for document_id in due:
            for key in keys_of(document_id):
                await files.delete(key)
        if due:
            await documents.file_gone(due)
        return len(due)

    await in_batches(lambda: documents.expire(before, now=now, limit=BATCH), BATCH)
    deleted = await in_batches(delete_files, BATCH)
    return deleted + await in_batches(lambda: documents.forget(now - DOCUMENT_RETENTION, limit=BATCH), BATCH)
