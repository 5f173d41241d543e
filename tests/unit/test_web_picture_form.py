"""Uploads of one picture: as a form, and as the body itself."""

from io import BytesIO

import pytest

from nomadcrew.core.files.model import MAX_FILE_BYTES, FileTooLarge
from nomadcrew.web.form_data import Form
from nomadcrew.web.multipart import BadForm
from nomadcrew.web.picture_form import PictureReader

TYPE = "multipart/form-data; boundary=limit"
CONTENT = bytes(range(256)) * 10


def form(part: str) -> bytes:
    head = f'--limit\r\nContent-Disposition: form-data; name="{part}"; filename="a.jpg"\r\n\r\n'
    return head.encode() + CONTENT + b"\r\n--limit--\r\n"


def read(body: bytes, content_type: str, *, size: int = 100) -> Form:
    reader = PictureReader(content_type, BytesIO())
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.finish()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form("image"), TYPE),
        (form("file"), 'Multipart/Form-Data; boundary="limit"'),
        (CONTENT, "image/jpeg"),
        (CONTENT, "application/octet-stream"),
        (CONTENT, ""),
    ],
)
def test_a_picture_is_the_part_image_or_the_body(body: bytes, content_type: str) -> None:
    read_ = read(body, content_type)
    assert read_.file is not None
    read_.file.seek(0)
    assert (read_.file.read(), read_.size_bytes, read_.fields) == (CONTENT, len(CONTENT), {})


def test_the_digest_tells_bodies_apart() -> None:
    digest = read(CONTENT, "image/png").digest
    assert read(CONTENT, "image/jpeg", size=7).digest == digest
    assert read(CONTENT + b"x", "image/png").digest != digest


def test_an_empty_body_has_no_file_and_closes_it() -> None:
    file = BytesIO()
    assert PictureReader("image/png", file).finish().file is None
    assert file.closed


@pytest.mark.parametrize("content_type", ["image/png", TYPE])
def test_a_file_that_is_too_large_is_refused_as_it_arrives(content_type: str) -> None:
    file = BytesIO()
    reader = PictureReader(content_type, file)
    reader.feed(form("image")[:-13])
    with pytest.raises(FileTooLarge):
        reader.feed(bytes(MAX_FILE_BYTES + 1))
    assert len(file.getvalue()) < 10_000


@pytest.mark.parametrize(("body", "content_type"), [(CONTENT, TYPE), (b"", "multipart/form-data")])
def test_the_refusal_of_a_malformed_form_says_how_to_send_one(body: bytes, content_type: str) -> None:
    with pytest.raises(BadForm, match="with the part `image`"):
        read(body, content_type)
