"""Detection of file types by content, and removal of metadata; all files are generated."""

import struct
import time
import zlib
from contextlib import suppress
from itertools import chain

import pytest

from nomadcrew.core.files.colours import reduced_profile
from nomadcrew.core.files.metadata import strip_metadata
from nomadcrew.core.files.model import (
    MAX_FILE_BYTES,
    BadFileType,
    FileKind,
    FileNotReadable,
    FileTooLarge,
    TooManyPixels,
)
from nomadcrew.core.files.orientation import orientation_in
from tests.photos import bomb
from tests.sample_files import (
    END,
    FRAME,
    GAMMA,
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
    WIDE_GAMUT,
    exif,
    extended,
    jpeg,
    lossless,
    lossy,
    numbers,
    png,
    png_chunk,
    profile,
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
    # The data of a scan of a JPEG may end anywhere: some cameras write no end marker.
    complete = whole.index(SCAN) + 10 if kind is FileKind.JPEG else len(whole)
    for length in range(12, complete):
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


TURN = b"MM\0*" + bytes.fromhex("00000008 0001 0112 0003 00000001 0006 0000 00000000")
COLOURS = reduced_profile(profile(WIDE_GAMUT))


def test_a_jpeg_without_an_end_marker_is_accepted() -> None:
    whole = jpeg().removesuffix(b"\xff" + END) + END
    for tail in (b"", b"\xff", b"\xff\xff"):
        assert strip_metadata(jpeg().removesuffix(b"\xff" + END) + tail) == (FileKind.JPEG, whole)
    with pytest.raises(FileNotReadable):
        strip_metadata(b"\xff\xd8" + TABLES + FRAME)


def test_a_jpeg_keeps_segments_that_affect_its_display() -> None:
    assert strip_metadata(JPEG_OF_A_PHONE)[1] == b"".join(
        (
            b"\xff\xd8",
            segment(0xE0, JFIF + b"\0\0"),
            segment(0xE1, b"Exif\0\0" + TURN),
            segment(0xE2, b"ICC_PROFILE\0\1\1" + COLOURS),
            segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"),
            PICTURE,
            END,
        )
    )


def turned(kind: FileKind, tiff: bytes) -> bytes:
    """A picture of a kind with this Exif data."""
    match kind:
        case FileKind.JPEG:
            return jpeg(segment(0xE1, b"Exif\0\0" + tiff))
        case FileKind.PNG:
            return png(png_chunk(b"eXIf", tiff))
        case _:
            return webp(extended(0x08), LOSSY, riff_chunk(b"EXIF", tiff))


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("type_", [3, 4])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_keeps_its_orientation(kind: FileKind, orientation: int, type_: int, order: str) -> None:
    _, clean = strip_metadata(turned(kind, exif(orientation, order, type_).removeprefix(b"Exif\0\0")))
    one_entry = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    if orientation == 1:
        assert clean == {FileKind.JPEG: jpeg(), FileKind.PNG: png(), FileKind.WEBP: webp(extended(0), LOSSY)}[kind]
    else:
        assert clean == turned(kind, one_entry)


@pytest.mark.parametrize("kind", [FileKind.PNG, FileKind.WEBP])
def test_the_prefix_of_jpeg_before_exif_is_read_in_other_formats(kind: FileKind) -> None:
    assert strip_metadata(turned(kind, exif(6)))[1] == turned(kind, TURN)


@pytest.mark.parametrize(("type_", "value"), [(1, b"\6\0\0\0"), (8, b"\0\6\0\0"), (9, b"\0\0\0\6")])
def test_an_orientation_is_read_from_any_type_of_number(type_: int, value: bytes) -> None:
    tiff = b"MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, type_, 1) + value
    assert orientation_in(tiff) == 6


def test_an_orientation_of_another_type_is_passed_over() -> None:
    assert orientation_in(b"MM\0*" + struct.pack(">IHHHI4s", 8, 1, 0x0112, 2, 1, b"6")) == 1
    assert orientation_in(b"MM\0*" + struct.pack(">IHHHI4s", 8, 1, 0x0112, 4, 1, b"\0\1\0\6")) == 1


# A profile that is not reduced to primaries and curves is removed, and its picture stays.
NO_COLOURS = {
    "text": SECRET,
    "nothing": b"",
    "version": profile(WIDE_GAMUT, version=9),
    "ink": profile(WIDE_GAMUT, space=b"CMYK"),
    "truncated": profile(WIDE_GAMUT)[:400],
    "no tags": profile({}),
    "no curve": profile({name: tag for name, tag in WIDE_GAMUT.items() if name != b"gTRC"}),
    "no primary": profile({name: tag for name, tag in WIDE_GAMUT.items() if name != b"gXYZ"}),
    "table": profile({b"A2B0": b"mft2" + SECRET * 9}),
    "text as numbers": profile(WIDE_GAMUT | {b"rXYZ": b"XYZ " + bytes(4) + SECRET[:12]}),
    "wrong numbers": profile(WIDE_GAMUT | {b"rXYZ": numbers(b"sf32", 0, 0, 0)}),
    "text as a curve": profile(WIDE_GAMUT | {b"rTRC": b"curv" + bytes(4) + struct.pack(">I", 9) + SECRET}),
    "long curve": profile(WIDE_GAMUT | {b"rTRC": b"curv" + bytes(4) + struct.pack(">I", 9999) + bytes(19998)}),
    "wrong curve": profile(WIDE_GAMUT | {b"rTRC": b"what" + bytes(20)}),
    "unknown function": profile(WIDE_GAMUT | {b"rTRC": b"para" + bytes(4) + struct.pack(">HH7i", 5, 0, *[0] * 7)}),
    "text in a function": profile(WIDE_GAMUT | {b"rTRC": b"para" + bytes(4) + struct.pack(">HH", 1, 0) + SECRET}),
}


@pytest.mark.parametrize("icc", NO_COLOURS.values(), ids=NO_COLOURS)
def test_a_profile_that_may_hold_anything_is_removed(icc: bytes) -> None:
    assert reduced_profile(icc) == b""
    assert strip_metadata(jpeg(segment(0xE2, b"ICC_PROFILE\0\1\1" + icc)))[1] == jpeg()
    assert strip_metadata(png(png_chunk(b"iCCP", SECRET + b"\0\0" + zlib.compress(icc))))[1] == png()
    assert strip_metadata(webp(extended(0x20), riff_chunk(b"ICCP", icc), LOSSY))[1] == webp(extended(0), LOSSY)


@pytest.mark.parametrize("version", [2, 4])
def test_a_profile_keeps_its_numbers_and_nothing_else(version: int) -> None:
    reduced = reduced_profile(profile(WIDE_GAMUT, version=version))
    assert reduced_profile(reduced) == reduced
    assert len(reduced) == struct.unpack_from(">I", reduced)[0]
    tags = {
        name: reduced[at : at + length]
        for name, at, length in struct.iter_unpack(
            ">4sII", reduced[132 : 132 + 12 * struct.unpack_from(">I", reduced, 128)[0]]
        )
    }
    kept = {b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"chad"}
    assert tags.keys() == kept | {b"desc", b"cprt"}
    assert {name: tags[name] for name in kept} == {name: WIDE_GAMUT[name] for name in kept}
    assert reduced[8:24] == bytes((version, 0, 0, 0)) + b"mntrRGB XYZ "
    assert all(word not in reduced for word in (SECRET[:8], b"ADBE", b"APPL", b"Make", b"Model"))


def test_a_grey_profile_keeps_its_curve() -> None:
    grey = {b"wtpt": WIDE_GAMUT[b"wtpt"], b"kTRC": GAMMA, b"desc": SECRET}
    reduced = reduced_profile(profile(grey, space=b"GRAY"))
    assert GAMMA in reduced
    assert SECRET not in reduced


def test_the_first_orientation_counts() -> None:
    assert strip_metadata(jpeg(segment(0xE1, exif(6)), segment(0xE1, exif(3)))) == strip_metadata(
        jpeg(segment(0xE1, exif(6)))
    )


def test_an_incomplete_profile_of_a_jpeg_is_removed() -> None:
    half = profile(WIDE_GAMUT)[:300]
    for part in (b"\1\2" + half, b"\2\2" + half, b"\1\0" + half, b"\1", b""):
        assert strip_metadata(jpeg(segment(0xE2, b"ICC_PROFILE\0" + part)))[1] == jpeg()


def test_a_compressed_profile_of_a_png_is_limited() -> None:
    bomb = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**24)))
    broken = png_chunk(b"iCCP", b"a\0\0" + SECRET)
    for chunk in (bomb, broken, png_chunk(b"iCCP", b"a")):
        assert strip_metadata(png(chunk))[1] == png()


@pytest.mark.parametrize(("width", "height"), [(20_000, 10_000), (8001, 8000), (65_535, 977)])
def test_a_picture_has_no_more_pixels_than_a_phone_can_hold(width: int, height: int) -> None:
    frame = segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    for huge in (jpeg().replace(FRAME, frame), png().replace(HEADER, header)):
        with pytest.raises(FileNotReadable):
            strip_metadata(huge)


@pytest.mark.parametrize("chunk", [lossy(16_383, 16_383), lossless(16_384, 16_384), lossy(8001, 8000)])
def test_the_pixels_of_a_webp_are_counted_where_it_declares_them(chunk: bytes) -> None:
    animated = webp(extended(2), riff_chunk(b"ANIM", bytes(6)), riff_chunk(b"ANMF", bytes(16) + chunk))
    for huge in (webp(chunk), webp(extended(0), chunk), animated):
        with pytest.raises(FileNotReadable):
            strip_metadata(huge)


@pytest.mark.parametrize("chunk", [lossy(9000, 7000), lossless(9000, 7000)])
def test_a_webp_of_a_phones_size_is_accepted(chunk: bytes) -> None:
    assert strip_metadata(webp(chunk))[1] == webp(chunk)


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


@pytest.mark.parametrize(
    "picture",
    [
        bomb(),
        png().replace(HEADER, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8_001, 8_001, 8, 0, 0, 0, 0))),
        webp(lossless(16_384, 16_384)),
    ],
)
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(picture: bytes) -> None:
    with pytest.raises(TooManyPixels, match="must not exceed 64 megapixels"):
        strip_metadata(picture)


def test_a_png_keeps_chunks_that_affect_its_display() -> None:
    assert strip_metadata(PNG_OF_A_PHONE)[1] == png(
        png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(COLOURS)),
        png_chunk(b"eXIf", TURN),
        png_chunk(b"gAMA", b"\0\0\xb1\x8f"),
    )


def test_the_end_of_a_png_is_empty() -> None:
    whole = png().replace(png_chunk(b"IEND"), png_chunk(b"IEND", SECRET))
    assert strip_metadata(whole)[1] == png()


def _with_bad_checksum(whole: bytes) -> bytes:
    return whole.replace(PIXELS, PIXELS[:-1] + bytes((PIXELS[-1] ^ 1,)))


@pytest.mark.parametrize(
    "hostile",
    [
        png(png_chunk(b"WHAT")),
        png(HEADER),
        png(png_chunk(b"PLTE", bytes(771))),
        png().replace(HEADER, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 0, 0, 0, 0) + SECRET)),
        png().replace(HEADER, b""),
        png().replace(PIXELS, b""),
        _with_bad_checksum(png()),
        png(struct.pack(">I4s", 0xFFFF_FFFF, b"tEXt")),
        png().replace(HEADER, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31, 2**31, 8, 0, 0, 0, 0))),
        png().replace(HEADER, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 3, 8, 0, 0, 0, 0))),
    ],
    ids=[
        "unknown",
        "two headers",
        "long palette",
        "long header",
        "no header",
        "no pixels",
        "checksum",
        "endless",
        "huge",
        "flat",
    ],
)
def test_a_malformed_png_is_refused(hostile: bytes) -> None:
    with pytest.raises(FileNotReadable):
        strip_metadata(hostile)


def test_the_flags_of_a_webp_match_its_remaining_chunks() -> None:
    assert strip_metadata(WEBP_OF_A_PHONE)[1] == webp(
        extended(0x28), riff_chunk(b"ICCP", COLOURS), LOSSY, riff_chunk(b"EXIF", TURN)
    )


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
        webp(riff_chunk(b"VP8 ", b"no key frame")),
        webp(riff_chunk(b"VP8L", b"no signature")),
        webp(riff_chunk(b"VP8X", bytes(4) + b"\xff" * 6), LOSSY),
        webp(b"VP8 " + b"\xff" * 8),
        b"RIFF\0\0\0\0WEBP" + LOSSY,
    ],
    ids=["empty", "no picture", "short", "empty frame", "VP8", "VP8L", "huge", "endless", "outside"],
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
