"""Multipart forms, read piece by piece."""

from io import BytesIO

import pytest

from nomadcrew.core.files.model import MAX_FILE_BYTES, FileTooLarge
from nomadcrew.web.form_data import Form
from nomadcrew.web.multipart import MAX_FIELD_BYTES, BadForm, FormReader

TYPE = "multipart/form-data; boundary=limit"


def part(name: str, content: bytes, more: str = "") -> bytes:
    return f'--limit\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--limit--\r\n"


def read(body: bytes, *, size: int = 1 << 30, content_type: str = TYPE) -> Form:
    """The form in a body that arrives in pieces of `size` bytes."""
    reader = FormReader(content_type, BytesIO())
    for start in range(0, len(body), size):
        reader.feed(body[start : start + size])
    return reader.finish()


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
def test_a_form_is_the_same_in_pieces_of_any_size(size: int) -> None:
    content = bytes(range(256)) + b"\r\n--limi\r\n--limits"[:9]
    form = read(part("file", content, '; filename="a.pdf"') + part("metadata", b"{}") + END, size=size)
    assert form.file is not None
    form.file.seek(0)
    assert (form.file.read(), form.size_bytes, form.fields) == (content, len(content), {"metadata": b"{}"})
    form.close()
    assert form.file.closed


def test_of_repeated_parts_the_first_counts() -> None:
    body = part("file", b"one") + part("metadata", b"1") + part("file", b"two") + part("metadata", b"2") + END
    form = read(body)
    assert form.file is not None
    form.file.seek(0)
    assert (form.file.read(), form.fields["metadata"]) == (b"one", b"1")


def test_the_digest_tells_contents_apart_and_not_boundaries() -> None:
    form = part("file", b"content") + part("metadata", b"{}") + END
    other = form.replace(b"limit", b"another")
    digest = read(form).digest
    assert read(other, content_type='Multipart/Form-Data; boundary="another"').digest == digest
    assert read(form.replace(b"content\r", b"contents\r")).digest != digest
    assert read(form.replace(b"{}", b"[]")).digest != digest


def test_a_form_without_a_file_closes_it() -> None:
    file = BytesIO()
    reader = FormReader(TYPE, file)
    reader.feed(part("metadata", b"{}") + END)
    form = reader.finish()
    assert (form.file, file.closed) == (None, True)
    form.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        part("file", b"content"),
        part("file", b"content") + b"--limit-",
        b"--limit\nContent-Disposition: form-data; name=file\n\ncontent\n--limit--\n",
        b"--limit\r\n" + b"x" * 5_000 + b"\r\n",
        b"".join(part(f"field {n}", b"") for n in range(17)) + END,
        part("metadata", bytes(MAX_FIELD_BYTES + 1)) + END,
    ],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadForm):
        read(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=a",
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(BadForm):
        read(part("file", b"content") + END, content_type=content_type)


def test_too_large_a_file_is_refused() -> None:
    with pytest.raises(FileTooLarge):
        read(part("file", bytes(MAX_FILE_BYTES + 1)) + END)
