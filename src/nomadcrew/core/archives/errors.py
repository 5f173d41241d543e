"""Refusals of archives."""

from nomadcrew.core.archives.limits import MAX_ARCHIVE_BYTES
from nomadcrew.core.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable


class BadArchive(Invalid):
    code = "invalid_archive"
    text = "This file is not an archive of a trip, or it is damaged."


class ArchiveTooLarge(TooLarge):
    """The archive, or a part of it, exceeds a limit."""

    code = "archive_too_large"
    text = f"An archive must not exceed {MAX_ARCHIVE_BYTES >> 20} MiB. Export the trip with `files=false`."


class UnknownVersion(Invalid):
    code = "unknown_archive_version"
    text = "This archive was written by a later version of NomadCrew."


class ImportInterrupted(Unavailable):
    """A sweep or a concurrent import came between; the same archive sent again continues."""

    code = "import_interrupted"
    text = "The import was interrupted. Send the archive again."


class UploadNotFound(NotFound):
    """No such upload, another user's, or one that has expired."""

    def __init__(self) -> None:
        super().__init__("upload", code="upload_not_found")


class UploadIncomplete(Conflict):
    code = "upload_incomplete"
    text = "The archive is not there yet. Upload it with the form of the reservation, then complete it again."
