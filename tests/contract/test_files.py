"""`Files` on disk and in S3."""

import asyncio
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Protocol

import pytest

from nomadcrew.adapters.aws.files import S3Files
from nomadcrew.adapters.aws.sdk.services import S3
from nomadcrew.adapters.machine.disk_files import DiskFiles
from nomadcrew.core.errors import NotFound, Unavailable
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME, Beginning, DirectUpload, Files
from nomadcrew.core.ids import uuid7
from tests.contract.cloud import Cloud

KEY = f"attachments/{uuid7()}/{uuid7()}"
BASE = "https://host.example/v1/files/"
NAME = 'Grüße "aus" Porto.jpg'
SECRETS = ("first" * 8, "second" * 8)


class Store(Protocol):
    @property
    def files(self) -> Files: ...

    async def get(self, link: str) -> tuple[bytes, str] | None:
        """Content and type of the link's target; None if there is none."""
        ...

    async def send(self, upload: DirectUpload, content: bytes) -> bool:
        """Upload a file as a client does; False if the store refuses it."""
        ...


class Disk:
    def __init__(self, folder: Path) -> None:
        self.files = DiskFiles(folder / "files", SECRETS, base=BASE)

    async def get(self, link: str) -> tuple[bytes, str] | None:
        try:
            found = await self.files.follow(link.removeprefix(BASE), now=datetime.now(UTC))
        except NotFound:
            return None
        with found.file as file:
            return file.read(), found.kind

    async def send(self, upload: DirectUpload, content: bytes) -> bool:
        assert (upload.method, upload.fields) == ("PUT", {})
        try:
            expected = self.files.expected(upload.url.removeprefix(BASE), now=datetime.now(UTC))
        except NotFound:
            return False
        if len(content) != expected.size_bytes:
            return False
        await self.files.store(expected.key, BytesIO(content), expected.kind)
        return True


class Bucket:
    def __init__(self, cloud: Cloud) -> None:
        name = f"media-{uuid7()}"
        where = {"LocationConstraint": cloud.aws.environment["AWS_REGION"]}
        cloud.aws.boto("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
        self.files = S3Files(cloud.client(S3), name)

    async def get(self, link: str) -> tuple[bytes, str] | None:
        return await asyncio.to_thread(_fetched, link)

    async def send(self, upload: DirectUpload, content: bytes) -> bool:
        return await asyncio.to_thread(_posted, upload, content)


def _posted(upload: DirectUpload, content: bytes) -> bool:
    assert upload.method == "POST"
    parts = [
        f'--limit\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in upload.fields.items()
    ]
    file = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + content
    body = b"".join((*parts, file, b"\r\n--limit--\r\n"))
    headers = {"content-type": "multipart/form-data; boundary=limit"}
    request = urllib.request.Request(upload.url, body, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return bool(answer.status < 300)
    except urllib.error.HTTPError as refused:
        refused.close()
        return False


def _fetched(link: str) -> tuple[bytes, str] | None:
    try:
        with urllib.request.urlopen(link) as answer:
            return answer.read(), answer.headers["content-type"]
    except urllib.error.HTTPError as refused:
        refused.close()
        if refused.code not in (403, 404):
            raise
        return None


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Disk(tmp_path) if request.param == "disk" else Bucket(request.getfixturevalue("cloud"))


async def test_a_link_returns_the_content_with_its_type(store: Store) -> None:
    content = bytes(range(256)) * 4096
    await store.files.put(KEY, content, FileKind.JPEG)
    link = store.files.link(KEY, FileKind.JPEG, NAME, now=datetime.now(UTC))
    assert await store.get(link) == (content, "image/jpeg")


async def test_a_file_is_replaced_as_a_whole(store: Store) -> None:
    for content in (b"a long one", b"short", b"short"):
        await store.files.put(KEY, content, FileKind.PDF)
        link = store.files.link(KEY, FileKind.PDF, NAME, now=datetime.now(UTC))
        assert await store.get(link) == (content, "application/pdf")


async def test_a_deleted_file_is_gone_and_deletion_can_be_repeated(store: Store) -> None:
    await store.files.put(KEY, b"content", FileKind.PNG)
    link = store.files.link(KEY, FileKind.PNG, NAME, now=datetime.now(UTC))
    for _ in range(2):
        await store.files.delete(KEY)
        assert await store.get(link) is None


async def test_a_link_to_a_missing_file_returns_nothing(store: Store) -> None:
    assert await store.get(store.files.link(KEY, FileKind.PNG, NAME, now=datetime.now(UTC))) is None


async def test_a_link_expires(store: Store) -> None:
    await store.files.put(KEY, b"content", FileKind.PNG)
    now = datetime.now(UTC)
    fresh = store.files.link(KEY, FileKind.PNG, NAME, now=now - LINK_LIFETIME + timedelta(minutes=1))
    assert await store.get(fresh) is not None
    expired = store.files.link(KEY, FileKind.PNG, NAME, now=now - LINK_LIFETIME - timedelta(seconds=1))
    assert await store.get(expired) is None


async def test_an_open_file_is_stored_from_its_beginning(store: Store) -> None:
    content = bytes(range(256)) * 1024
    file = BytesIO(content)
    file.seek(100)
    await store.files.store(KEY, file, FileKind.PDF)
    link = store.files.link(KEY, FileKind.PDF, NAME, now=datetime.now(UTC))
    assert await store.get(link) == (content, "application/pdf")


async def test_a_client_uploads_a_file_of_the_announced_size(store: Store) -> None:
    now, lifetime = datetime.now(UTC), timedelta(minutes=15)
    upload = store.files.direct_upload(KEY, FileKind.PDF, 7, now=now, lifetime=lifetime)
    assert await store.files.beginning(KEY, 4) is None
    for _ in range(2):
        assert await store.send(upload, b"content")
    assert await store.files.beginning(KEY, 4) == Beginning(b"cont", 7)
    assert await store.files.beginning(KEY, 100) == Beginning(b"content", 7)
    assert not await store.send(upload, b"contents")
    assert not await store.send(upload, b"conten")
    link = store.files.link(KEY, FileKind.PDF, NAME, now=now)
    assert await store.get(link) == (b"content", "application/pdf")


async def test_an_upload_expires(store: Store) -> None:
    lifetime = timedelta(minutes=15)
    before = datetime.now(UTC) - lifetime - timedelta(seconds=1)
    upload = store.files.direct_upload(KEY, FileKind.PDF, 7, now=before, lifetime=lifetime)
    assert not await store.send(upload, b"content")
    assert await store.files.beginning(KEY, 4) is None


@pytest.mark.parametrize(("max_bytes", "length"), [(1 << 20, 256 * 3000), (300_000, 300_000), (1, 1)])
async def test_a_file_is_fetched_up_to_a_number_of_bytes(
    store: Store, max_bytes: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nomadcrew.adapters.aws.files.PART_BYTES", 250_000)  # three parts and a half of S3
    content = bytes(range(256)) * 3000
    await store.files.put(KEY, content, FileKind.JPEG)
    file = BytesIO(b"what was there before, which is longer than a byte")
    file.seek(7)
    assert await store.files.fetch(KEY, file, max_bytes=max_bytes) == len(content)
    assert file.getvalue() == content[:length]


async def test_a_missing_file_is_not_fetched(store: Store) -> None:
    file = BytesIO()
    assert await store.files.fetch(KEY, file, max_bytes=1 << 20) is None
    assert file.getvalue() == b""


async def test_a_missing_bucket_is_an_outage(cloud: Cloud) -> None:
    with pytest.raises(Unavailable):
        await S3Files(cloud.client(S3), f"missing-{uuid7()}").put(KEY, b"content", FileKind.PNG)


async def test_s3_sends_a_file_as_a_download_with_its_name(cloud: Cloud) -> None:
    bucket = Bucket(cloud)
    link = bucket.files.link(KEY, FileKind.PNG, NAME, now=datetime.now(UTC))
    assert "attachment%3B%20filename%2A%3DUTF-8%27%27Gr%25C3%25BC%25C3%259Fe%2520%2522aus" in link


class TestDisk:
    async def test_a_forged_link_returns_nothing(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path)
        await disk.files.put(KEY, b"content", FileKind.PNG)
        token = disk.files.link(KEY, FileKind.PNG, NAME, now=datetime.now(UTC)).removeprefix(BASE)
        payload, proof = token.split(".")
        other = disk.files.link("other", FileKind.PNG, NAME, now=datetime.now(UTC)).removeprefix(BASE)
        for forged in (
            "",
            ".",
            "ü.ü",
            "a.b",
            payload,
            f"{payload}.",
            f"{other.split('.')[0]}.{proof}",
            f"{payload}.{payload}",
        ):
            assert await disk.get(BASE + forged) is None

    async def test_links_survive_a_new_secret(self, tmp_path: Path) -> None:
        before = DiskFiles(tmp_path, SECRETS[1:], base=BASE)
        await before.put(KEY, b"content", FileKind.PNG)
        token = before.link(KEY, FileKind.PNG, NAME, now=datetime.now(UTC)).removeprefix(BASE)
        after = DiskFiles(tmp_path, SECRETS, base=BASE)
        found = await after.follow(token, now=datetime.now(UTC))
        with found.file as file:
            assert (file.read(), found.size) == (b"content", len(b"content"))
        assert (found.kind, found.name) == (FileKind.PNG, NAME)
        with pytest.raises(NotFound):
            await DiskFiles(tmp_path, SECRETS[:1], base=BASE).follow(token, now=datetime.now(UTC))

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../keys", "a/../../b", "a//b", ".hidden", "A", "a/"])
    async def test_a_key_cannot_leave_the_folder(self, key: str, tmp_path: Path) -> None:
        files = Disk(tmp_path).files
        for attempt in (files.put(key, b"content", FileKind.PNG), files.delete(key)):
            with pytest.raises(ValueError, match="Keys of files"):
                await attempt
        with pytest.raises(ValueError, match="Keys of files"):
            files.link(key, FileKind.PNG, NAME, now=datetime.now(UTC))

    async def test_a_file_is_private_and_no_temporary_file_remains(self, tmp_path: Path) -> None:
        await Disk(tmp_path).files.put(KEY, b"content", FileKind.PNG)
        [path] = [one for one in (tmp_path / "files").rglob("*") if one.is_file()]
        assert path.stat().st_mode & 0o777 == 0o600
        assert path == tmp_path / "files" / KEY

    async def test_a_failing_disk_is_an_outage(self, tmp_path: Path) -> None:
        (tmp_path / "files").write_bytes(b"in the way")
        with pytest.raises(Unavailable):
            await Disk(tmp_path).files.put(KEY, b"content", FileKind.PNG)

    @pytest.mark.parametrize("secrets", [(), ("",), ("a", "")])
    def test_links_need_secrets(self, secrets: tuple[str, ...], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="secret"):
            DiskFiles(tmp_path, secrets, base=BASE)


async def test_s3_stores_a_large_file_in_parts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Bucket(cloud)
    monkeypatch.setattr("nomadcrew.adapters.aws.files.PART_BYTES", 5 * 2**20)
    content = bytes(range(256)) * (12 * 4096)  # two parts and a half
    for size in (len(content), 10 * 2**20):
        key = f"exports/{uuid7()}"
        await store.files.store(key, BytesIO(content[:size]), FileKind.ZIP)
        link = store.files.link(key, FileKind.ZIP, "trip.zip", now=datetime.now(UTC))
        assert await store.get(link) == (content[:size], "application/zip")
