"""Removes metadata from pictures, such as place, time, author and camera.

Pictures are not decoded or encoded again: a file is split into its parts and rebuilt from those that the picture
needs. Only known parts are retained, so unknown metadata is removed as well. Data after the end of a picture is
removed too: phones append a second picture with its own position, or a film. Every format keeps the orientation,
which cameras store beside pixels in sensor order, and a reduced colour profile.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from nomadcrew.core.files.colours import reduced_profile
from nomadcrew.core.files.model import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    FileKind,
    FileNotReadable,
    FileTooLarge,
    TooManyPixels,
    kind_of,
)
from nomadcrew.core.files.orientation import UPRIGHT, exif_of, orientation_in

# The largest real files have some thousands; parsing more would take too long.
MAX_PARTS = 20_000

_EXIF = b"Exif\0\0"
_MAX_PROFILE_BYTES = 2**20  # uncompressed; those of cameras have 0.5 to 4 KiB
_PDF_END_WITHIN = 1024  # bytes, as in Acrobat


def strip_metadata(content: bytes) -> tuple[FileKind, bytes]:
    """The type of a file, and the file without metadata.

    A PDF is unchanged: its metadata is part of the document.

    Raises:
        FileTooLarge: the file exceeds `MAX_FILE_BYTES`.
        BadFileType: the type is not accepted.
        FileNotReadable: the file is damaged, incomplete or inconsistent.
        TooManyPixels: the picture exceeds `MAX_PIXELS`.
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
            case _:  # a PDF: `kind_of` has no other kind
                return kind, _pdf(content)
    except (struct.error, IndexError) as short:
        raise FileNotReadable from short


def _pdf(content: bytes) -> bytes:
    if b"%%EOF" not in content[-_PDF_END_WITHIN:]:
        raise FileNotReadable
    return content


def _check_size(width: int, height: int) -> None:
    if not width * height:
        raise FileNotReadable
    if width * height > MAX_PIXELS:
        raise TooManyPixels


class _Looks:
    """The orientation and the colours of a picture, from its metadata. The first of several counts."""

    def __init__(self) -> None:
        self._orientation = UPRIGHT
        self._profile = b""
        self._parts: dict[int, bytes] = {}
        self._count = 0

    def add_exif(self, exif: bytes) -> None:
        if self._orientation == UPRIGHT:
            self._orientation = orientation_in(exif)

    def add_profile(self, profile: bytes) -> None:
        self._profile = self._profile or reduced_profile(profile)

    def add_part_of_profile(self, part: bytes) -> None:
        """Add a numbered part, as JPEG has them: its number, the number of all parts, its content."""
        if len(part) >= 2:
            self._parts.setdefault(part[0], part[2:])
            self._count = part[1]

    @property
    def exif(self) -> bytes:
        return exif_of(self._orientation)

    @property
    def profile(self) -> bytes:
        """The reduced colour profile; empty without one, or if a part is missing."""
        if self._profile or list(range(1, self._count + 1)) != sorted(self._parts):
            return self._profile
        return reduced_profile(b"".join(self._parts[number] for number in sorted(self._parts)))


# JPEG: segments of a marker, a length and content. A scan's segment is followed by compressed data up to the next
# marker. Marker numbers: ITU-T T.81, table B.1.

_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Tables for Huffman, arithmetic coding and quantization, the number of lines and the restart interval.
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})
_APPLICATIONS = range(0xE0, 0xF0)
_JFIF, _EXIF_OR_XMP, _COLOURS, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
_PROFILE = b"ICC_PROFILE\0"

# Any number of fill bytes may precede a marker.
_BEFORE_MARKER = re.compile(rb"\xff+")
# In compressed data 0xFF is followed by zero or one of the eight restart markers, or is a fill byte before a
# marker.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _jpeg(content: bytes) -> bytes:
    kept: list[bytes] = []
    looks, frames, scans = _Looks(), 0, 0
    for marker, payload, scan in _segments(content):
        if marker in _APPLICATIONS or marker == _COM:
            if needed := _application(marker, payload, looks):
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
    # JFIF is the first segment of its file.
    at = 1 if kept[0].startswith(b"\xff\xe0") else 0
    kept[at:at] = [
        _segment(_EXIF_OR_XMP, _EXIF + looks.exif) if looks.exif else b"",
        _segment(_COLOURS, _PROFILE + b"\1\1" + looks.profile) if looks.profile else b"",
    ]
    return b"".join((b"\xff\xd8", *kept, b"\xff\xd9"))


def _segments(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Marker, content and compressed data of each segment, up to the end marker.

    Some cameras write no end marker, so the data of a scan may end with the file.
    """
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
                yield marker, payload, content[at:].rstrip(b"\xff")
                return
            scan = content[at : end.start()]
            at = end.start()
        yield marker, payload, scan
    raise FileNotReadable


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _application(marker: int, payload: bytes, looks: "_Looks") -> bytes:
    """The part of an application segment that affects the picture's look; often empty."""
    if marker == _JFIF and payload.startswith(b"JFIF\0") and len(payload) >= 14:
        return payload[:12] + b"\0\0"  # version and density, and no thumbnail
    if marker == _ADOBE and payload.startswith(b"Adobe") and len(payload) >= 12:
        return payload[:12]  # the colour transform
    if marker == _EXIF_OR_XMP and payload.startswith(_EXIF):
        looks.add_exif(payload)
    if marker == _COLOURS and payload.startswith(_PROFILE):
        looks.add_part_of_profile(payload.removeprefix(_PROFILE))
    return b""


# PNG: chunks of a length, a type, content and a checksum. A decoder needs the types that begin with a capital.

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
# Transparency, colours, pixel size, and the frames of an animation; by type the most bytes that they have.
_PNG_LOOKS = {
    b"tRNS": 256, b"cHRM": 32, b"gAMA": 4, b"sBIT": 4, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"bKGD": 6,
    b"pHYs": 9, b"acTL": 8, b"fcTL": 26, b"fdAT": MAX_FILE_BYTES,
}  # fmt: skip
_PNG_FRAMES = frozenset({b"fcTL", b"fdAT"})
_PNG_HEADER_BYTES, _PNG_PALETTE_BYTES = 13, 768


def _png(content: bytes) -> bytes:
    kept: list[tuple[bytes, bytes]] = []
    looks, seen = _Looks(), set[bytes]()
    for type_, payload in _png_chunks(content):
        if not type_[0] & 0x20:
            kept.append((type_, _png_needed(type_, payload)))
            seen.add(type_)
        elif type_ == b"eXIf":
            looks.add_exif(payload)
        elif type_ == b"iCCP":
            looks.add_profile(_png_profile(payload))
        elif len(payload) <= _PNG_LOOKS.get(type_, -1) and (type_ not in seen or type_ in _PNG_FRAMES):
            kept.append((type_, payload))
            seen.add(type_)
    if [number for number, (type_, _) in enumerate(kept) if type_ == b"IHDR"] != [0] or b"IDAT" not in seen:
        raise FileNotReadable
    _check_size(*struct.unpack_from(">II", kept[0][1]))
    if looks.exif:
        kept.insert(1, (b"eXIf", looks.exif))
    if looks.profile:
        kept.insert(1, (b"iCCP", b"icc\0\0" + zlib.compress(looks.profile)))
    return _PNG_START + b"".join(_png_chunk(type_, payload) for type_, payload in kept)


def _png_needed(type_: bytes, payload: bytes) -> bytes:
    """The content of a chunk that decoders need, as long as it may be."""
    if type_ not in _PNG_NEEDED or (type_ == b"IHDR" and len(payload) != _PNG_HEADER_BYTES):
        raise FileNotReadable
    if type_ == b"PLTE" and len(payload) > _PNG_PALETTE_BYTES:
        raise FileNotReadable
    return b"" if type_ == b"IEND" else payload


def _png_profile(payload: bytes) -> bytes:
    """The profile in an iCCP chunk; empty if it is damaged."""
    _, _, compressed = payload.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(compressed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return b""


def _png_chunk(type_: bytes, payload: bytes) -> bytes:
    body = type_ + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk, up to the required IEND."""
    at = len(_PNG_START)
    for _ in range(MAX_PARTS):
        length, type_ = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(memoryview(content)[at + 4 : end - 4]) != checksum:
            raise FileNotReadable
        yield type_, content[at + 8 : end - 4]
        if type_ == b"IEND":
            return
        at = end
    raise FileNotReadable


# WebP: one RIFF chunk of chunks, each with a type, a length and content padded to an even length.

_WEBP_PICTURE = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_WEBP_LOOKS = {b"ANIM": 6, b"ALPH": MAX_FILE_BYTES}  # by type the most bytes
_WEBP_FRAME_HEADER_BYTES = 16
_WEBP_ICC, _WEBP_EXIF, _WEBP_XMP = 0x20, 0x08, 0x04  # flags of VP8X
_WEBP_KEY_FRAME, _WEBP_LOSSLESS = b"\x9d\x01\x2a", 0x2F


def _webp(content: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", content, 4)
    if length < 4 or len(content) < 8 + length:
        raise FileNotReadable
    kept: list[bytes] = []
    looks, header, pictures = _Looks(), b"", 0
    for type_, payload in _riff_chunks(content[12 : 8 + length]):
        if type_ == b"VP8X":
            header = _webp_header(payload)
        elif type_ == b"ICCP":
            looks.add_profile(payload)
        elif type_ == b"EXIF":
            looks.add_exif(payload)
        elif type_ in _WEBP_PICTURE:
            kept.append(_webp_picture(type_, payload))
            pictures += 1
        elif len(payload) <= _WEBP_LOOKS.get(type_, -1):
            kept.append(_riff_chunk(type_, payload))
    if not pictures:
        raise FileNotReadable
    if header:  # only such files have a place for a profile and Exif data
        flags = header[0] | (_WEBP_ICC if looks.profile else 0) | (_WEBP_EXIF if looks.exif else 0)
        profile = _riff_chunk(b"ICCP", looks.profile) if looks.profile else b""
        kept[:0] = [_riff_chunk(b"VP8X", bytes((flags,)) + header[1:]), profile]
        kept.append(_riff_chunk(b"EXIF", looks.exif) if looks.exif else b"")
    return _riff_chunk(b"RIFF", b"WEBP" + b"".join(kept))


def _webp_header(payload: bytes) -> bytes:
    """The content of VP8X, without the flags of what is removed and without reserved bytes."""
    if len(payload) < 10:
        raise FileNotReadable
    _check_size(*(1 + int.from_bytes(payload[at : at + 3], "little") for at in (4, 7)))
    return bytes((payload[0] & ~(_WEBP_ICC | _WEBP_EXIF | _WEBP_XMP), 0, 0, 0)) + payload[4:10]


def _webp_picture(type_: bytes, payload: bytes) -> bytes:
    """A chunk with a picture, after checking the size that the picture's own header declares.

    Sources: RFC 6386, 9.1 (`VP8 `), RFC 9649, 3.4 (`VP8L`).
    """
    if type_ == b"ANMF":
        return _riff_chunk(type_, _webp_frame(payload))
    if type_ == b"VP8 ":
        if payload[3:6] != _WEBP_KEY_FRAME:
            raise FileNotReadable
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", payload, 6))
    else:
        signature, sides = struct.unpack_from("<BI", payload)
        if signature != _WEBP_LOSSLESS:
            raise FileNotReadable
        width, height = 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
    _check_size(width, height)
    return _riff_chunk(type_, payload)


def _webp_frame(payload: bytes) -> bytes:
    """A frame of an animation, rebuilt from its known chunks."""
    header, chunks = payload[:_WEBP_FRAME_HEADER_BYTES], payload[_WEBP_FRAME_HEADER_BYTES:]
    parts = [(type_, part) for type_, part in _riff_chunks(chunks) if type_ in (b"ALPH", b"VP8 ", b"VP8L")]
    if not any(type_ in _WEBP_PICTURE for type_, _ in parts):
        raise FileNotReadable
    return header + b"".join(
        _webp_picture(type_, part) if type_ in _WEBP_PICTURE else _riff_chunk(type_, part) for type_, part in parts
    )


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
