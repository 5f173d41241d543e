"""Jobs of the queue of exports."""

import msgspec

from nomadcrew.core.archives.jobs import ExportJob
from nomadcrew.core.errors import PermanentFailure

_decode = msgspec.json.Decoder(ExportJob).decode


class NotAnExportJob(PermanentFailure):
    """A message is not an export job; retrying cannot help."""


def export_job(job: ExportJob) -> str:
    return msgspec.json.encode(job).decode()


def export_job_in(body: str) -> ExportJob:
    """Decode a message of the queue. Raises `NotAnExportJob`."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotAnExportJob(type(error).__name__) from error
