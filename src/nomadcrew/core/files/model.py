"""Accepted types of files. A file's bytes decide its type, not its name or Content-Type."""

from enum import StrEnum

from nomadcrew.core.errors import Invalid

MAX_FILE_BYTES = 10 * 2**20
MAX_NAME = 120  # characters
# Four bytes each in the memory of every reader's phone. Phones take pictures of 12, 24, 48 or 50 megapixels; those
# of 108 and 200 exceed `MAX_FILE_BYTES`.
MAX_PIXELS = 64_000_000


class FileKind(StrEnum):
    """The accepted types, by media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    WEBP = "image/webp"
    PDF = "application/pdf"
    HEIC = "image/heic"  # in documents only
    ZIP = "application/zip"  # archives of trips only

    @property
    def is_picture(self) -> bool:
        return self not in (FileKind.PDF, FileKind.ZIP)


class BadFileType(Invalid):
    code = "invalid_mime_type"
    text = "Only JPEG, PNG and WebP pictures and PDF documents are accepted."


class FileNotReadable(Invalid):
    code = "file_not_readable"
    text = "This file is damaged or incomplete."


class TooManyPixels(FileNotReadable):
    """The decoded picture would take too much memory."""

    code = "too_many_pixels"
    text = f"A picture must not exceed {MAX_PIXELS // 1_000_000} megapixels."


class FileTooLarge(Invalid):
    code = "file_too_large"
    text = f"A file must not exceed {MAX_FILE_BYTES // 2**20} MiB."


def kind_of(content: bytes) -> FileKind:
    """The type of a file by its first bytes.

    Raises:
        BadFileType: the type is not accepted. HEIC is not: removing its position would require decoding it.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return FileKind.JPEG
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return FileKind.PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return FileKind.WEBP
    if content.startswith(b"%PDF-"):
        return FileKind.PDF
    raise BadFileType
