"""The orientation of a picture in Exif data, which all formats share."""

import struct

UPRIGHT = 1
_TAG = 0x0112
_SHORT = 3
# Types of numbers in Exif, by their code. The standard says SHORT; writers also use others.
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_PREFIX = b"Exif\0\0"


def orientation_in(exif: bytes) -> int:
    """The orientation, 1 to 8; 1 (upright) if it cannot be read.

    Exif data is often slightly malformed and is removed anyway, so an error here does not refuse the picture. JPEG
    has a prefix before it, and some writers of PNG and WebP write that as well.
    """
    tiff = exif.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        for at in range(first + 2, first + 2 + 12 * count, 12):
            tag, type_ = struct.unpack_from(f"{order}HH", tiff, at)
            if tag == _TAG and type_ in _NUMBERS:
                (value,) = struct.unpack_from(f"{order}{_NUMBERS[type_]}", tiff, at + 8)
                return int(value) if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def exif_of(orientation: int) -> bytes:
    """Exif data with one directory of one entry; empty for an upright picture."""
    if orientation == UPRIGHT:
        return b""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, _TAG, _SHORT, 1, orientation, 0, 0)
