"""Names under which files are downloaded."""

from pathlib import PurePosixPath

from nomadcrew.core.files.model import FileKind
from nomadcrew.core.graphemes import shortened
from nomadcrew.core.text import visible_line

# Accepted suffixes by kind; the first is the default.
_SUFFIXES = {
    FileKind.JPEG: (".jpg", ".jpeg"),
    FileKind.PNG: (".png",),
    FileKind.WEBP: (".webp",),
    FileKind.PDF: (".pdf",),
    FileKind.HEIC: (".heic", ".heif"),
}


def named_as(given: str, kind: FileKind, max_chars: int) -> str:
    """The last segment of `given`, without hidden characters, with the kind's suffix."""
    name = visible_line(given.replace("\\", "/").rpartition("/")[2]).strip(" .")
    suffixes = _SUFFIXES[kind]
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in suffixes:
        suffix = suffixes[0]
        stem = name or ("document" if kind is FileKind.PDF else "photo")
    else:
        stem = name[: -len(suffix)]
    return shortened(stem, max_chars - len(suffix)) + suffix
