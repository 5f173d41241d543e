"""Detection of file types by content, and removal of metadata; all files are generated."""

import struct
import time
from contextlib import suppress
from itertools import chain

import pytest

from nomadcrew.core.files.metadata import strip_metadata
from nomadcrew.core.files.model import MAX_FILE_BYTES, BadFileType, FileKind, FileNotReadable, FileTooLarge
from tests.sample_files import (
    END,
    FRAME,
    HEADER,
    JFIF,
    JPEG_OF_A_PHONE,
    LOSSY,
    PDF,
    PICTURE,
    PICTURES,
    PIXELS,
    PNG_OF_A_PHONE,
    SCAN,
    SECRET,
    TABLES,
    WEBP_OF_A_PHONE,
    exif,
    extended,
    jpeg,
    png,
    png_chunk,
    riff_chunk,
    segment,
    webp,
)


@pytest.mark.parametrize("kind", PICTURES)
def test_metadata_is_removed_from_a_picture(kind: FileKind) -> None:
    assert SECRET in PICTURES[kind]
    found, clean = strip_metadata(PICTURES[kind])
    assert found is kind
    assert SECRET not in clean


@pytest.mark.parametrize("kind", PICTURES)
def test_data_after_a_picture_is_removed(kind: FileKind) -> None:
    assert strip_metadata(PICTURES[kind] + jpeg(segment(0xE1, exif())) + SECRET) == strip_metadata(PICTURES[kind])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_clean_picture_is_unchanged(kind: FileKind) -> None:
    clean = strip_metadata(PICTURES[kind])
    assert strip_metadata(clean[1]) == clean


@pytest.mark.parametrize("kind", PICTURES)
def test_a_truncated_picture_is_refused(kind: FileKind) -> None:
    whole = PICTURES[kind]
    for length in range(12, len(whole)):
        with pytest.raises(FileNotReadable):
            strip_metadata(whole[:length])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_changed_byte_never_crashes_the_parser(kind: FileKind) -> None:
    whole = PICTURES[kind]
    for at, value in chain.from_iterable(((at, 0), (at, 0x7F), (at, 0xFF)) for at in range(12, len(whole))):
        try:
            strip_metadata(whole[:at] + bytes((value,)) + whole[at + 1 :])
        except FileNotReadable:
            continue


def test_a_jpeg_keeps_segments_that_affect_its_display() -> None:
    turn = segment(0xE1, b"Exif\0\0MM\0*" + bytes.fromhex("00000008 0001 0112 0003 00000001 0006 0000 00000000"))
    assert strip_metadata(JPEG_OF_A_PHONE)[1] == b"".join(
        (
            b"\xff\xd8",
            turn,
            segment(0xE0, JFIF + b"\0\0"),
            segment(0xE2, b"ICC_PROFILE\0\1\1profile"),
            segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"),
            PICTURE,
            END,
        )
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_keeps_its_orientation(orientation: int, order: str) -> None:
    _, clean = strip_metadata(jpeg(segment(0xE1, exif(orientation, order))))
    if orientation == 1:
        assert clean == jpeg()
    else:
        assert clean[2:4] == b"\xff\xe1"
        assert struct.unpack_from(">HHIH", clean, 2 + 4 + 6 + 8 + 2) == (0x0112, 3, 1, orientation)
        assert clean.endswith(jpeg()[2:])


@pytest.mark.parametrize(
    "payload",
    [
        exif(),
        exif(0),
        exif(9),
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff" + SECRET,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + SECRET,
        b"Exif\0\0what" + SECRET,
    ],
)
def test_exif_without_an_orientation_is_removed(payload: bytes) -> None:
    assert strip_metadata(jpeg(segment(0xE1, payload)))[1] == jpeg()


def test_fill_bytes_before_a_marker_are_removed() -> None:
    assert strip_metadata(jpeg(b"\xff\xff\xff" + segment(0xFE, SECRET)))[1] == jpeg()


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xd8" + END + bytes(12),
        b"\xff\xd8" + TABLES + FRAME + END,
        b"\xff\xd8" + TABLES + SCAN + FRAME + END,
        b"\xff\xd8" + FRAME + PICTURE + END,
        jpeg(segment(0xF0, b"what")),
        jpeg(b"\xff\x01"),
        jpeg(b"\xff\xfe\0\1"),
        jpeg(segment(0xE0, JFIF + b"\0\0") + b"no marker"),
        b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, 65_535, 65_535, 1)) + SCAN + END,
        b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, 0, 4, 1)) + SCAN + END,
    ],
    ids=["empty", "no scan", "scan first", "two frames", "unknown", "no length", "short", "gap", "huge", "flat"],
)
def test_a_malformed_jpeg_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        strip_metadata(hostile)


def test_a_png_keeps_chunks_that_affect_its_display() -> None:
    assert strip_metadata(PNG_OF_A_PHONE)[1] == png(png_chunk(b"gAMA", b"\0\0\xb1\x8f"))


def _with_bad_checksum(whole: bytes) -> bytes:
    return whole.replace(PIXELS, PIXELS[:-1] + bytes((PIXELS[-1] ^ 1,)))


@pytest.mark.parametrize(
    "hostile",
    [
        png(png_chunk(b"WHAT")),
        png(HEADER),
        png().replace(HEADER, b""),
        png().replace(PIXELS, b""),
        _with_bad_checksum(png()),
        png(struct.pack(">I4s", 0xFFFF_FFFF, b"tEXt")),
        png().replace(HEADER, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31, 2**31, 8, 0, 0, 0, 0))),
        png().replace(HEADER, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 3, 8, 0, 0, 0, 0))),
    ],
    ids=["unknown", "two headers", "no header", "no pixels", "checksum", "endless", "huge", "flat"],
)
def test_a_malformed_png_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        strip_metadata(hostile)


def test_the_flags_of_a_webp_match_its_remaining_chunks() -> None:
    assert strip_metadata(WEBP_OF_A_PHONE)[1] == webp(extended(0x20), riff_chunk(b"ICCP", b"profile"), LOSSY)


def test_a_simple_webp_is_accepted() -> None:
    assert strip_metadata(webp(LOSSY)) == (FileKind.WEBP, webp(LOSSY))


def test_metadata_in_frames_of_a_webp_is_removed() -> None:
    def moving(*hidden: bytes) -> bytes:
        frame = riff_chunk(b"ANMF", bytes(16) + b"".join((riff_chunk(b"ALPH", b"a"), LOSSY, *hidden)))
        return webp(extended(0x02), riff_chunk(b"ANIM", bytes(6)), frame, frame)

    assert strip_metadata(moving(riff_chunk(b"EXIF", SECRET)))[1] == moving()


@pytest.mark.parametrize(
    "hostile",
    [
        webp(),
        webp(extended(0)),
        webp(riff_chunk(b"VP8X", b"\0")),
        webp(riff_chunk(b"ANMF", bytes(16))),
        webp(riff_chunk(b"VP8X", bytes(4) + b"\xff" * 6), LOSSY),
        webp(b"VP8 " + b"\xff" * 8),
        b"RIFF\0\0\0\0WEBP" + LOSSY,
    ],
    ids=["empty", "no picture", "short", "empty frame", "huge", "endless", "outside"],
)
def test_a_malformed_webp_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        strip_metadata(hostile)


def test_a_pdf_is_unchanged_and_must_be_complete() -> None:
    assert strip_metadata(PDF) == (FileKind.PDF, PDF)
    for damaged in (PDF[:20], PDF + bytes(2000)):
        with pytest.raises(FileNotReadable):
            strip_metadata(damaged)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + bytes(20),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"PK\3\4" + bytes(20),
        b"\n" + PDF,
        b"RIFF\4\0\0\0WAVE",
    ],
)
def test_other_file_types_are_refused(content: bytes) -> None:
    with pytest.raises(BadFileType):
        strip_metadata(content)


def test_the_size_of_a_file_is_limited() -> None:
    fits = PDF.replace(b"1 0 obj", b" " * (MAX_FILE_BYTES - len(PDF)) + b"1 0 obj")
    assert strip_metadata(fits)[0] is FileKind.PDF
    with pytest.raises(FileTooLarge):
        strip_metadata(fits + b"\n")


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xd8" + segment(0xFE, b"") * (MAX_FILE_BYTES // 4 - 1),
        b"\xff\xd8" + b"\xff" * (MAX_FILE_BYTES - 2),
        b"\xff\xd8" + FRAME + SCAN + b"\xff" * (MAX_FILE_BYTES - 200) + b"\0" + END,
        b"\x89PNG\r\n\x1a\n" + HEADER + png_chunk(b"tEXt") * (MAX_FILE_BYTES // 12 - 4),
        webp(riff_chunk(b"make", b"") * (MAX_FILE_BYTES // 8 - 2)),
    ],
    ids=["segments", "filling", "filling in a scan", "chunks", "riff"],
)
def test_a_file_of_many_tiny_parts_is_parsed_quickly(hostile: bytes) -> None:
    started = time.process_time()
    with suppress(FileNotReadable):
        strip_metadata(hostile)
    assert time.process_time() - started < 1
