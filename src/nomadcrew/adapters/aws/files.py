"""Users' files in S3, and links that S3 serves."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import BinaryIO
from urllib.parse import quote

from nomadcrew.adapters.aws.sdk.client import AwsClient, AwsError
from nomadcrew.core.errors import Unavailable
from nomadcrew.core.files.model import FileKind
from nomadcrew.core.files.ports import LINK_LIFETIME, Beginning, DirectUpload

# The upload of the largest file on a slow network.
PUT_TIMEOUT_S = 10.0


class S3Files:
    """`Files` in a bucket."""

    def __init__(self, s3: AwsClient, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    async def store(self, key: str, file: BinaryIO, kind: FileKind) -> None:
        file.seek(0)
        await self.put(key, file.read(), kind)

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
        found = await self._first(key, length)
        if found is None:
            return None
        head, headers = found
        size = headers.get("content-range", "").rpartition("/")[2] or headers["content-length"]
        return Beginning(head, int(size))

    async def fetch(self, key: str, into: BinaryIO, *, max_bytes: int) -> bool:
        found = await self._first(key, max_bytes, timeout_s=PUT_TIMEOUT_S)
        if found is None:
            return False
        into.seek(0)
        into.truncate()
        into.write(found[0])
        into.flush()
        return True

    async def delete(self, key: str) -> None:
        await self._ask("DELETE", key, b"", {})

    async def _first(
        self, key: str, length: int, *, timeout_s: float = 3.0
    ) -> tuple[bytes, Mapping[str, str]] | None:
        """The first bytes of an object, and the headers of the response; None without such an object."""
        try:
            return await self._s3.request(
                "GET", f"/{self._bucket}/{key}", headers={"range": f"bytes=0-{length - 1}"}, timeout_s=timeout_s
            )
        except AwsError as error:
            # S3 denies the object that is not there to a role that may not list the bucket.
            if error.status in (403, 404):
                return None
            raise Unavailable(details=f"s3: {error.code}") from error

    async def _ask(
        self, method: str, key: str, body: bytes, headers: dict[str, str], *, timeout_s: float = 3.0
    ) -> None:
        try:
            await self._s3.request(method, f"/{self._bucket}/{key}", body, headers=headers, timeout_s=timeout_s)
        except AwsError as error:
            raise Unavailable(details=f"s3: {error.code}") from error
