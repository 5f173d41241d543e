"""Generated files with the metadata that phones add."""

import struct
import zlib

from nomadcrew.core.files.model import FileKind

# Must not appear in stored files: a position as text and as GPS data.
SECRET = b"41.1496 N 8.6109 W"


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def exif(orientation: int | None = None, order: str = "<", type_: int = 3) -> bytes:
    """Exif data with a position, preceded by an orientation if one is passed; its type is SHORT (3) or LONG (4)."""
    number = "HH" if type_ == 3 else "I"
    values = () if orientation is None else (orientation, 0) if type_ == 3 else (orientation,)
    entries = [struct.pack(f"{order}HHI{number}", 0x0112, type_, 1, *values)] if values else []
    gps = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries.append(struct.pack(f"{order}HHII", 0x8825, 4, 1, gps))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + struct.pack(f"{order}I", 0)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + start + struct.pack(f"{order}I", 8) + directory + SECRET


def profile(tags: dict[bytes, bytes], *, version: int = 4, space: bytes = b"RGB ") -> bytes:
    """An ICC profile with these tags, of a device with a name."""
    at = 128 + 4 + 12 * len(tags)
    table, contents = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, at + len(contents), len(tag))
        contents += tag + bytes(-len(tag) % 4)
    header = struct.pack(
        ">I4sB3s4s4s4s12s4s4sI4s4s8sI12s4s16s28s",
        at + len(contents), b"ADBE", version, b"", b"mntr", space, b"XYZ ",
        SECRET[:12], b"acsp", b"APPL", 0, b"Make", b"Model", b"", 0,
        b"\0\0\xf6\xd6\0\1\0\0\0\0\xd3\x2d", b"Me", b"id", SECRET,
    )  # fmt: skip
    return header + table + contents


def numbers(type_: bytes, *values: float) -> bytes:
    return type_ + bytes(4) + struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


GAMMA = b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0233)
WIDE_GAMUT = {
    b"desc": b"desc" + bytes(4) + SECRET,
    b"cprt": b"text" + bytes(4) + SECRET,
    b"dmnd": b"desc" + bytes(4) + SECRET,
    b"wtpt": numbers(b"XYZ ", 0.9642, 1, 0.8249),
    b"rXYZ": numbers(b"XYZ ", 0.5151, 0.2412, -0.0011),
    b"gXYZ": numbers(b"XYZ ", 0.292, 0.6922, 0.0419),
    b"bXYZ": numbers(b"XYZ ", 0.1571, 0.0666, 0.7841),
    b"rTRC": b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, 157286, 62128, 3408, 5072, 2651),
    b"gTRC": GAMMA,
    b"bTRC": b"curv" + bytes(4) + struct.pack(">I4H", 4, 0, 100, 100, 65535),
    b"chad": numbers(b"sf32", 1.0479, 0.0229, -0.0502, 0.0296, 0.9905, -0.0171, -0.0092, 0.0151, 0.7517),
    b"meta": b"dict" + bytes(4) + SECRET,
}
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


def lossy(width: int = 4, height: int = 3) -> bytes:
    return riff_chunk(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"odd")


def lossless(width: int = 4, height: int = 3) -> bytes:
    return riff_chunk(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + b"data")


LOSSY = lossy()
# A brand, its version, and the compatible brands.
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
HEIF = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(64)
PDF = b"%PDF-1.7\n1 0 obj <<>> endobj\ntrailer <<>>\n%%EOF\n"

JPEG_OF_A_PHONE = jpeg(
    segment(0xE0, JFIF + b"\2\1" + bytes(6)),
    segment(0xE1, exif(6)),
    segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET),
    segment(0xE2, b"ICC_PROFILE\0\1\2" + profile(WIDE_GAMUT)[:300]),
    segment(0xE2, b"ICC_PROFILE\0\2\2" + profile(WIDE_GAMUT)[300:]),
    segment(0xE2, b"MPF\0" + SECRET),
    segment(0xED, b"Photoshop 3.0\0" + SECRET),
    segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET),
    segment(0xFE, SECRET),
)
PNG_OF_A_PHONE = png(
    *(
        png_chunk(type_, SECRET)
        for type_ in (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"maKe", b"sPLT", b"hIST", b"gAMA")
    ),
    png_chunk(b"eXIf", exif(6)[6:]),
    png_chunk(b"iCCP", SECRET + b"\0\0" + zlib.compress(profile(WIDE_GAMUT))),
    png_chunk(b"gAMA", b"\0\0\xb1\x8f"),
    png_chunk(b"gAMA", SECRET[:4]),
)
WEBP_OF_A_PHONE = webp(
    extended(0x20 | 0x08 | 0x04),
    riff_chunk(b"ICCP", profile(WIDE_GAMUT)),
    LOSSY,
    riff_chunk(b"EXIF", exif(6)[6:]),
    riff_chunk(b"XMP ", SECRET),
    riff_chunk(b"make", SECRET),
)
PICTURES = {FileKind.JPEG: JPEG_OF_A_PHONE, FileKind.PNG: PNG_OF_A_PHONE, FileKind.WEBP: WEBP_OF_A_PHONE}
