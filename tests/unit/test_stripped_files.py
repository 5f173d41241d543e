"""Files are known by their bytes, and lose what they tell beside their content. All of them are made by hand."""

import struct
import time
import zlib
from contextlib import suppress
from itertools import chain

import pytest

from nomadcrew.core.files.model import MAX_FILE_BYTES, BadFileType, FileKind, FileNotReadable, FileTooLarge
from nomadcrew.core.files.strip import cleaned

# What must not be found in what is kept, wherever it was: a position as text, and where a picture was taken.
SECRET = b"41.1496 N 8.6109 W"


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def exif(orientation: int | None = None, order: str = "<") -> bytes:
    """Exif data with a position, and before it an orientation if one is given."""
    entries = [] if orientation is None else [struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)]
    gps = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries.append(struct.pack(f"{order}HHII", 0x8825, 4, 1, gps))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + struct.pack(f"{order}I", 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + start + struct.pack(f"{order}I", 8) + directory + SECRET


JFIF = b"JFIF\0\1\2\0\0\1\0\1"
FRAME = segment(0xC0, struct.pack(">BHHB", 8, 3, 4, 1) + b"\1\x11\0")
TABLES = segment(0xDB, b"\0" + bytes(range(1, 65))) + segment(0xC4, b"\0" + bytes(16))
# With a stuffed zero, a restart marker and filling, none of which ends the data.
SCAN = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x12\xff\x00\x34\xff\xd0\x56\xff"
PICTURE = TABLES + FRAME + SCAN + segment(0xC4, b"\x10" + bytes(16)) + SCAN
END = b"\xff\xd9"


def jpeg(*segments: bytes) -> bytes:
    return b"".join((b"\xff\xd8", *segments, PICTURE, END))


def png_chunk(type_: bytes, payload: bytes = b"") -> bytes:
    body = type_ + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


HEADER = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 0, 0, 0, 0))
PIXELS = png_chunk(b"IDAT", zlib.compress(bytes(15)))


def png(*chunks: bytes) -> bytes:
    return b"".join((b"\x89PNG\r\n\x1a\n", HEADER, *chunks, PIXELS, png_chunk(b"IEND")))


def riff_chunk(type_: bytes, payload: bytes) -> bytes:
    return type_ + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def webp(*chunks: bytes) -> bytes:
    return riff_chunk(b"RIFF", b"".join((b"WEBP", *chunks)))


def extended(flags: int) -> bytes:
    return riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + b"\3\0\0" + b"\2\0\0")


LOSSY = riff_chunk(b"VP8 ", b"odd")
PDF = b"%PDF-1.7\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"

JPEG_OF_A_PHONE = jpeg(
    segment(0xE0, JFIF + b"\2\1" + bytes(6)),
    segment(0xE1, exif(6)),
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET),
    segment(0xE2, b"ICC_PROFILE\0\1\1profile"),
    segment(0xE2, b"MPF\0" + SECRET),
    segment(0xED, b"Photoshop 3.0\0" + SECRET),
    segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET),
    segment(0xFE, SECRET),
)
PNG_OF_A_PHONE = png(
    *(png_chunk(type_, SECRET) for type_ in (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"maKe")),
    png_chunk(b"gAMA", b"\0\0\xb1\x8f"),
)
WEBP_OF_A_PHONE = webp(
    extended(0x20 | 0x08 | 0x04),
    riff_chunk(b"ICCP", b"profile"),
    LOSSY,
    riff_chunk(b"EXIF", SECRET),
    riff_chunk(b"XMP ", SECRET),
    riff_chunk(b"make", SECRET),
)
PICTURES = {FileKind.JPEG: JPEG_OF_A_PHONE, FileKind.PNG: PNG_OF_A_PHONE, FileKind.WEBP: WEBP_OF_A_PHONE}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_keeps_nothing_of_where_it_was_taken(kind: FileKind) -> None:
    assert SECRET in PICTURES[kind]
    found, clean = cleaned(PICTURES[kind])
    assert found is kind
    assert SECRET not in clean


@pytest.mark.parametrize("kind", PICTURES)
def test_what_follows_a_picture_goes_too(kind: FileKind) -> None:
    assert cleaned(PICTURES[kind] + jpeg(segment(0xE1, exif())) + SECRET) == cleaned(PICTURES[kind])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_clean_picture_is_left_as_it_is(kind: FileKind) -> None:
    clean = cleaned(PICTURES[kind])
    assert cleaned(clean[1]) == clean


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_that_ends_early_is_refused_wherever_it_ends(kind: FileKind) -> None:
    whole = PICTURES[kind]
    for length in range(12, len(whole)):
        with pytest.raises(FileNotReadable):
            cleaned(whole[:length])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_changed_byte_is_refused_or_harmless_and_never_a_crash(kind: FileKind) -> None:
    whole = PICTURES[kind]
    for at, value in chain.from_iterable(((at, 0), (at, 0x7F), (at, 0xFF)) for at in range(12, len(whole))):
        try:
            cleaned(whole[:at] + bytes((value,)) + whole[at + 1 :])
        except FileNotReadable:
            continue


def test_what_a_jpeg_needs_to_look_as_it_should_is_kept() -> None:
    turn = segment(0xE1, b"Exif\0\0MM\0*" + bytes.fromhex("00000008 0001 0112 0003 00000001 0006 0000 00000000"))
    assert cleaned(JPEG_OF_A_PHONE)[1] == b"".join(
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
def test_a_jpeg_stays_turned_as_it_was(orientation: int, order: str) -> None:
    _, clean = cleaned(jpeg(segment(0xE1, exif(orientation, order))))
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
def test_exif_that_says_no_orientation_is_dropped_whole(payload: bytes) -> None:
    assert cleaned(jpeg(segment(0xE1, payload)))[1] == jpeg()


def test_filling_before_a_marker_is_no_part_of_a_jpeg() -> None:
    assert cleaned(jpeg(b"\xff\xff\xff" + segment(0xFE, SECRET)))[1] == jpeg()


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
def test_a_jpeg_that_makes_no_sense_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        cleaned(hostile)


def test_what_a_png_needs_to_look_as_it_should_is_kept() -> None:
    assert cleaned(PNG_OF_A_PHONE)[1] == png(png_chunk(b"gAMA", b"\0\0\xb1\x8f"))


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
def test_a_png_that_makes_no_sense_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        cleaned(hostile)


def test_a_webp_does_not_claim_what_was_left_out() -> None:
    assert cleaned(WEBP_OF_A_PHONE)[1] == webp(extended(0x20), riff_chunk(b"ICCP", b"profile"), LOSSY)


def test_a_simple_webp_is_a_webp() -> None:
    assert cleaned(webp(LOSSY)) == (FileKind.WEBP, webp(LOSSY))


def test_frames_of_a_webp_hide_nothing() -> None:
    def moving(*hidden: bytes) -> bytes:
        frame = riff_chunk(b"ANMF", bytes(16) + b"".join((riff_chunk(b"ALPH", b"a"), LOSSY, *hidden)))
        return webp(extended(0x02), riff_chunk(b"ANIM", bytes(6)), frame, frame)

    assert cleaned(moving(riff_chunk(b"EXIF", SECRET)))[1] == moving()


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
def test_a_webp_that_makes_no_sense_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        cleaned(hostile)


def test_a_document_is_as_it_was_and_has_an_end() -> None:
    assert cleaned(PDF) == (FileKind.PDF, PDF)
    for damaged in (PDF[:20], PDF + bytes(2000)):
        with pytest.raises(FileNotReadable):
            cleaned(damaged)


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
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(BadFileType):
        cleaned(content)


def test_a_file_has_a_largest_size() -> None:
    fits = PDF.replace(b"1 0 obj", b" " * (MAX_FILE_BYTES - len(PDF)) + b"1 0 obj")
    assert cleaned(fits)[0] is FileKind.PDF
    with pytest.raises(FileTooLarge):
        cleaned(fits + b"\n")


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
def test_a_file_of_nothing_but_parts_holds_nobody_up(hostile: bytes) -> None:
    started = time.process_time()
    with suppress(FileNotReadable):
        cleaned(hostile)
    assert time.process_time() - started < 1
