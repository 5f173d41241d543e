"""Decodes a picture and encodes its renditions, in the process that calls it. Blocks.

A bomb is recognised by its header, before any pixel is decoded. A decoder may still crash or hang: `renderer.py`
has the processes that may.
"""

import io
import warnings
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image, ImageCms, ImageOps

from nomadcrew.core.files.model import MAX_PIXELS, FileNotReadable, TooManyPixels
from nomadcrew.core.pictures.model import Rendition, Size

# HEIC needs a library under a patented codec; TIFF, GIF and others have decoders that no phone's picture needs.
FORMATS = ("JPEG", "PNG", "WEBP")
# Source: https://developers.google.com/speed/webp/docs/cwebp; 75 to 85 looks like the original on a phone.
QUALITY = 80
# Pictures are first reduced to twice the size that they get, by averaging.
REDUCING_GAP = 2.0
_SIXTEEN_BITS = 257  # from 65535 to 255


def renditions_of(original: BinaryIO, sizes: Sequence[Size]) -> Sequence[Rendition]:
    """Renditions as `Renderer.render` says.

    Raises:
        FileNotReadable: Pillow cannot decode the file.
        TooManyPixels: its header declares more than `MAX_PIXELS`.
        MemoryError: the process may not have the memory that the picture takes.
    """
    try:
        # Pillow warns of damaged metadata, which is removed, and of sizes, which are checked.
        with warnings.catch_warnings(action="ignore"), Image.open(original, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise TooManyPixels
            reduced = _reduced(picture, 2 * max(size.longest_px for size in sizes))
            upright = _in_srgb(ImageOps.exif_transpose(reduced))
    except Image.DecompressionBombError:
        raise TooManyPixels from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise FileNotReadable(details=type(error).__name__) from None
    return [_rendition(upright, size) for size in sizes]


def _reduced(picture: Image.Image, longest_px: int) -> Image.Image:
    """The first frame, decoded, with no side longer than `longest_px`, in a mode with colours as WebP has them."""
    # JPEG decodes at a half, a quarter or an eighth of its size for less memory.
    picture.draft(None, (longest_px, longest_px))
    info = dict(picture.info)
    reduced = picture
    if picture.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        reduced = picture.convert("I").point(lambda value: value / _SIXTEEN_BITS).convert("L")
    elif picture.mode not in ("L", "RGB", "RGBA", "CMYK"):
        has_alpha = picture.mode in ("LA", "PA", "La", "RGBa") or "transparency" in info
        reduced = picture.convert("RGBA" if has_alpha else "RGB")
    elif "transparency" in info:
        reduced = picture.convert("RGBA")
    reduced.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    reduced.info = {name: info[name] for name in ("exif", "icc_profile") if name in info}
    return reduced


def _in_srgb(picture: Image.Image) -> Image.Image:
    """The picture with sRGB's colours. A profile that cannot be read is ignored, as browsers do."""
    profile = picture.info.pop("icc_profile", None)
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"),
                outputMode=mode,
            )  # fmt: skip
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return picture.convert(mode)


def _rendition(upright: Image.Image, size: Size) -> Rendition:
    if size.square:
        side = min(size.longest_px, *upright.size)
        picture = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
    else:
        picture = upright.copy()
        picture.thumbnail((size.longest_px, size.longest_px), Image.Resampling.LANCZOS)
    picture.info = {}  # so that no metadata is encoded
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=QUALITY)
    return Rendition(encoded.getvalue(), picture.width, picture.height)
