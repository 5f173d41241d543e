"""Users' files in S3, and links that S3 serves."""

import asyncio
import hashlib
from contextlib import suppress
from datetime import datetime, timedelta
from typing import BinaryIO
from urllib.parse import quote

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME, Beginning, DirectUpload

# The upload of the largest file on a slow network.
PUT_TIMEOUT_S = 10.0
# Of a file that is stored in parts. S3 takes ten thousand, of at least 5 MiB.
PART_BYTES = 16 * 2**20
_PART = b'<Part><PartNumber>%d</PartNumber><ETag>"%b"</ETag></Part>'


class S3Files:
    """`Files` in a bucket."""

    def __init__(self, s3: AwsClient, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:
        file.seek(0)
        first = file.read(PART_BYTES)
        if len(first) < PART_BYTES:
            await self.put(key, first, kind)
        else:
            await self._store_parts(key, first, file, kind)

    async def _store_parts(self, key: str, part: bytes, file: BinaryIO, kind: FileKind) -> None:
        """Store a large file part by part; it appears when all are there."""
        answer = await self._ask("POST", key, b"", {"content-type": kind.value}, query={"uploads": ""})
        upload_id = _between(answer, b"<UploadId>", b"</UploadId>")
        try:
            parts, number = b"", 0
            while part:
                number += 1
                query = {"partNumber": str(number), "uploadId": upload_id}
                await self._ask("PUT", key, part, {}, query=query, timeout_s=PUT_TIMEOUT_S)
                tag = hashlib.md5(part, usedforsecurity=False).hexdigest()
                parts += _PART % (number, tag.encode())
                part = await asyncio.to_thread(file.read, PART_BYTES)
            body = b"<CompleteMultipartUpload>%b</CompleteMultipartUpload>" % parts
            await self._ask("POST", key, body, {}, query={"uploadId": upload_id}, timeout_s=PUT_TIMEOUT_S)
        except BaseException:
            with suppress(Unavailable):
                await self._ask("DELETE", key, b"", {}, query={"uploadId": upload_id})
            raise

    async def put(self, key: str, content: bytes, kind: FileKind) -> None:
        await self._ask("PUT", key, content, {"content-type": kind.value}, timeout_s=PUT_TIMEOUT_S)

    def link(
        self, key: str, kind: FileKind, name: str, *, now: datetime, lifetime: timedelta = LINK_LIFETIME
    ) -> str:
        query = {
            "response-content-type": kind.value,
            "response-content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        lifetime_s = int(lifetime.total_seconds())
        return self._s3.presigned(f"/{self._bucket}/{key}", query, lifetime_s=lifetime_s, now=now)

    def direct_upload(
        self, key: str, kind: FileKind, size_bytes: int, *, now: datetime, lifetime: timedelta
    ) -> DirectUpload:
        conditions = [
            {"bucket": self._bucket},
            {"key": key},
            {"content-type": kind.value},
            ["content-length-range", size_bytes, size_bytes],
        ]
        url, signed = self._s3.presigned_post(f"/{self._bucket}", conditions, until=now + lifetime, now=now)
        return DirectUpload("POST", url, {"key": key, "Content-Type": kind.value, **signed})

    async def beginning(self, key: str, length: int) -> Beginning | None:
        return await self._part(key, 0, length)

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> int | None:
        into.seek(0)
        into.truncate()
        start = 0
        while True:
            part = await self._part(key, start, min(start + PART_BYTES, max_bytes))
            if part is None:
                return None
            await asyncio.to_thread(into.write, part.head)
            start += len(part.head)
            if start >= min(part.size_bytes, max_bytes):
                into.flush()
                return part.size_bytes

    async def delete(self, key: str) -> None:
        await self._ask("DELETE", key, b"", {})

    async def _part(self, key: str, start: int, end: int) -> Beginning | None:
        """The bytes from `start` to before `end`, and the size of the file; None without such a file."""
        try:
            part, headers = await self._s3.request(
                "GET",
                f"/{self._bucket}/{key}",
                headers={"range": f"bytes={start}-{end - 1}"},
                timeout_s=PUT_TIMEOUT_S,
            )
        except AwsError as error:
            # S3 denies the object that is not there to a role that may not list the bucket.
            if error.status in (403, 404):
                return None
            raise Unavailable(details=f"s3: {error.code}") from error
        size = headers.get("content-range", "").rpartition("/")[2] or headers["content-length"]
        return Beginning(part, int(size))

    async def _ask(
        self,
        method: str,
        key: str,
        body: bytes,
        headers: dict[str, str],
        *,
        query: dict[str, str] | None = None,
        timeout_s: float = 3.0,
    ) -> bytes:
        try:
            answer, _ = await self._s3.request(
                method, f"/{self._bucket}/{key}", body, query=query, headers=headers, timeout_s=timeout_s
            )
        except AwsError as error:
            raise Unavailable(details=f"s3: {error.code}") from error
        return answer


def _between(text: bytes, start: bytes, end: bytes) -> str:
    return text.partition(start)[2].partition(end)[0].decode()
