"""`Renderer` in a child process and in its own: pictures as phones take them, and hostile ones."""

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast

import pytest
from PIL import Image, ImageCms

from nomadcrew.adapters.pictures.local_renderer import LocalRenderer
from nomadcrew.adapters.pictures.renderer import ChildRenderer
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.model import MAX_PIXELS, FileNotReadable, TooManyPixels
from nomadcrew.core.pictures.model import AVATAR, LARGE, SMALL, Rendition, Size
from nomadcrew.core.pictures.ports import Renderer
from tests.photos import LATITUDE, bomb, opened, photo, without_its_end

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(params=["child", "local"])
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return ChildRenderer() if request.param == "child" else LocalRenderer()


async def rendered(renderer: Renderer, content: bytes, *sizes: Size) -> list[Rendition]:
    with cast("BinaryIO", TemporaryFile()) as file:
        file.write(content)
        file.flush()
        return list(await renderer.render(file, sizes or (LARGE, SMALL)))


def encoded(picture: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file.getvalue()


def near(picture: Image.Image, at: tuple[int, int], colour: tuple[int, ...]) -> bool:
    """True if a pixel has that colour, but for the losses of JPEG and WebP."""
    pixel = cast("tuple[int, ...]", picture.getpixel(at))
    return all(abs(a - b) < 12 for a, b in zip(pixel, colour, strict=True))


# The sample is 600 x 300, its left third blue; the position of the camera turns it.
@pytest.mark.parametrize(
    ("orientation", "size", "blue", "red"),
    [
        (1, (600, 300), (5, 5), (595, 295)),
        (3, (600, 300), (595, 295), (5, 5)),
        (6, (300, 600), (5, 5), (295, 595)),
        (8, (300, 600), (295, 595), (5, 5)),
    ],
)
async def test_a_picture_is_upright_whatever_the_position_of_the_camera_was(
    renderer: Renderer, orientation: int, size: tuple[int, int], blue: tuple[int, int], red: tuple[int, int]
) -> None:
    [large] = await rendered(renderer, photo(orientation=orientation), LARGE)
    shown = opened(large.content)
    assert (large.width_px, large.height_px) == shown.size == size
    assert near(shown, blue, BLUE)
    assert near(shown, red, RED)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
async def test_a_rendition_is_webp_without_metadata(renderer: Renderer, format_: str) -> None:
    for each, size in zip(
        await rendered(renderer, photo(3_000, 1_500, format_=format_), LARGE, SMALL, AVATAR),
        ((1_024, 2_048), (200, 400), (512, 512)),
        strict=True,
    ):
        shown = opened(each.content)
        assert (shown.format, shown.size) == ("WEBP", size)
        assert {"exif", "xmp", "icc_profile"}.isdisjoint(shown.info)
        assert LATITUDE not in each.content


async def test_a_small_picture_is_not_enlarged(renderer: Renderer) -> None:
    sizes = [(each.width_px, each.height_px) for each in await rendered(renderer, photo(90, 30, orientation=1))]
    assert sizes == [(90, 30), (90, 30)]
    [square] = await rendered(renderer, photo(90, 30, orientation=1), AVATAR)
    assert (square.width_px, square.height_px) == (30, 30)


async def test_a_wide_gamut_is_converted_to_srgb(renderer: Renderer) -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = encoded(Image.new("RGB", (40, 40), (10, 200, 30)), "PNG", icc_profile=srgb)
    [kept] = await rendered(renderer, same, LARGE)
    assert near(opened(kept.content), (20, 20), (10, 200, 30))
    # A profile for other colours, or a damaged one, is ignored.
    for profile in (ImageCms.ImageCmsProfile(lab).tobytes(), b"no profile"):
        odd = encoded(Image.new("RGB", (40, 40), (10, 200, 30)), "PNG", icc_profile=profile)
        [ignored] = await rendered(renderer, odd, LARGE)
        assert near(opened(ignored.content), (20, 20), (10, 200, 30))


@pytest.mark.parametrize(
    ("picture", "format_", "colour"),
    [
        (Image.new("L", (40, 40), 128), "PNG", (128, 128, 128)),
        (Image.new("1", (40, 40), 1), "PNG", (255, 255, 255)),
        (Image.new("I;16", (40, 40), 32_896), "PNG", (128, 128, 128)),
        (Image.new("RGB", (40, 40), RED).convert("P"), "PNG", RED),
        (Image.new("LA", (40, 40), (128, 0)), "PNG", (128, 128, 128, 0)),
        (Image.new("RGBA", (40, 40), (255, 0, 0, 128)), "WEBP", (255, 0, 0, 128)),
        (Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", RED),
    ],
    ids=["grey", "black and white", "16 bits", "palette", "grey with alpha", "alpha", "CMYK"],
)
async def test_every_kind_of_colours_is_rendered(
    renderer: Renderer, picture: Image.Image, format_: str, colour: tuple[int, ...]
) -> None:
    [large] = await rendered(renderer, encoded(picture, format_), LARGE)
    shown = opened(large.content)
    pixel = cast("tuple[int, ...]", shown.getpixel((20, 20)))
    # Fully transparent pixels have no colour of their own.
    assert pixel[3:] == (0,) or near(shown, (20, 20), colour), pixel
    assert len(pixel) == len(colour)


async def test_of_an_animation_the_first_frame_is_rendered(renderer: Renderer) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, BLUE)]
    moving = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    [large] = await rendered(renderer, moving, LARGE)
    assert near(opened(large.content), (20, 20), RED)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (bomb(), TooManyPixels),
        (bomb(40_000, 40_000), TooManyPixels),
        (photo()[: len(photo()) // 2], FileNotReadable),
        (without_its_end(photo(format_="PNG")), FileNotReadable),
        (photo(format_="WEBP")[:200], FileNotReadable),
        (encoded(Image.new("RGB", (9, 9)), "TIFF"), FileNotReadable),
        (encoded(Image.new("RGB", (9, 9)), "GIF"), FileNotReadable),
        (b"", FileNotReadable),
    ],
    ids=["bomb", "larger bomb", "half a JPEG", "half a PNG", "half a WebP", "TIFF", "GIF", "empty"],
)
async def test_a_hostile_picture_is_refused(
    renderer: Renderer, content: bytes, refusal: type[FileNotReadable]
) -> None:
    with pytest.raises(refusal) as refused:
        await rendered(renderer, content)
    assert type(refused.value) is refusal


def memory_kb(content: Path) -> tuple[int, int]:
    """Exit status and peak of memory of a child that renders a file."""
    code = (
        "import resource, sys; from nomadcrew.adapters.pictures import child; status = child.main();"
        " print(open('/proc/self/status').read(), file=sys.stderr); sys.exit(status)"
    )
    with content.open("rb") as file:
        ran = subprocess.run(
            [sys.executable, "-c", code, "[[2048, false]]"], stdin=file, capture_output=True, check=False
        )
    [peak] = [line.split()[1] for line in ran.stderr.decode().splitlines() if line.startswith("VmHWM")]
    return ran.returncode, int(peak)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_bomb_takes_no_memory_and_the_largest_picture_a_bounded_amount(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(photo())
    usual_kb = memory_kb(path)[1]
    path.write_bytes(bomb())
    status, bomb_kb = memory_kb(path)
    assert status == 4
    assert bomb_kb < usual_kb + 10_000
    side = int(MAX_PIXELS**0.5)
    path.write_bytes(encoded(Image.new("RGBA", (side, side), RED), "PNG", compress_level=1))
    status, largest_kb = memory_kb(path)
    assert status == 0
    assert largest_kb < 900_000


def child(code: str) -> tuple[str, ...]:
    """The command of a child that runs another program."""
    imports = "import os, resource, sys, time; from nomadcrew.adapters.pictures import child\n"
    return (sys.executable, "-c", imports + code)


async def test_a_child_beyond_its_memory_fails_alone() -> None:
    side = int(MAX_PIXELS**0.5)
    large = encoded(Image.new("RGBA", (side, side), RED), "PNG", compress_level=1)
    program = child("child.MEMORY_BYTES = 300 << 20; sys.exit(child.main())")
    with pytest.raises(TooManyPixels):
        await rendered(ChildRenderer(program=program), large)


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), 11)", "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass"]
)
async def test_a_child_that_crashes_or_computes_too_long_fails_alone(end: str) -> None:
    with pytest.raises(FileNotReadable):
        await rendered(ChildRenderer(program=child(end)), photo())


async def test_a_child_that_does_not_answer_is_killed_and_its_job_retried(tmp_path: Path) -> None:
    started = tmp_path / "started"
    program = child(f"open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    with pytest.raises(Unavailable):
        await rendered(ChildRenderer(program=program, timeout_s=2), photo())
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


async def test_children_run_one_at_a_time(tmp_path: Path) -> None:
    folder = str(tmp_path / "running")
    program = child(f"os.mkdir({folder!r}); time.sleep(0.1); os.rmdir({folder!r}); sys.exit(child.main())")
    renderer = ChildRenderer(program=program)
    all_ = await asyncio.gather(*(rendered(renderer, photo()) for _ in range(3)))
    assert [len(renditions) for renditions in all_] == [2, 2, 2]


async def test_pictures_with_damaged_metadata_are_rendered_beside_each_other(renderer: Renderer) -> None:
    """The decoder warns of the metadata of this photo, and warnings are errors in tests."""
    renditions = await asyncio.gather(*(rendered(renderer, photo(), SMALL) for _ in range(6)))
    assert [len(each) for each in renditions] == [1] * 6
