"""An upload that is not in the file store."""

from typing import Any, BinaryIO, cast

import pytest

from nomadcrew.core.archives.errors import ArchiveTooLarge, UploadIncomplete
from nomadcrew.core.archives.importing import ImportPorts
from nomadcrew.core.archives.limits import MAX_ARCHIVE_BYTES
from nomadcrew.core.archives.uploads import import_upload, reserve_upload
from nomadcrew.core.files.ports import Files
from nomadcrew.core.ids import UploadId, uuid7
from nomadcrew.web.file_types import file_kind
from tests.fakes import ANA, NOON


class Reserved:
    """The rows of an upload of ten bytes."""

    async def get_upload(self, *_: object, since: object) -> int:
        return 10


class Empty:
    """A file store without files."""

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> int | None:
        assert (key.startswith("exports/upload-"), into.tell(), max_bytes) == (True, 0, 10)
        return None


PORTS = ImportPorts(cast("Any", Reserved()), *[cast("Any", None)] * 5)


async def test_an_upload_without_its_file_is_not_complete() -> None:
    with pytest.raises(UploadIncomplete):
        await import_upload(
            UploadId(uuid7()),
            ANA,
            ports=PORTS,
            files=cast("Files", Empty()),
            detect=file_kind,
            new_id=uuid7,
            now=NOON,
        )


async def test_an_archive_above_the_limit_is_not_reserved() -> None:
    with pytest.raises(ArchiveTooLarge):
        await reserve_upload(
            MAX_ARCHIVE_BYTES + 1, ANA, ports=PORTS, files=cast("Files", None), fingerprint=b"f", now=NOON
        )
