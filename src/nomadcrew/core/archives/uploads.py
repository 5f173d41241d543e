"""Archives that a client uploads to the file store itself: larger ones than a request can carry on AWS."""

import asyncio
import hashlib
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from msgspec import Struct

from nomadcrew.core.archives.errors import ArchiveTooLarge, UploadIncomplete
from nomadcrew.core.archives.importing import Imported, ImportPorts, import_trip
from nomadcrew.core.archives.limits import MAX_ARCHIVE_BYTES
from nomadcrew.core.archives.survey import Detect
from nomadcrew.core.archives.upkeep import upload_key_of
from nomadcrew.core.documents.model import UPLOAD_LIFETIME
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import DirectUpload, Files
from nomadcrew.core.ids import NewId, UploadId, UserId, derived_id
from nomadcrew.core.retention import UPLOAD_RETENTION

CHUNK_BYTES = 64 * 1024


class ReservedUpload(Struct, frozen=True):
    """A reserved upload, and the request that uploads the archive."""

    upload_id: UploadId
    upload: DirectUpload
    expires_at: datetime


async def reserve_upload(
    size_bytes: int, caller: UserId, *, ports: ImportPorts, files: Files, fingerprint: bytes, now: datetime
) -> ReservedUpload:
    """Reserve the upload of an archive. The same request, by `fingerprint`, reserves the same one.

    Raises:
        ArchiveTooLarge: it would exceed `MAX_ARCHIVE_BYTES`.
        NotOnboarded: the caller has no profile.
    """
    if size_bytes > MAX_ARCHIVE_BYTES:
        raise ArchiveTooLarge
    upload_id = UploadId(derived_id(caller, f"upload {fingerprint.hex()}"))
    await ports.imports.reserve_upload(upload_id, size_bytes, caller, now=now)
    upload = files.direct_upload(
        upload_key_of(upload_id), FileKind.ZIP, size_bytes, now=now, lifetime=UPLOAD_LIFETIME
    )
    return ReservedUpload(upload_id, upload, now + UPLOAD_LIFETIME)


async def import_upload(
    upload_id: UploadId,
    caller: UserId,
    *,
    ports: ImportPorts,
    files: Files,
    detect: Detect,
    new_id: NewId,
    now: datetime,
) -> Imported:
    """Import an uploaded archive. A repeat within the day returns the trip of the first import.

    Raises:
        UploadNotFound: the caller reserved no such upload within the last hour.
        UploadIncomplete: the file is not there.
        DomainError: as `import_trip` says.
    """
    size_bytes = await ports.imports.get_upload(upload_id, caller, since=now - UPLOAD_RETENTION)
    with cast("BinaryIO", await asyncio.to_thread(TemporaryFile)) as archive:
        if await files.fetch(upload_key_of(upload_id), archive, max_bytes=size_bytes) != size_bytes:
            raise UploadIncomplete
        digest = await asyncio.to_thread(_digest, archive)
        return await import_trip(
            archive,
            size_bytes,
            caller,
            ports=ports,
            detect=detect,
            fingerprint=hashlib.sha256(caller.bytes + digest).digest(),
            new_id=new_id,
            now=now,
        )


def _digest(file: BinaryIO) -> bytes:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()
