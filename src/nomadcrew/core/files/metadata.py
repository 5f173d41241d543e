"""Removes metadata from pictures, such as place, time, author and camera.

Pictures are not decoded or encoded again: a file is split into its parts and rebuilt from those that the picture
needs. Only known parts are retained, so unknown metadata is removed as well. Data after the end of a picture is
removed too: phones append a second picture with its own position, or a film.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from nomadcrew.core.files.model import MAX_FILE_BYTES, FileKind, FileNotReadable, FileTooLarge, kind_of

# More than any camera produces. A small file can declare a size that exceeds a phone's memory.
MAX_PIXELS = 200_000_000
# The largest real files have some thousands; parsing more would take too long.
MAX_PARTS = 20_000

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_SHORT = 3

_PDF_END_WITHIN = 1024  # bytes, as in Acrobat


def strip_metadata(content: bytes) -> tuple[FileKind, bytes]:
    """The type of a file, and the file without metadata.

    A PDF is unchanged: its metadata is part of the document.

    Raises:
        FileTooLarge: the file exceeds `MAX_FILE_BYTES`.
        BadFileType: the type is not accepted.
        FileNotReadable: the file is damaged, incomplete or inconsistent.
    """
    if len(content) > MAX_FILE_BYTES:
        raise FileTooLarge
    kind = kind_of(content)
    try:
        match kind:
            case FileKind.JPEG:
                return kind, _jpeg(content)
            case FileKind.PNG:
                return kind, _png(content)
            case FileKind.WEBP:
                return kind, _webp(content)
            case FileKind.PDF:  # pragma: no branch — the kinds are exhausted
                return kind, _pdf(content)
    except (struct.error, IndexError) as short:
        raise FileNotReadable from short


def _pdf(content: bytes) -> bytes:
    if b"%%EOF" not in content[-_PDF_END_WITHIN:]:
        raise FileNotReadable
    return content


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise FileNotReadable


# JPEG: segments of a marker, a length and content. A scan's segment is followed by compressed data up to the next
# marker. Marker numbers: ITU-T T.81, table B.1.

_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Tables for Huffman, arithmetic coding and quantization, the number of lines and the restart interval.
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
_APPLICATIONS = range(0xE0, 0xF0)
_JFIF, _EXIF_OR_XMP, _COLOURS, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE

# Any number of fill bytes may precede a marker.
_BEFORE_MARKER = re.compile(rb"\xff+")
# In compressed data 0xFF is followed by zero or one of the eight restart markers, or is a fill byte before a
# marker.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _jpeg(content: bytes) -> bytes:
    kept: list[bytes] = []
    orientation, frames, scans = 1, 0, 0
    for marker, payload, scan in _segments(content):
        if marker == _EXIF_OR_XMP and payload.startswith(_EXIF) and orientation == 1:
            orientation = _orientation(payload.removeprefix(_EXIF))
        if marker in _APPLICATIONS or marker == _COM:
            if needed := _application(marker, payload):
                kept.append(_segment(marker, needed))
            continue
        if marker in _FRAMES:
            _check_size(*struct.unpack_from(">HH", payload, 1))
            frames += 1
        elif marker == _SOS:
            scans += 1
            if frames != 1:
                raise FileNotReadable
        elif marker not in _TABLES:
            raise FileNotReadable
        kept += (_segment(marker, payload), scan)
    if not scans or frames != 1:
        raise FileNotReadable
    # Cameras store pixels in sensor order with an orientation; without it pictures would be shown rotated.
    exif = _segment(_EXIF_OR_XMP, _EXIF + _only_orientation(orientation)) if orientation != 1 else b""
    return b"".join((b"\xff\xd8", exif, *kept, b"\xff\xd9"))


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, content and compressed data of each segment, up to the required end marker."""
    at = 2
    for _ in range(MAX_PARTS):
        before = _BEFORE_MARKER.match(content, at)
        if before is None:
            raise FileNotReadable
        at = before.end()
        marker = content[at]
        if marker == _EOI:
            return
        (length,) = struct.unpack_from(">H", content, at + 1)
        payload = content[at + 3 : at + 1 + length]
        if length < 2 or len(payload) != length - 2:
            raise FileNotReadable
        at += 1 + length
        scan = b""
        if marker == _SOS:
            end = _END_OF_SCAN.search(content, at)
            if end is None:
                raise FileNotReadable
            scan = content[at : end.start()]
            at = end.start()
        yield marker, payload, scan
    raise FileNotReadable


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _application(marker: int, payload: bytes) -> bytes:
    """The part of an application segment that affects the picture's look; often empty."""
    if marker == _JFIF and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        return payload[:12] + b"\0\0"  # version and density, and no thumbnail
    if marker == _COLOURS and payload.startswith(b"ICC_PROFILE\0"):
        return payload
    if marker == _ADOBE and payload.startswith(b"Adobe") and len(payload) >= 12:
        return payload[:12]  # the colour transform
    return b""


def _orientation(tiff: bytes) -> int:
    """The orientation of a picture, 1 to 8; 1 (upright) if it cannot be read.

    Exif data is often slightly malformed and is removed anyway, so an error here does not refuse the picture.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        for entry in range(count):
            tag, type_, _, value = struct.unpack_from(f"{order}HHIH", tiff, first + 2 + 12 * entry)
            if (tag, type_) == (_ORIENTATION, _SHORT):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _only_orientation(orientation: int) -> bytes:
    """Exif data with one directory of one entry."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, _SHORT, 1, orientation, 0, 0)


# PNG: chunks of a length, a type, content and a checksum. A decoder needs the types that begin with a capital.

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
# Transparency, colours, pixel size, and the frames of an animation.
_PNG_LOOKS = frozenset(b"tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD pHYs sPLT hIST acTL fcTL fdAT".split())


def _png(content: bytes) -> bytes:
    kept = [_PNG_START]
    types: list[bytes] = []
    for type_, chunk in _png_chunks(content):
        needed = not type_[0] & 0x20
        if needed and type_ not in _PNG_NEEDED:
            raise FileNotReadable
        if needed or type_ in _PNG_LOOKS:
            types.append(type_)
            kept.append(chunk)
    if types[0] != b"IHDR" or types.count(b"IHDR") != 1 or b"IDAT" not in types:
        raise FileNotReadable
    _check_size(*struct.unpack_from(">II", kept[1], 8))
    return b"".join(kept)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and bytes of each chunk, up to the required IEND."""
    at = len(_PNG_START)
    for _ in range(MAX_PARTS):
        length, type_ = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(memoryview(content)[at + 4 : end - 4]) != checksum:
            raise FileNotReadable
        yield type_, content[at:end]
        if type_ == b"IEND":
            return
        at = end
    raise FileNotReadable


# WebP: one RIFF chunk of chunks, each with a type, a length and content padded to an even length.

_WEBP_PICTURE = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_WEBP_LOOKS = frozenset({b"ICCP", b"ANIM", b"ALPH"})
_WEBP_FRAME_HEADER_BYTES = 16
_WEBP_EXIF_AND_XMP = 0x08 | 0x04  # flags of VP8X


def _webp(content: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", content, 4)
    if length < 4 or len(content) < 8 + length:
        raise FileNotReadable
    kept = [b"WEBP"]
    pictures = 0
    for type_, payload in _riff_chunks(content[12 : 8 + length]):
        if type_ == b"VP8X":
            kept.append(_riff_chunk(type_, _webp_extended(payload)))
        elif type_ == b"ANMF":
            kept.append(_riff_chunk(type_, _webp_frame(payload)))
        elif type_ in _WEBP_PICTURE or type_ in _WEBP_LOOKS:
            kept.append(_riff_chunk(type_, payload))
        pictures += type_ in _WEBP_PICTURE
    if not pictures:
        raise FileNotReadable
    return _riff_chunk(b"RIFF", b"".join(kept))


def _webp_extended(payload: bytes) -> bytes:
    if len(payload) < 10:
        raise FileNotReadable
    _check_size(*(1 + int.from_bytes(payload[at : at + 3], "little") for at in (4, 7)))
    return bytes((payload[0] & ~_WEBP_EXIF_AND_XMP,)) + payload[1:10]


def _webp_frame(payload: bytes) -> bytes:
    """A frame of an animation, rebuilt from its known chunks."""
    header, chunks = payload[:_WEBP_FRAME_HEADER_BYTES], payload[_WEBP_FRAME_HEADER_BYTES:]
    kept = [_riff_chunk(*chunk) for chunk in _riff_chunks(chunks) if chunk[0] in (b"ALPH", b"VP8 ", b"VP8L")]
    if not kept:
        raise FileNotReadable
    return header + b"".join(kept)


def _riff_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(MAX_PARTS):
        if at >= len(content):
            return
        type_, length = struct.unpack_from("<4sI", content, at)
        payload = content[at + 8 : at + 8 + length]
        if len(payload) != length:
            raise FileNotReadable
        yield type_, payload
        at += 8 + length + length % 2
    raise FileNotReadable


def _riff_chunk(type_: bytes, payload: bytes) -> bytes:
    return type_ + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
