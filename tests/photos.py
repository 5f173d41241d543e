"""Pictures that decoders can read, as phones take them, and hostile ones."""

import io
import struct
import zlib
from functools import cache

from PIL import Image

from tests.sample_files import exif, png_chunk

# The place of the sample, which must not appear in files that are served.
LATITUDE = b"41.1496 N 8.6109 W"


@cache
def photo(
    width: int = 600, height: int = 300, *, format_: str = "JPEG", orientation: int | None = 6, colour: str = "red"
) -> bytes:
    """A picture whose left third has another colour, with a position in its Exif data."""
    picture = Image.new("RGB", (width, height), colour)
    picture.paste("blue", (0, 0, width // 3, height))
    encoded = io.BytesIO()
    metadata = exif(orientation)
    picture.save(encoded, format_, exif=metadata if format_ != "PNG" else metadata.removeprefix(b"Exif\0\0"))
    assert LATITUDE in encoded.getvalue()
    return encoded.getvalue()


def bomb(width: int = 10_000, height: int = 10_000) -> bytes:
    """A PNG of 100 megapixels in some kilobytes, complete and valid."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", pixels), png_chunk(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def without_its_end(picture: bytes) -> bytes:
    """A PNG that lacks most of its pixels, in chunks that are complete."""
    start, rest = picture.split(b"IDAT", 1)
    (length,) = struct.unpack(">I", start[-4:])
    return start[:-4] + png_chunk(b"IDAT", rest[: length // 8]) + png_chunk(b"IEND")


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))
