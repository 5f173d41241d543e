"""Generated files with the metadata that phones add."""

import struct
import zlib

from nomadcrew.core.files.model import FileKind

# Must not appear in stored files: a position as text and as GPS data.
SECRET = b"41.1496 N 8.6109 W"


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def exif(orientation: int | None = None, order: str = "<") -> bytes:
    """Exif data with a position, preceded by an orientation if one is passed."""
    entries = [] if orientation is None else [struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)]
    gps = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries.append(struct.pack(f"{order}HHII", 0x8825, 4, 1, gps))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + struct.pack(f"{order}I", 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + start + struct.pack(f"{order}I", 8) + directory + SECRET


JFIF = b"JFIF\0\1\2\0\0\1\0\1"
FRAME = segment(0xC0, struct.pack(">BHHB", 8, 3, 4, 1) + b"\1\x11\0")
TABLES = segment(0xDB, b"\0" + bytes(range(1, 65))) + segment(0xC4, b"\0" + bytes(16))
# With a stuffed zero, a restart marker and fill bytes, none of which ends the data.
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
