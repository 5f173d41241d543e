"""Detects the type of a file by its bytes."""

from nomadcrew.core.files.model import FileKind


def file_kind(head: bytes) -> FileKind | None:
    """The type of a file by its first bytes; None if documents do not accept it.

    A HEIF picture counts as HEIC, the only coding of it that phones write.
    """
    # Few requests need its tables.
    import filetype

    found = filetype.guess(head)
    return None if found is None else _KINDS.get(found.mime)


_KINDS = {kind.value: kind for kind in (FileKind.PDF, FileKind.JPEG, FileKind.PNG, FileKind.HEIC)}
